package simdisk

import (
	"errors"
	"fmt"
	"testing"
)

func keep(all bool) func(int) bool { return func(int) bool { return all } }

func contents(t *testing.T, d *Disk, name string) string {
	t.Helper()
	f, err := d.Open(name)
	if err != nil {
		return "none"
	}
	size, _ := f.Size()
	b := make([]byte, size)
	_, _ = f.ReadAt(b, 0)
	return string(b)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOnlyWhatWasSyncedSurvives(t *testing.T) {
	d := New()
	must(t, d.MkdirAll("/d"))
	f, err := d.Create("/d/a")
	must(t, err)
	_, err = f.WriteAt([]byte("one"), 0)
	must(t, err)
	must(t, f.Sync())
	if got := contents(t, d.Crash(keep(false)), "/d/a"); got != "none" {
		t.Fatalf("the name was not synced: %q", got)
	}
	must(t, d.SyncDir("/d"))
	if got := contents(t, d.Crash(keep(false)), "/d/a"); got != "one" {
		t.Fatalf("%q", got)
	}
	_, err = f.WriteAt([]byte("two!"), 0)
	must(t, err)
	must(t, d.Rename("/d/a", "/d/b"))
	for what, want := range map[bool]string{false: "one none", true: "none two!"} {
		after := d.Crash(keep(what))
		if got := contents(t, after, "/d/a") + " " + contents(t, after, "/d/b"); got != want {
			t.Fatalf("kept %v: %q", what, got)
		}
	}
	// A rename, a size and a sector.
	if n := d.Pending(); n != 3 {
		t.Fatalf("%d changes", n)
	}
	got := map[string]bool{}
	for set := range 8 {
		after := d.Crash(func(i int) bool { return set>>i&1 == 1 })
		got[fmt.Sprintf("%q %q", contents(t, after, "/d/a"), contents(t, after, "/d/b"))] = true
	}
	if len(got) != 8 {
		t.Fatalf("%v", got)
	}
	if got := contents(t, d.Clone(), "/d/b"); got != "two!" {
		t.Fatalf("%q", got)
	}
}

func TestFailedSyncForgets(t *testing.T) {
	d := New()
	must(t, d.MkdirAll("/d"))
	f, err := d.Create("/d/a")
	must(t, err)
	must(t, d.SyncDir("/d"))
	_, err = f.WriteAt([]byte("lost"), 0)
	must(t, err)
	d.FailAt(1, ErrFault)
	if err := f.Sync(); !errors.Is(err, ErrFault) {
		t.Fatal(err)
	}
	must(t, f.Sync())
	if got := contents(t, d, "/d/a"); got != "lost" {
		t.Fatalf("%q is seen", got)
	}
	if got := contents(t, d.Crash(keep(false)), "/d/a"); got != "\x00\x00\x00\x00" {
		t.Fatalf("%q is on disk", got)
	}
	_, err = f.WriteAt([]byte("kept"), 0)
	must(t, err)
	must(t, f.Sync())
	if got := contents(t, d.Crash(keep(false)), "/d/a"); got != "kept" {
		t.Fatalf("%q is on disk", got)
	}
}

func TestFailedWriteWritesAPart(t *testing.T) {
	d := New()
	must(t, d.MkdirAll("/d"))
	f, err := d.Create("/d/a")
	must(t, err)
	d.FailAt(1, ErrFault)
	if n, err := f.WriteAt([]byte("half"), 0); n != 2 || !errors.Is(err, ErrFault) {
		t.Fatal(n, err)
	}
	must(t, d.Remove("/d/a"))
	if got := contents(t, d, "/d/a"); got != "none" {
		t.Fatalf("%q", got)
	}
	b := make([]byte, 2)
	if _, err := f.ReadAt(b, 0); err != nil || string(b) != "ha" {
		t.Fatalf("%q, %v", b, err)
	}
}
