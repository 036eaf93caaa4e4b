package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Options of a gateway. The zero value is a gateway as in production, with
// Caddyfile.example.
type Options struct {
	// Dir is an existing directory for everything it writes; default a new one.
	Dir string
	// Data is the directory of its store, where that is not to be in Dir.
	Data string
	// Env overrides and adds variables; an empty value takes one away.
	Env map[string]string
	// Edit changes the Caddyfile.
	Edit func(caddyfile string) string
	// Binary is another binary than Binary().
	Binary string
	// Credentials are shared with another gateway; default new ones.
	Credentials *Credentials
	// Clock gives the process a wall clock of its own, which StepClock steps.
	Clock bool
}

// Gateway is one gateway: a directory, credentials and, while it runs, a process.
type Gateway struct {
	*Credentials
	*Client

	Dir, Data string
	// Addr is host:port where it listens.
	Addr string

	t      testing.TB
	opt    Options
	binary string
	config string // the Caddyfile's path
	env    map[string]string
	// through is a command that becomes the gateway.
	through []string
	proc    *process
}

// New prepares a gateway without starting it.
func New(t testing.TB, opt Options) *Gateway {
	t.Helper()
	g := &Gateway{t: t, opt: opt, Dir: opt.Dir, Data: opt.Data, binary: opt.Binary, Credentials: opt.Credentials}
	if g.binary == "" {
		g.binary = Binary(t)
	}
	if g.Dir == "" {
		g.Dir = TempDir(t)
	}
	if g.Data == "" {
		g.Data = filepath.Join(g.Dir, "store")
	}
	if g.Credentials == nil {
		g.Credentials = NewCredentials(t)
	}
	g.must(os.WriteFile(g.KeysPath(), g.keysFile, 0o600))
	g.Addr = FreeAddr(t)
	host, _, err := net.SplitHostPort(g.Addr)
	g.must(err)
	g.Client = newClient(t, "http://"+g.Addr, g.Credentials)
	g.env = map[string]string{
		"PATH":                      os.Getenv("PATH"),
		"HOME":                      g.Dir,
		"XDG_DATA_HOME":             filepath.Join(g.Dir, "data"),
		"XDG_CONFIG_HOME":           filepath.Join(g.Dir, "config"),
		"OSA_ENV":                   "production",
		"OSA_ADDRESS":               "http://" + g.Addr,
		"OSA_BIND":                  host,
		"OSA_ADMIN_ENDPOINT":        "unix/" + g.adminSocket() + "|0600",
		"OSA_LOG_LEVEL":             "INFO",
		"OSA_WEBHOOK_SHARED_SECRET": g.Secret,
		"OSA_KEY_PEPPER":            g.pepper,
		"OSA_KEYS_FILE":             g.KeysPath(),
		"OSA_JWT_PUBLIC_KEY":        g.publicPEM,
		"OPAL_WORKSPACE_ID":         Workspace,
	}
	maps.Copy(g.env, opt.Env)
	g.config = g.WriteConfig("Caddyfile", nil)
	t.Cleanup(g.cleanup)
	return g
}

// Start prepares a gateway, starts it and waits until it is ready.
func Start(t testing.TB, opt Options) *Gateway {
	t.Helper()
	g := New(t, opt)
	g.Start()
	return g
}

func (g *Gateway) cleanup() {
	if g.proc != nil && g.Running() {
		if g.t.Failed() && os.Getenv("OSA_TEST_KEEP") != "" {
			g.Signal(syscall.SIGQUIT) // its goroutines go to the log that is kept
			_ = g.WaitExit()
		} else {
			g.Kill9()
		}
	}
	if g.proc != nil {
		g.checkLog()
	}
	if g.t.Failed() && g.proc != nil {
		g.t.Logf("end of the gateway's log:\n%s", g.LogTail(25))
	}
}

func (g *Gateway) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *Gateway) adminSocket() string { return filepath.Join(g.Dir, "admin.sock") }

// TempDir is a private directory with a path short enough for sockets. It is
// removed after the test, unless the test failed and OSA_TEST_KEEP is set.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "osa-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("OSA_TEST_KEEP") != "" {
			t.Logf("kept %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing %s: %v", dir, err)
		}
	})
	return dir
}

