//go:build linux

package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/osa-edge/osa-gateway/storage"
)

func init() { children["OSA_TEST_FULL"] = fillDisk }

// TestWriteFails: after a failed write nothing more is written, until the file
// is opened anew.
func TestWriteFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "documents.db")
	d := openDocuments(t, path)
	put := func(key string) error {
		_, err := d.PutDocument(t.Context(), storage.Document{Collection: "c", Key: key, Value: []byte("v")})
		return err
	}
	must(t, put("before"))
	// bbolt's descriptor becomes one that can be read only.
	fd := int(d.f.fd.Fd())
	writable, err := unix.Dup(fd)
	must(t, err)
	other, err := os.Open(path)
	must(t, err)
	must(t, unix.Dup3(int(other.Fd()), fd, 0))
	if err := put("failed"); !errors.Is(err, storage.ErrClosed) {
		t.Fatalf("a write without a file: %v", err)
	}
	must(t, unix.Dup3(writable, fd, 0))
	must(t, errors.Join(unix.Close(writable), other.Close()))
	wantErr(t, put("after"), storage.ErrClosed)
	_, err = d.GetDocument(t.Context(), "c", "before")
	must(t, err)
	must(t, d.Close())
	d = openDocuments(t, path)
	must(t, put("after"))
	_, err = d.GetDocument(t.Context(), "c", "failed")
	wantErr(t, err, storage.ErrNotFound)
	must(t, d.Close())
}

// TestFullDisk: the same where the system says so, in a process of its own with a
// limit to the size of files.
func TestFullDisk(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "OSA_TEST_FULL="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func fillDisk(dir string) {
	signal.Ignore(syscall.SIGXFSZ)
	limit := func(size uint64) {
		must(panics{}, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: 1 << 30}))
	}
	limit(1 << 20)
	path := filepath.Join(dir, "documents.db")
	d := openDocuments(panics{}, path)
	checkFull(panics{}, d, func() { limit(1 << 30) })
	must(panics{}, d.Close())
	must(panics{}, openDocuments(panics{}, path).Close())
	os.Exit(0)
}

// panics is a testing.TB outside of a test.
type panics struct{ testing.TB }

func (panics) Helper()                        {}
func (panics) Context() context.Context       { return context.Background() }
func (panics) Fatal(args ...any)              { panic(fmt.Sprint(args...)) }
func (panics) Fatalf(msg string, args ...any) { panic(fmt.Sprintf(msg, args...)) }
