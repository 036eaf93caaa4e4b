package segment

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/disk/simdisk"
	"github.com/osa-edge/osa-gateway/storage"
)

// damaged is a log on a disk of which something was changed.
type damaged struct {
	*testing.T
	what string
	d    *simdisk.Disk
	l    *Log
	want []*event.Event
}

// openDamaged opens a log that was changed by fn.
func openDamaged(t *testing.T, d *simdisk.Disk, opt Options, want []*event.Event, what string, fn func(*simdisk.Disk)) *damaged {
	t.Helper()
	x := &damaged{T: t, what: what, d: d.Clone(), want: want}
	fn(x.d)
	l, err := Open(x.d, "/log", opt)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	x.l = l
	return x
}

// read compares what can be read with what there was, and returns the sequence
// numbers of what cannot.
func (x *damaged) read() (bad []uint64) {
	x.Helper()
	for _, want := range x.want {
		got, err := x.l.Get(want.Seq)
		switch {
		case err == nil && string(got.Body) == string(want.Body) && got.DedupKey == want.DedupKey:
		case errors.Is(err, storage.ErrDamaged):
			bad = append(bad, want.Seq)
		default:
			x.Fatalf("%s: event %d: %v", x.what, want.Seq, err)
		}
	}
	return bad
}

// scan reads around damage as the log's followers do, and returns what it saw.
func (x *damaged) scan() (seen, bad []uint64) {
	x.Helper()
	after := uint64(0)
	for {
		err := x.l.Scan(x.Context(), after, ^uint64(0), func(e *event.Event) bool {
			seen = append(seen, e.Seq)
			after = e.Seq
			return true
		})
		var d *storage.DamageError
		if err == nil {
			return seen, bad
		}
		if !errors.As(err, &d) || d.First <= after || d.Last < d.First {
			x.Fatalf("%s: after %d: %v", x.what, after, err)
		}
		for seq := d.First; seq <= d.Last; seq++ {
			bad = append(bad, seq)
		}
		after = d.Last
	}
}

// goesOn appends, and opens once more: what could be read can be read still.
func (x *damaged) goesOn(opt Options) {
	x.Helper()
	seen, bad := x.scan()
	if seqs := slices.Sorted(slices.Values(append(slices.Clone(seen), bad...))); len(slices.Compact(slices.Clone(seqs))) != len(seqs) {
		x.Fatalf("%s: seen %v, damaged %v", x.what, seen, bad)
	}
	for range 3 {
		if err := x.l.Append(batch(x.l.Next(), 7, 100)); err != nil {
			x.Fatalf("%s: %v", x.what, err)
		}
	}
	_ = x.l.Close()
	l, err := Open(x.d, "/log", opt)
	if err != nil {
		x.Fatalf("%s: %v", x.what, err)
	}
	x.l = l
	again, _ := x.scan()
	if len(again) != len(seen)+21 || !slices.Equal(again[:len(seen)], seen) {
		x.Fatalf("%s: %v was seen, then %v", x.what, seen, again)
	}
	_ = l.Close()
}

// files are the names in a directory that end so.
func files(t *testing.T, d *simdisk.Disk, dir, ext string) (names []string) {
	entries, err := d.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name, ext) {
			names = append(names, e.Name)
		}
	}
	return names
}

// history for damage: some segments, sealed or not as opt says, and a large body.
func damageHistory(t *testing.T, opt Options) (*simdisk.Disk, []*event.Event) {
	d := simdisk.New()
	f := open(t, d, opt)
	for range 6 {
		f.append(5, 150)
	}
	f.appendLarge(2000)
	for range 7 {
		f.append(5, 150)
	}
	f.must(f.l.Close())
	return d, f.want
}

// Whatever byte rots, the log opens, gives out nothing wrong and nothing as not
// there, deletes nothing, and goes on.
func TestRot(t *testing.T) {
	for name, opt := range map[string]Options{
		"sealed":   {SegmentBytes: 16 << 10, SegmentEvents: 20, inline: true},
		"unsealed": {SegmentBytes: 16 << 10, SegmentEvents: 20, idle: true},
	} {
		t.Run(name, func(t *testing.T) {
			d, want := damageHistory(t, opt)
			ext := map[bool]string{true: segExt, false: logExt}[opt.inline]
			names := files(t, d, "/log", ext)
			if len(names) < 3 {
				t.Fatalf("files %v", names)
			}
			for _, name := range names[:3] {
				size := 0
				_ = d.Damage("/log/"+name, func(b []byte) []byte { size = len(b); return b })
				hit := 0
				for at := 0; at < size; at += 41 {
					x := openDamaged(t, d, opt, want, fmt.Sprintf("byte %d of %s", at, name), func(d *simdisk.Disk) {
						_ = d.Damage("/log/"+name, func(b []byte) []byte { b[at] ^= 0x10; return b })
					})
					if bad := x.read(); len(bad) > 0 {
						hit++
						if len(bad) > 20 || len(x.l.Damaged()) == 0 {
							t.Fatalf("%s: %d events are lost, reported %v", x.what, len(bad), x.l.Damaged())
						}
						if len(files(t, x.d, "/log/large", "")) != 1 {
							t.Fatalf("%s: a large body was swept", x.what)
						}
					}
					x.goesOn(opt)
				}
				if hit == 0 {
					t.Fatalf("nothing in %s matters", name)
				}
			}
		})
	}
}

