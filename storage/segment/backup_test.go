package segment

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/internal/disk/simdisk"
	"github.com/osa-edge/osa-gateway/storage"
)

// grown is a log with everything in it: sealed and unsealed segments, large
// bodies, a jump, a floor within a segment.
func grown(t *testing.T) *fixture {
	f := open(t, simdisk.New(), small)
	for i := range 12 {
		f.append(1+i%5, 200*(i%4))
		if i%4 == 1 {
			f.appendLarge(3000)
		}
		if i == 6 {
			f.must(f.l.Jump(f.l.Next() + 100))
		}
	}
	n, err := f.l.Prune(start.Add(8 * time.Second))
	if f.must(err); n != 7 {
		t.Fatalf("%d went", n)
	}
	return f
}

func (f *fixture) appendLarge(size int) {
	f.Helper()
	e := newEvent(f.l.Next(), size)
	whole := *e
	var err error
	e.BodyRef, err = f.l.PutLarge(e.Body)
	f.must(err)
	e.Body = nil
	f.must(f.l.Append(batchOf(e)))
	whole.BodyRef = e.BodyRef
	f.want = append(f.want, &whole)
}

func (f *fixture) export(after uint64) []byte {
	f.Helper()
	var buf bytes.Buffer
	head, err := f.l.Export(f.Context(), &buf, after)
	f.must(err)
	if head != f.l.Last() {
		f.Fatalf("head %d, last %d", head, f.l.Last())
	}
	return buf.Bytes()
}

// imported opens the log that streams make.
func (f *fixture) imported(streams ...[]byte) *fixture {
	f.Helper()
	d := simdisk.New()
	im, err := NewImporter(d, "/log")
	f.must(err)
	for _, s := range streams {
		r := bytes.NewReader(append(slices.Clone(s), "more"...))
		_, err := im.Read(f.Context(), r)
		if f.must(err); r.Len() != 4 {
			f.Fatalf("%d bytes are left", r.Len())
		}
	}
	f.must(im.Close())
	g := open(f.T, d, small)
	g.want = f.want
	return g
}

func TestBackup(t *testing.T) {
	f := grown(t)
	first := f.export(0)
	at := f.l.Last()
	g := f.imported(first)
	g.check()
	if got, want := g.l.Bounds(), f.l.Bounds(); got.First != want.First || got.Last != want.Last || !slices.Equal(got.Skipped, want.Skipped) {
		t.Fatalf("bounds %+v, want %+v", got, want)
	}
	f.append(3, 50)
	f.appendLarge(2000)
	f.append(9, 500)
	f.append(9, 500)
	f.append(2, 500)
	second := f.export(at)
	if len(second) >= len(first)+20<<10 {
		t.Fatalf("the increment takes %d bytes", len(second))
	}
	f.imported(first, second).check()
	f.imported(first, second, f.export(f.l.Last())).check()
	whole := f.imported(f.export(0))
	whole.append(4, 10)
	whole.check()

	im, err := NewImporter(simdisk.New(), "/log")
	f.must(err)
	if _, err := im.Read(t.Context(), bytes.NewReader(second)); !errors.Is(err, storage.ErrBackupPosition) {
		t.Fatal(err)
	}
	if _, err := NewImporter(f.fs, "/log"); !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
}

func TestBackupOfNothing(t *testing.T) {
	f := open(t, simdisk.New(), small)
	f.imported(f.export(0)).check()
	f.append(5, 10)
	_, err := f.l.Prune(start.Add(time.Hour))
	f.must(err)
	f.want = nil
	f.imported(f.export(0)).check()
}

func TestDamagedBackup(t *testing.T) {
	stream := grown(t).export(0)
	read := func(b []byte) error {
		im, err := NewImporter(simdisk.New(), "/log")
		if err != nil {
			t.Fatal(err)
		}
		_, err = im.Read(t.Context(), bytes.NewReader(b))
		return errors.Join(err, im.Close())
	}
	for at := 0; at < len(stream); at += 37 {
		b := slices.Clone(stream)
		b[at] ^= 0x40
		if read(b) == nil {
			t.Fatalf("byte %d was changed", at)
		}
		if read(stream[:at]) == nil {
			t.Fatalf("cut at byte %d", at)
		}
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte{1, 2, 3})
	l, err := Open(simdisk.New(), "/log", small)
	if err != nil {
		f.Fatal(err)
	}
	for range 9 {
		if err := l.Append(batch(l.Next(), 5, 100)); err != nil {
			f.Fatal(err)
		}
	}
	var buf bytes.Buffer
	if _, err := l.Export(f.Context(), &buf, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := NewImporter(simdisk.New(), "/log")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = im.Read(t.Context(), bytes.NewReader(b))
		_ = im.Close()
	})
}
