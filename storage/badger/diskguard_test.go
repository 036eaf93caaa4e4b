package badger

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger/diskguard"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

// fakeDisk is a file system whose free space the test sets.
type fakeDisk struct{ free atomic.Int64 }

func (d *fakeDisk) options() Options {
	return Options{Reserve: 80 << 20, Ballast: 1 << 20, freeSpace: func(string) (int64, error) { return d.free.Load(), nil }}
}

func ballastOf(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, diskguard.BallastName))
	if os.IsNotExist(err) {
		return 0
	}
	must(t, err)
	return diskguard.Allocated(info)
}

func TestSpace(t *testing.T) {
	var d fakeDisk
	d.free.Store(1 << 30)
	dir := t.TempDir()
	s, err := Open(dir, d.options())
	must(t, err)
	defer closed(t, s)
	gen := storagetest.NewGenerator(1, testStart)
	commit := func() error {
		_, err := s.CommitBatch(t.Context(), []*event.Event{gen.Next()})
		return err
	}
	put := func() error {
		_, err := s.PutDocument(t.Context(), storage.Document{Collection: "c", Key: "k", Version: storage.AnyVersion})
		return err
	}
	p := storage.Projection{Name: "p", Version: 1}
	_, err = s.OpenProjection(t.Context(), p)
	must(t, err)
	project := func() error {
		return s.Project(t.Context(), storage.Step{Projection: p})
	}
	for _, step := range []struct {
		name           string
		free           int64
		commits, write error
		ballast        int64
	}{
		{"plenty", 1 << 30, nil, nil, 1 << 20},
		{"at the reserve", 80 << 20, nil, nil, 1 << 20},
		{"below it", 80<<20 - 1, storage.ErrNoSpace, nil, 1 << 20},
		{"above it, but not by much", 85 << 20, storage.ErrNoSpace, nil, 1 << 20},
		{"well above it", 90 << 20, nil, nil, 1 << 20},
		{"nearly full", 39 << 20, storage.ErrNoSpace, storage.ErrNoSpace, 1 << 20},
		{"full", 9 << 20, storage.ErrNoSpace, storage.ErrNoSpace, 1 << 19},
		{"what the ballast left is no recovery", 40 << 20, storage.ErrNoSpace, storage.ErrNoSpace, 1 << 19},
		{"something came free", 50 << 20, storage.ErrNoSpace, nil, 1 << 19},
		{"enough but for the ballast", 90<<20 + 1<<18, storage.ErrNoSpace, nil, 1 << 19},
		{"enough", 91 << 20, nil, nil, 1 << 20},
	} {
		d.free.Store(step.free)
		s.disk.Measure() // what the ticker does
		last := s.log.Last()
		for name, errs := range map[string][2]error{
			"Writable": {s.Writable(), step.commits}, "CommitBatch": {commit(), step.commits},
			"PutDocument": {put(), step.write}, "Project": {project(), step.write},
		} {
			if errs[1] == nil {
				must(t, errs[0])
			} else if wantErr(t, errs[0], errs[1]); name == "CommitBatch" && s.log.Last() != last {
				t.Fatalf("%s: something was written", step.name)
			}
		}
		if got := ballastOf(t, dir); got < step.ballast || got > step.ballast+64<<10 {
			t.Fatalf("%s: ballast of %d bytes, want %d", step.name, got, step.ballast)
		}
	}
}

// A burst between two looks at the disk cannot eat the reserve.
func TestSpaceBurst(t *testing.T) {
	var d fakeDisk
	d.free.Store(1 << 30)
	s, err := Open(t.TempDir(), d.options())
	must(t, err)
	defer closed(t, s)
	d.free.Store(60 << 20)
	for n := 0; ; n++ {
		if err := s.disk.AllowEvent(1 << 20); err != nil {
			wantErr(t, err, storage.ErrNoSpace)
			return
		}
		if n > diskguard.Burst>>20 {
			t.Fatal("nobody looked")
		}
	}
}

// The watcher finds out by itself, both ways.
func TestSpaceWatch(t *testing.T) {
	var d fakeDisk
	d.free.Store(1 << 30)
	s, err := Open(t.TempDir(), d.options())
	must(t, err)
	defer closed(t, s)
	d.free.Store(0)
	eventually(t, func() bool { return s.Writable() != nil })
	d.free.Store(1 << 30)
	eventually(t, func() bool { return s.Writable() == nil })
}

func TestOpenWithoutSpace(t *testing.T) {
	var d fakeDisk
	dir := t.TempDir()
	d.free.Store(1 << 30)
	s, err := Open(dir, d.options())
	must(t, err)
	closed(t, s)
	d.free.Store(10 << 20)
	s, err = Open(dir, d.options())
	must(t, err)
	defer closed(t, s)
	wantErr(t, s.Writable(), storage.ErrNoSpace)
	if ballastOf(t, dir) != 0 {
		t.Fatal("the store opened on a nearly full disk and the ballast stood beside it")
	}
}

// Close writes what memory holds: the ballast makes room for it.
func TestCloseWithoutSpace(t *testing.T) {
	var d fakeDisk
	dir := t.TempDir()
	d.free.Store(1 << 30)
	s, err := Open(dir, d.options())
	must(t, err)
	d.free.Store(10 << 20)
	s.disk.Measure()
	if ballastOf(t, dir) == 0 {
		t.Fatal("nothing was left for Close")
	}
	closed(t, s)
	if ballastOf(t, dir) != 0 {
		t.Fatal("the ballast stood beside Close")
	}
}