// WriteConfig writes a Caddyfile made from Caddyfile.example and returns its path.
func (g *Gateway) WriteConfig(name string, edit func(string) string) string {
	g.t.Helper()
	root, err := Root()
	g.must(err)
	raw, err := os.ReadFile(filepath.Join(root, "Caddyfile.example"))
	g.must(err)
	text := Replace(g.t, string(raw), "\t\tstorage badger\n", "\t\tstorage badger {\n\t\t\tpath \""+g.Data+"\"\n\t\t}\n")
	for _, edit := range []func(string) string{g.opt.Edit, edit} {
		if edit != nil {
			text = edit(text)
		}
	}
	path := filepath.Join(g.Dir, name)
	g.must(os.WriteFile(path, []byte(text), 0o600))
	return path
}

// Generation is an edit for a reload that can be seen from outside: responses
// carry the generation in a header.
func Generation(t testing.TB, n int) func(string) string {
	return func(text string) string {
		return Replace(t, text, "\tosa_guard\n", fmt.Sprintf("\theader +X-Config-Generation %d\n\tosa_guard\n", n))
	}
}

// Simulator is an edit that has the simulator in place of OPAL, at the path /simulator
// of the gateway itself. It needs OSA_ENV=development.
func Simulator(t testing.TB, text string) string {
	t.Helper()
	const end = "\n\terror 404\n"
	return Replace(t, text, end, "\n\thandle /simulator/* {\n\t\tosa_simulator\n\t}"+end)
}

// Replace is strings.Replace of a text that must be there.
func Replace(t testing.TB, text, from, to string) string {
	t.Helper()
	if !strings.Contains(text, from) {
		t.Fatalf("Caddyfile.example has no %q any more: the test harness has to follow", from)
	}
	return strings.Replace(text, from, to, 1)
}

// environ is the process's environment: nothing of the tests' own leaks in.
func (g *Gateway) environ() []string {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(g.env)) {
		if v := g.env[name]; v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// Setenv changes a variable for the next start.
func (g *Gateway) Setenv(name, value string) { g.env[name] = value }

// StartThrough has later starts go through a command that is given the gateway's
// as its last arguments and becomes it (exec); none takes that back.
func (g *Gateway) StartThrough(command ...string) { g.through = command }

// FreeAddr finds an address that stays free while the gateway is down between
// two starts. Its port is below those that the system gives to outgoing
// connections. Caddys share ports with each other, so where the system has more
// than one loopback address, every test process has its own. No address is given
// out twice.
func FreeAddr(t testing.TB) string {
	t.Helper()
	pid := os.Getpid()
	host := fmt.Sprintf("127.%d.%d.%d", 1+pid>>16&0x3f, pid>>8&0xff, pid&0xff)
	for range 200 {
		addr := net.JoinHostPort(host, strconv.Itoa(20000+rand.IntN(10000)))
		if _, used := given.LoadOrStore(addr, true); used {
			continue
		}
		ln, err := net.Listen("tcp", addr)
		if err == nil {
			_ = ln.Close()
			return addr
		}
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			host = "127.0.0.1"
		}
	}
	t.Fatal("no free port found")
	return ""
}

// given are the addresses that gateways of this process have.
var given sync.Map

// KeysPath is where the key file is.
func (g *Gateway) KeysPath() string { return filepath.Join(g.Dir, "keys.json") }

// WriteKeys puts another key file in place of the one that is there.
func (g *Gateway) WriteKeys(records ...map[string]any) {
	g.t.Helper()
	b, err := json.Marshal(map[string]any{"keys": records})
	g.must(err)
	g.ReplaceFile(g.KeysPath(), b)
}

// ReplaceFile renames a new file over an old one.
func (g *Gateway) ReplaceFile(path string, b []byte) {
	g.t.Helper()
	g.must(os.WriteFile(path+".new", b, 0o600))
	g.must(os.Rename(path+".new", path))
}

// RemoveData removes the store of a gateway that has ended.
func (g *Gateway) RemoveData() { g.must(os.RemoveAll(g.Data)) }
