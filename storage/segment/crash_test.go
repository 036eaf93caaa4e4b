package segment

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/internal/disk/simdisk"
	"github.com/osa-edge/osa-gateway/storage"
)

// tiny makes everything happen within a few events.
var tiny = Options{SegmentBytes: 5 << 10, SegmentEvents: 6, inline: true}

// history is what was done to a log, and what it has promised.
type history struct {
	t   *testing.T
	fs  disk.FS
	l   *Log
	opt Options
	// acked were acknowledged; those of open may be there or not, all or none.
	acked, open []*event.Event
	// floor and skipped were acknowledged; maybe is the floor that may be there.
	floor, maybe uint64
	skipped      []storage.Range
	body         map[uint64][]byte
}

func newHistory(t *testing.T, fs disk.FS) *history {
	return &history{t: t, fs: fs, opt: tiny, floor: 1, maybe: 1, body: make(map[uint64][]byte)}
}

// again repeats what a fault has interrupted, on a log that was opened anew.
func (h *history) again(do func() error) {
	for n := 0; ; n++ {
		err := do()
		if err == nil {
			return
		}
		if !errors.Is(err, simdisk.ErrFault) && !errors.Is(err, storage.ErrClosed) || n > 3 {
			h.t.Fatal(err)
		}
		if h.l != nil {
			_ = h.l.Close()
			h.l = nil
		}
		h.opt.Poisoned = true
	}
}

// log is the log, opened if it is not.
func (h *history) log() (*Log, error) {
	if h.l != nil {
		return h.l, nil
	}
	l, err := Open(h.fs, "/log", h.opt)
	if err != nil {
		return nil, err
	}
	h.l = l
	h.settle(l)
	return l, nil
}

// settle finds out what became of the batch whose outcome was unknown.
func (h *history) settle(l *Log) {
	if len(h.open) > 0 && l.Last() >= h.open[0].Seq {
		h.acked = append(h.acked, h.open...)
	}
	h.open = nil
	h.floor = max(h.floor, l.Floor())
	h.maybe = h.floor
}

func (h *history) append(n, size int, large bool) {
	done := false
	h.again(func() error {
		l, err := h.log()
		if err != nil || done {
			return err
		}
		before := len(h.acked)
		events := batch(l.Next(), n, size)
		for _, e := range events {
			h.body[e.Seq] = e.Body
			if large {
				if e.BodyRef, err = l.PutLarge(e.Body); err != nil {
					return err
				}
				e.Body = nil
			}
		}
		h.open = events
		err = l.Append(events)
		if err == nil {
			h.acked, h.open = append(h.acked, events...), nil
			return nil
		}
		if h.l != nil {
			_ = h.l.Close()
			h.l = nil
		}
		h.opt.Poisoned = true
		h.again(func() error { _, err := h.log(); return err })
		done = len(h.acked) > before
		return err
	})
}

func (h *history) prune(seq uint64) {
	h.again(func() error {
		l, err := h.log()
		if err != nil {
			return err
		}
		h.maybe = max(h.floor, min(seq, l.Last()+1))
		_, err = l.Prune(start.Add(time.Duration(seq) * time.Second))
		if err == nil {
			h.floor = h.maybe
		}
		return err
	})
}

func (h *history) jump(by uint64) {
	var r storage.Range
	h.again(func() error {
		l, err := h.log()
		if err != nil {
			return err
		}
		if r.First == 0 {
			r = storage.Range{First: l.Next(), Last: l.Next() + by - 1}
		}
		return l.Jump(r.Last + 1)
	})
	h.skipped = append(h.skipped, r)
}

func (h *history) close() {
	if h.l != nil {
		_ = h.l.Close() // a mark that could not be written changes nothing
		h.l = nil
	}
}

// run is the history: small batches, full segments, large bodies, retention, a
// jump, clean ends and unclean ones.
func (h *history) run() {
	h.append(1, 10, false)
	h.append(3, 200, false)
	h.append(1, 1500, true)
	h.append(2, 700, false) // does not fit: the next segment
	h.close()
	h.append(1, 0, false)
	h.append(4, 20, false)
	h.append(2, 20, false)
	h.jump(10)
	h.append(2, 900, false)
	h.l = nil // an unclean end
	h.append(1, 30, false)
	h.prune(6)
	h.append(1, 700, true)
	h.append(5, 100, false)
	h.prune(100)
	h.append(1, 30, false)
	h.close()
}

