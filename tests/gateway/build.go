// Package gateway runs the real gateway binary for tests: real processes, real
// sockets, real files. It knows the gateway from outside only, as an operator
// and a client do.
package gateway

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// A build is one binary of this test process.
type build struct {
	env  string // names a binary that was built before
	tags string
	once sync.Once
	path string
	err  error
}

var (
	plain  = &build{env: "OSA_GATEWAY_BIN"}
	failed = &build{env: "OSA_GATEWAY_FAILPOINTS_BIN", tags: "failpoints"}
)

var scratch struct {
	sync.Mutex
	dir string
}

// Main runs the tests of a package and removes what Binary built.
func Main(m *testing.M) int {
	code := m.Run()
	scratch.Lock()
	defer scratch.Unlock()
	if scratch.dir != "" {
		_ = os.RemoveAll(scratch.dir)
	}
	return code
}

// Binary is the gateway's binary, built once in a test process. OSA_GATEWAY_BIN
// names one that is there already.
func Binary(t testing.TB) string { return plain.get(t) }

// FailpointBinary is the binary with failpoints compiled in, or the one that
// OSA_GATEWAY_FAILPOINTS_BIN names.
func FailpointBinary(t testing.TB) string { return failed.get(t) }

func (b *build) get(t testing.TB) string {
	t.Helper()
	b.once.Do(func() { b.path, b.err = b.make() })
	if b.err != nil {
		t.Fatalf("building the gateway: %v", b.err)
	}
	return b.path
}

func (b *build) make() (string, error) {
	if path := os.Getenv(b.env); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s: %w", b.env, err)
		}
		return filepath.Abs(path)
	}
	scratch.Lock()
	defer scratch.Unlock()
	if scratch.dir == "" {
		dir, err := os.MkdirTemp("", "osa-bin-")
		if err != nil {
			return "", err
		}
		scratch.dir = dir
	}
	path := filepath.Join(scratch.dir, "osa-gateway"+b.tags)
	args := []string{"build", "-o", path}
	if b.tags != "" {
		args = append(args, "-tags", b.tags)
	}
	cmd := exec.Command("go", append(args, "./cmd/osa-gateway")...)
	root, err := Root()
	if err != nil {
		return "", err
	}
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}

// Root is the repository's root directory.
func Root() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("the place of this file is unknown")
	}
	root := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	if _, err := os.Stat(filepath.Join(root, "Caddyfile.example")); err != nil {
		return "", err
	}
	return root, nil
}
