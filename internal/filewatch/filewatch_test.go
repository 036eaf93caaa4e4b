package filewatch_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osa-edge/osa-gateway/internal/filewatch"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestChanges: in the bubble time stands still while files are read and written, so
// that what a look finds is certain.
func TestChanges(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	other, plain, link, target := at("other"), at("plain"), at("link"), at("target")
	write(t, other, "other")
	write(t, plain, "one")
	// As Kubernetes mounts a secret: the file is a link into a directory that is a
	// link, and the latter is swapped.
	for _, version := range []string{"v1", "v2"} {
		must(t, os.Mkdir(at(version), 0o700))
		write(t, filepath.Join(at(version), "secret"), version)
	}
	must(t, os.Symlink("v1", at("data")))
	must(t, os.Symlink(filepath.Join("data", "secret"), link))

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var changes atomic.Int64
		ended := make(chan struct{})
		files := filewatch.Snapshot(other, plain, link, target)
		go func() {
			defer close(ended)
			files.Watch(ctx, func() { changes.Add(1) })
		}()
		for _, step := range []struct {
			name string
			do   func()
			want int
		}{
			{"nothing", func() {}, 0},
			{"written", func() { write(t, plain, "two") }, 1},
			{"written, same size", func() { write(t, plain, "owt") }, 1},
			{"written, same content", func() { write(t, plain, "owt") }, 0},
			{"renamed over", func() {
				write(t, at("new"), "new")
				must(t, os.Rename(at("new"), plain))
			}, 1},
			{"a link swapped", func() {
				must(t, os.Symlink("v2", at("next")))
				must(t, os.Rename(at("next"), at("data")))
			}, 1},
			{"a link swapped for the same content", func() {
				must(t, os.Mkdir(at("v3"), 0o700))
				write(t, filepath.Join(at("v3"), "secret"), "v2")
				must(t, os.Symlink("v3", at("next")))
				must(t, os.Rename(at("next"), at("data")))
			}, 0},
			{"appears", func() { write(t, target, "") }, 1},
			{"goes", func() { must(t, os.Remove(plain)) }, 1},
			{"is still gone", func() {}, 0},
			{"is a directory", func() { must(t, os.Mkdir(plain, 0o700)) }, 1},
			{"is back", func() {
				must(t, os.Remove(plain))
				write(t, plain, "new")
			}, 1},
			{"two at once", func() {
				write(t, plain, "3")
				write(t, other, "3")
			}, 1},
			// The time of the change says nothing.
			{"back to an old time", func() {
				old := time.Now().Add(-time.Hour)
				write(t, plain, "4")
				must(t, os.Chtimes(plain, old, old))
			}, 1},
			{"as it was", func() { time.Sleep(2 * time.Minute) }, 0},
		} {
			before := changes.Load()
			step.do()
			time.Sleep(2*filewatch.Interval + time.Millisecond)
			synctest.Wait()
			if got := int(changes.Load() - before); got != step.want {
				t.Errorf("%s: %d changes, want %d", step.name, got, step.want)
			}
		}
		cancel()
		<-ended
		write(t, plain, "after the end")
		before := changes.Load()
		time.Sleep(time.Minute)
		if changes.Load() != before {
			t.Error("a change was told of after the end")
		}
	})
}

// TestHalfWritten: a file that is being written is not told of before it is whole.
func TestHalfWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "before")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var seen []string
		files := filewatch.Snapshot(path)
		go files.Watch(ctx, func() {
			b, _ := os.ReadFile(path)
			seen = append(seen, string(b))
		})
		text := ""
		time.Sleep(filewatch.Interval - time.Millisecond)
		for range 20 { // four looks' worth of writing, in bits
			text += "bit "
			write(t, path, text)
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(3 * filewatch.Interval)
		synctest.Wait()
		if len(seen) != 1 || seen[0] != text {
			t.Errorf("told of %q", seen)
		}
	})
}
