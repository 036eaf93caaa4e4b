package command

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// variable is one line of an environment file.
type variable struct{ name, value, comment string }

// safeValue is what a shell, systemd and Caddy's --envfile all read as it
// stands, without quotes.
var safeValue = regexp.MustCompile(`^[A-Za-z0-9_@%+:,./=-]*$`)

// formatEnv writes variables so that they can be sourced by a shell and read by
// `--envfile` and systemd alike. Values that those would read differently are
// put in single quotes. systemd refuses `export`, a shell needs it for what it
// starts: prefix says which reader is meant.
func formatEnv(head, prefix string, vars []variable) ([]byte, error) {
	var b bytes.Buffer
	for _, line := range strings.Split(strings.TrimSpace(head), "\n") {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	for _, v := range vars {
		if v.comment != "" {
			fmt.Fprintf(&b, "\n# %s\n", strings.ReplaceAll(v.comment, "\n", "\n# "))
		}
		value := v.value
		if !safeValue.MatchString(value) {
			if strings.ContainsAny(value, "'\n\r#") {
				return nil, fmt.Errorf("the value of %s holds a character that environment files cannot: ' # or a line break", v.name)
			}
			value = "'" + value + "'"
		}
		fmt.Fprintf(&b, "%s%s=%s\n", prefix, v.name, value)
	}
	return b.Bytes(), nil
}

// Prefixes of the lines of an environment file.
const (
	forShell   = "export "
	forService = ""
)

// parseEnv reads what formatEnv writes.
func parseEnv(b []byte) (map[string]string, error) {
	vars := make(map[string]string)
	sc := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("line %d is not of the form NAME=value", n)
		}
		if len(value) >= 2 && value[0] == '\'' && value[len(value)-1] == '\'' {
			value = value[1 : len(value)-1]
		}
		vars[name] = value
	}
	return vars, sc.Err()
}

// readEnvFile reads the file; one that does not exist is empty.
func readEnvFile(path string) (map[string]string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	vars, err := parseEnv(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return vars, nil
}

// writePrivate replaces a file as a whole: readers see the old or the new one,
// and nobody else can read either.
func writePrivate(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // created 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // after the rename there is nothing to remove
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// newSecret is 32 random bytes in letters, digits, - and _.
func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // crypto/rand never fails: it ends the program instead
	return base64.RawURLEncoding.EncodeToString(b)
}
