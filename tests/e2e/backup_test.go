package e2e

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// TestBackup: a file takes the backups of one store; one of another store, or of
// the store that was restored from it, leaves it as it was and says what to do.
func TestBackup(t *testing.T) {
	post := func(g *gateway.Gateway, workflow string) {
		g.MustPost(gateway.Event(workflow, "geo_audit", time.Now().UTC().Format(time.RFC3339Nano), nil))
	}
	run := func(g *gateway.Gateway, args ...string) string {
		t.Helper()
		out, err := g.Run(append([]string{"osa"}, args...)...)
		if err != nil {
			t.Fatalf("osa %v: %v: %s", args, err, out)
		}
		return out
	}
	dir := t.TempDir()
	file, store := filepath.Join(dir, "osa.bak"), filepath.Join(dir, "restored")
	g := gateway.Start(t, gateway.Options{})
	post(g, "wf-1")
	run(g, "backup", file)
	post(g, "wf-2")
	run(g, "backup", file)
	if out := run(g, "restore", "--check", file); !strings.Contains(out, "2 segments") {
		t.Fatal(out)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	for name, content := range map[string]string{"an older format": "OSAGWBK1 and more than thirty-two bytes", "no backup": strings.Repeat("text ", 20)} {
		other := filepath.Join(dir, "other")
		if err := os.WriteFile(other, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := g.Run("osa", "backup", other); err == nil || !strings.Contains(out, "--full") {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
	if out, err := g.Run("osa", "backup", "--full", dir); err == nil || !strings.Contains(out, "no regular file") {
		t.Errorf("a directory: %v: %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run(g, "backup", filepath.Join(dir, "empty"))

	run(g, "restore", "--to", store, file)
	for name, opt := range map[string]gateway.Options{"another store": {}, "the restored store": {Data: store}} {
		t.Run(name, func(t *testing.T) {
			other := gateway.Start(t, opt)
			post(other, "wf-3")
			out, err := other.Run("osa", "backup", file)
			if err == nil || !strings.Contains(out, "another store") || !strings.Contains(out, "--full") {
				t.Errorf("%v: %s", err, out)
			}
			if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, whole) {
				t.Errorf("the file has changed: %v", err)
			}
			own := filepath.Join(t.TempDir(), "own.bak")
			run(other, "backup", own)
			run(other, "backup", own)
			run(other, "restore", "--check", own)
		})
	}
}

// TestStalledBackup: who reads a backup and takes nothing does not keep the
// gateway from ending.
func TestStalledBackup(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	for i := range 10 {
		noise := make([]byte, 1_000_000)
		_, _ = rand.Read(noise)
		g.MustPost(gateway.Event(fmt.Sprint("wf-", i), "geo_audit", time.Now().UTC().Format(time.RFC3339Nano), map[string]any{"data": map[string]any{"noise": noise}}))
	}
	conn, err := net.Dial("unix", filepath.Join(g.Dir, "admin.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /osa/backup HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	g.Terminate() // within its deadline
}
