package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// maxInput is the largest body that is read from a file or a pipe. No receiver accepts
// more.
const maxInput = 64 << 20

// secretFlags says where a secret comes from: the environment or a file.
type secretFlags struct{ env, file string }

func (s *secretFlags) register(cmd *cobra.Command, what, defaultEnv string) {
	cmd.Flags().StringVar(&s.env, what+"-env", defaultEnv, "environment variable that holds the "+what)
	cmd.Flags().StringVar(&s.file, what+"-file", "", "file that holds the "+what+", instead of the environment")
}

// read returns the secret without newlines at its end, which editors add.
func (s *secretFlags) read() (string, error) {
	if s.file != "" {
		b, err := os.ReadFile(s.file)
		if err != nil {
			return "", fmt.Errorf("reading the secret: %w", err)
		}
		if v := strings.TrimRight(string(b), "\r\n"); v != "" {
			return v, nil
		}
		return "", fmt.Errorf("%s is empty", s.file)
	}
	if v := os.Getenv(s.env); v != "" {
		return v, nil
	}
	return "", fmt.Errorf("the environment variable %s is not set: set it, or `source` the dev.env that `osa dev` wrote", s.env)
}

// readBody reads the file that is the only argument, or standard input for - or no argument.
// The bytes are not changed, because they are signed.
func readBody(cmd *cobra.Command, args []string) ([]byte, error) {
	in := cmd.InOrStdin()
	name := "standard input"
	if len(args) == 1 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in, name = f, args[0]
	}
	b, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(b) > maxInput {
		return nil, fmt.Errorf("%s is larger than %d MiB", name, maxInput>>20)
	}
	return b, nil
}

// baseURL returns the base URL of the gateway that a command uses.
func baseURL(flag string) (string, error) {
	url := flag
	if url == "" {
		url = os.Getenv("BASE_URL")
	}
	if url == "" {
		url = defaultAddress
	}
	if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
		return "", errors.New("the URL must begin with http:// or https://")
	}
	return strings.TrimRight(url, "/"), nil
}
