package command_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/rogpeppe/go-internal/testscript"

	_ "github.com/osa-edge/osa-gateway"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"osa-gateway": caddycmd.Main})
}

// TestScripts runs the commands as a shell would: every file of testdata/script
// is one story.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		// A script that fails leaves its gateway to be ended by this.
		Deadline: time.Now().Add(2 * time.Minute),
		Cmds:     map[string]func(*testscript.TestScript, bool, []string){"ready": ready, "mode": mode, "secret": secret, "ask": ask},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("NO_COLOR", "1")
			// Sockets have short names only, and testscript's directory a long one.
			tmp, err := os.MkdirTemp("", "osa")
			if err != nil {
				return err
			}
			env.Defer(func() { _ = os.RemoveAll(tmp) })
			env.Setenv("SHORT", tmp)
			example, err := filepath.Abs("../Caddyfile.example")
			if err != nil {
				return err
			}
			env.Setenv("CADDYFILE", example)
			return writeOpened(example, filepath.Join(env.WorkDir, "opened"))
		},
	})
}

// writeOpened writes the example with what it has in a comment: reads that are open to
// a list of networks.
func writeOpened(example, path string) error {
	b, err := os.ReadFile(example)
	if err != nil {
		return err
	}
	const begin = "\n\t\t#\t@office"
	head, opened, ok1 := strings.Cut(string(b), begin)
	opened, tail, ok2 := strings.Cut(opened, "\n\t\tosa_auth key jwt\n")
	if !ok1 || !ok2 {
		return errors.New("the example does not show how to open a read")
	}
	opened = strings.ReplaceAll("\n\t\t@office"+opened, "\n\t\t#", "\n\t\t")
	opened = strings.ReplaceAll(opened, "10.20.0.0/16", "{$TEST_NETWORK}")
	return os.WriteFile(path, []byte(head+opened+"\n\t\tosa_auth key jwt\n"+tail), 0o600)
}

// ready waits until the gateway that wrote an environment file answers, and sets
// the file's variables.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready FILE")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if b, err := os.ReadFile(args[0]); err == nil {
			for line := range strings.Lines(string(b)) {
				if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "="); ok {
					ts.Setenv(name, value)
				}
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, ts.Getenv("BASE_URL")+"/api/health", nil)
			ts.Check(err)
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					return
				}
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("the gateway is not ready")
}

// ask prints the answer to a request, with a bearer credential or without.
func ask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: ask METHOD URL [CREDENTIAL]")
	}
	req, err := http.NewRequest(args[0], args[1], nil)
	ts.Check(err)
	if len(args) == 3 {
		req.Header.Set("Authorization", "Bearer "+args[2])
	}
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	_, err = io.Copy(ts.Stdout(), resp.Body)
	ts.Check(err)
}

// mode checks a file's permissions.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mode 0600 FILE...")
	}
	for _, file := range args[1:] {
		fi, err := os.Stat(ts.MkAbs(file))
		ts.Check(err)
		if got := "0" + strings.TrimLeft(strings.Map(octal(fi.Mode().Perm()), "abc"), "0"); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", file, got, args[0])
		}
	}
}

// octal writes permissions digit by digit.
func octal(p os.FileMode) func(rune) rune {
	return func(r rune) rune { return '0' + rune(p>>(6-3*(r-'a'))&7) }
}

// secret checks that the output of the last command (stdout, stderr) and any
// files named hold none of the secrets of an environment file.
func secret(ts *testscript.TestScript, neg bool, args []string) {
	if !neg || len(args) < 2 {
		ts.Fatalf("usage: ! secret ENVFILE FILE...")
	}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasSuffix(name, "_URL") || len(value) < 32 || strings.HasPrefix(value, "@") || strings.HasPrefix(value, "/") {
			continue
		}
		for _, file := range args[1:] {
			if strings.Contains(ts.ReadFile(file), value) {
				ts.Fatalf("%s shows %s", file, strings.TrimPrefix(name, "export "))
			}
		}
	}
}