func TestMissingSegment(t *testing.T) {
	for _, opt := range []Options{{SegmentBytes: 16 << 10, SegmentEvents: 20, inline: true}, {SegmentBytes: 16 << 10, SegmentEvents: 20, idle: true}} {
		d, want := damageHistory(t, opt)
		ext := map[bool]string{true: segExt, false: logExt}[opt.inline]
		names := files(t, d, "/log", ext)
		for i, name := range names {
			if name == names[len(names)-1] && !opt.inline {
				break // that one may not be known of
			}
			x := openDamaged(t, d, opt, want, name+" is missing", func(d *simdisk.Disk) {
				if err := d.Remove("/log/" + name); err != nil {
					t.Fatal(err)
				}
			})
			bad := x.read()
			if len(bad) == 0 || len(bad) > 20 || len(x.l.Damaged()) != 1 || x.l.Damaged()[0].First != bad[0] || x.l.Damaged()[0].Last != bad[len(bad)-1] {
				t.Fatalf("segment %d: %v is lost, reported %v", i, bad, x.l.Damaged())
			}
			if _, err := x.l.Query(t.Context(), storage.Query{Limit: 100}); err != nil {
				t.Fatal(err)
			}
			if len(files(t, x.d, "/log/large", "")) != 1 {
				t.Fatal("a large body was swept")
			}
			x.goesOn(opt)
		}
	}
}

func TestTruncatedSegment(t *testing.T) {
	for _, opt := range []Options{{SegmentBytes: 16 << 10, SegmentEvents: 20, inline: true}, {SegmentBytes: 16 << 10, SegmentEvents: 20, idle: true}} {
		d, want := damageHistory(t, opt)
		ext := map[bool]string{true: segExt, false: logExt}[opt.inline]
		name := files(t, d, "/log", ext)[1]
		for cut := 1; cut < 6000; cut += 97 {
			x := openDamaged(t, d, opt, want, fmt.Sprintf("%s lost %d bytes", name, cut), func(d *simdisk.Disk) {
				_ = d.Damage("/log/"+name, func(b []byte) []byte { return b[:max(0, len(b)-cut)] })
			})
			if bad := x.read(); len(bad) > 20 {
				t.Fatalf("%s: %v", x.what, bad)
			}
			x.goesOn(opt)
		}
	}
}

// Term tables may be deleted, or be damaged, at any time.
func TestLostTermTables(t *testing.T) {
	d, want := damageHistory(t, small)
	for _, fn := range []func(d *simdisk.Disk, name string){
		func(d *simdisk.Disk, name string) { _ = d.Remove(name) },
		func(d *simdisk.Disk, name string) { _ = d.Damage(name, func(b []byte) []byte { return b[:len(b)/2] }) },
		func(d *simdisk.Disk, name string) { _ = d.Damage(name, func([]byte) []byte { return nil }) },
		func(d *simdisk.Disk, name string) { _ = d.Damage(name, func(b []byte) []byte { b[70] ^= 1; return b }) },
	} {
		opt := small
		opt.inline, opt.idle = false, true
		x := openDamaged(t, d, opt, want, "no term tables", func(d *simdisk.Disk) {
			for _, name := range files(t, d, "/log", idxExt) {
				fn(d, "/log/"+name)
			}
		})
		q := storage.Query{Limit: 1000, Filter: event.Filter{WorkspaceID: "ws_a"}}
		for n := 0; ; n++ {
			page, err := x.l.Query(t.Context(), q)
			var r *storage.RebuildError
			if errors.As(err, &r) && n < 10 {
				if r.Total == 0 || x.l.Rebuilding() == nil {
					t.Fatalf("%v, %v", r, x.l.Rebuilding())
				}
				x.l.runInline()
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, e := range want {
				if q.Filter.Matches(e) {
					n++
				}
			}
			if len(page.Events) != n {
				t.Fatalf("%d events, want %d", len(page.Events), n)
			}
			break
		}
		if _, err := x.l.Query(t.Context(), storage.Query{Limit: 1}); err != nil {
			t.Fatal(err)
		}
	}
}

// A log without its floor shows too much rather than too little.
func TestLostFloor(t *testing.T) {
	f := grown(t)
	f.must(f.l.Close())
	for _, damage := range []func(d *simdisk.Disk){
		func(d *simdisk.Disk) { _ = d.Remove("/log/floor") },
		func(d *simdisk.Disk) { _ = d.Damage("/log/floor", func(b []byte) []byte { b[25]++; return b }) },
		func(d *simdisk.Disk) { _ = d.Damage("/log/floor", func([]byte) []byte { return nil }) },
	} {
		var want []*event.Event
		for _, e := range f.want {
			if e.Seq >= 8 {
				want = append(want, e)
			}
		}
		x := openDamaged(t, f.fs.(*simdisk.Disk), small, want, "no floor", damage)
		if bad := x.read(); len(bad) > 0 || len(x.l.Damaged()) > 0 {
			t.Fatalf("%v cannot be read, reported %v", bad, x.l.Damaged())
		}
		for _, e := range want {
			n := 0
			err := x.l.Candidates(x.l.Seed().Key(e), func(uint64) bool { n++; return true })
			if err != nil || n != 1 {
				t.Fatalf("event %d is found %d times, %v", e.Seq, n, err)
			}
		}
	}
}
