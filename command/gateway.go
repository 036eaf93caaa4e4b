package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/certmagic"
)

// readyTimeout is how long a gateway may take to open its store.
const readyTimeout = 30 * time.Second

// runCaddy starts Caddy in this process, as `caddy run` does. It returns when the
// configuration runs. From then on, signals end the process.
func runCaddy(configFile string, simulator *address) error {
	caddy.TrapSignals()
	// Entries that are logged before the configuration is loaded are written afterwards.
	_, original, _ := caddy.BufferedLog()
	defer caddy.UnbufferDefaultLogger(original)

	// These two were made from the environment before we set it.
	caddy.ConfigAutosavePath = filepath.Join(caddy.AppConfigDir(), "autosave.json")
	caddy.DefaultStorage = &certmagic.FileStorage{Path: caddy.AppDataDir()}

	config, err := loadConfig(configFile, simulator)
	if err != nil {
		return err
	}
	if configFile != "" {
		// SIGUSR1 reads the file again.
		caddy.SetLastConfig(configFile, "", func(file, _ string) error {
			config, err := loadConfig(file, simulator)
			if err != nil {
				return err
			}
			return caddy.Load(config, true)
		})
	}
	return caddy.Load(config, true)
}

// loadConfig reads the file, or the example that is part of the binary, and adds the
// simulator.
func loadConfig(file string, simulator *address) ([]byte, error) {
	config, err := readConfig(file)
	if err != nil {
		return nil, err
	}
	return withSimulator(config, simulator)
}

func readConfig(file string) ([]byte, error) {
	if file != "" {
		adapter := "caddyfile"
		if filepath.Ext(file) == ".json" {
			adapter = ""
		}
		config, _, _, err := caddycmd.LoadConfig(file, adapter)
		return config, err
	}
	if len(exampleCaddyfile) == 0 {
		return nil, errors.New("this binary has no Caddyfile.example in it: name one with --config")
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(exampleCaddyfile, map[string]any{"filename": "Caddyfile.example"})
	return config, err
}

// waitReady requests the gateway's health until it is ready.
func waitReady(ctx context.Context, a *address) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	// Straight to the address that was bound: no proxy, no name resolution.
	host := a.bind[0]
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.To4() == nil {
			host = "::1"
		}
	}
	url := "http://" + net.JoinHostPort(host, strconv.Itoa(a.port)) + "/api/health"
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var last error
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("%s answers %d", url, resp.StatusCode)
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the gateway did not become ready within %v: %w", readyTimeout, last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// maxSocketPath is the longest path of a socket on all systems (macOS: 104 bytes with the
// terminating NUL).
const maxSocketPath = 103

// adminSocket returns the socket of the admin endpoint. It is in the private directory, or
// in a private temporary directory if the path would be too long.
func adminSocket(dir string) (path string, elsewhere bool, err error) {
	path = filepath.Join(dir, "admin.sock")
	if len(path) <= maxSocketPath {
		return path, false, nil
	}
	tmp, err := os.MkdirTemp("", "osa-dev-") // 0700
	if err != nil {
		return "", false, err
	}
	path = filepath.Join(tmp, "admin.sock")
	if len(path) > maxSocketPath {
		_ = os.Remove(tmp)
		return "", false, fmt.Errorf("no place is short enough for a socket: set TMPDIR to a shorter path than %s", os.TempDir())
	}
	caddy.OnExit(func(context.Context) { _ = os.RemoveAll(tmp) })
	return path, true, nil
}

// inUse reports whether a process listens on the socket. The socket of a killed process
// still exists, and nobody listens.
func inUse(socket string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// bindArgs returns the addresses in the form of the Caddyfile's bind.
func (a *address) bindArgs() string {
	out := make([]string, len(a.bind))
	for i, host := range a.bind {
		out[i] = host
		if strings.Contains(host, ":") {
			out[i] = "[" + host + "]"
		}
	}
	return strings.Join(out, " ")
}