// verify opens what a crash has left and compares it with what was promised. It
// returns the events that it showed.
func (h *history) verify(fsys disk.FS, what string) (*Log, []uint64) {
	h.t.Helper()
	l, err := Open(fsys, "/log", tiny)
	if err != nil {
		h.t.Fatalf("%s: %v", what, err)
	}
	if d := l.Damaged(); len(d) != 0 {
		h.t.Fatalf("%s: damaged %v", what, d)
	}
	floor := l.Floor()
	if floor != h.floor && floor != h.maybe {
		h.t.Fatalf("%s: floor %d, want %d or %d", what, floor, h.floor, h.maybe)
	}
	var got []uint64
	err = l.Scan(h.t.Context(), 0, ^uint64(0), func(e *event.Event) bool {
		got = append(got, e.Seq)
		return true
	})
	if err != nil {
		h.t.Fatalf("%s: %v", what, err)
	}
	var want []uint64
	for _, e := range h.acked {
		if e.Seq >= floor {
			want = append(want, e.Seq)
		}
	}
	more := slices.Clone(want)
	for _, e := range h.open {
		more = append(more, e.Seq)
	}
	if !slices.Equal(got, want) && !slices.Equal(got, more) {
		h.t.Fatalf("%s: events %v, want %v or %v", what, got, want, more)
	}
	for _, seq := range got {
		e, err := l.Get(seq)
		if err != nil {
			h.t.Fatalf("%s: %v", what, err)
		}
		if string(e.Body) != string(h.body[seq]) {
			h.t.Fatalf("%s: event %d has another body", what, seq)
		}
		n := 0
		err = l.Candidates(l.Seed().Key(e), func(s uint64) bool { n++; return s == seq })
		if err != nil || n != 1 {
			h.t.Fatalf("%s: event %d is found %d times by its key, %v", what, seq, n, err)
		}
	}
	for _, r := range h.skipped {
		if !slices.Contains(l.Bounds().Skipped, r) && r.Last >= floor {
			h.t.Fatalf("%s: skipped %v, want %v", what, l.Bounds().Skipped, r)
		}
	}
	return l, got
}

// survives verifies one state of the disk, and that what it shows stays.
func (h *history) survives(d *simdisk.Disk, what string) {
	h.t.Helper()
	l, shown := h.verify(d, what)
	after := d.Crash(func(int) bool { return false })
	_, again := h.verify(after, what+", and again")
	if !slices.Equal(shown, again) {
		h.t.Fatalf("%s: %v was shown, then %v", what, shown, again)
	}
	// It goes on from there.
	e := newEvent(l.Next(), 5)
	if err := l.Append([]*event.Event{e}); err != nil {
		h.t.Fatalf("%s: %v", what, err)
	}
	after = d.Crash(func(int) bool { return false })
	l, err := Open(after, "/log", tiny)
	if err != nil {
		h.t.Fatalf("%s, and one more event: %v", what, err)
	}
	if _, err := l.Get(e.Seq); err != nil || len(l.Damaged()) > 0 {
		h.t.Fatalf("%s: one more event: %v, damaged %v", what, err, l.Damaged())
	}
}

// subsets calls fn with ways to choose among n pending changes: all of them where
// they are few, else none, all, each one alone kept or lost, or some by chance.
func subsets(n int, fn func(what string, keep func(int) bool)) {
	fn("none kept", func(int) bool { return false })
	fn("all kept", func(int) bool { return true })
	switch {
	case n <= 4:
		for set := 1; set < 1<<n-1; set++ {
			fn(fmt.Sprintf("%b kept of %d", set, n), func(i int) bool { return set>>i&1 == 1 })
		}
	case n <= 8:
		for at := range n {
			fn(fmt.Sprintf("%d of %d kept", at, n), func(i int) bool { return i == at })
			fn(fmt.Sprintf("%d of %d lost", at, n), func(i int) bool { return i != at })
		}
	default:
		for seed := range uint64(6) {
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			fn(fmt.Sprintf("some of %d, seed %d", n, seed), func(int) bool { return r.IntN(2) == 0 })
		}
	}
}

// After every call that changes the disk the machine may stop, with any part of
// what was not synced.
func TestCrashEverywhere(t *testing.T) {
	d := simdisk.New()
	h := newHistory(t, d)
	n := 0
	d.OnChange(func(call string) {
		n++
		what := fmt.Sprintf("crash after change %d (%s)", n, call)
		subsets(d.Pending(), func(how string, keep func(int) bool) {
			h.survives(d.Crash(keep), what+", "+how)
		})
		h.survives(d.Clone(), what+", the process alone")
	})
	h.run()
	t.Logf("%d changes", n)
}

// Every call may fail once. The log closes itself or goes on, and loses nothing.
func TestFailEverywhere(t *testing.T) {
	for n := 1; ; n++ {
		d := simdisk.New()
		h := newHistory(t, d)
		d.FailAt(n, simdisk.ErrFault)
		h.run()
		what := fmt.Sprintf("call %d failed", n)
		for _, keep := range []bool{false, true} {
			l, _ := h.verify(d.Crash(func(int) bool { return keep }), fmt.Sprintf("%s, then a crash with all kept: %v", what, keep))
			_ = l.Close()
		}
		if d.Calls() < n {
			t.Logf("%d calls", n-1)
			return
		}
	}
}

// A sync that fails leaves in memory what the disk does not have. What is shown
// after that must have been written again.
func TestFailedSyncThenCrash(t *testing.T) {
	for n := 1; ; n++ {
		d := simdisk.New()
		h := newHistory(t, d)
		h.opt.idle = true
		d.FailAt(n, simdisk.ErrFault)
		for range 4 {
			h.append(2, 300, false)
			_, _ = h.verify(d.Crash(func(int) bool { return false }), fmt.Sprintf("call %d failed", n))
		}
		h.close()
		h.again(func() error { _, err := h.log(); return err })
		_, _ = h.verify(d.Crash(func(int) bool { return false }), fmt.Sprintf("call %d failed, and a clean end", n))
		if d.Calls() < n {
			return
		}
	}
}
