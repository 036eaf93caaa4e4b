package segment

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/internal/disk/simdisk"
	"github.com/osa-edge/osa-gateway/storage"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// newEvent makes the event that always stands at seq.
func newEvent(seq uint64, bodySize int) *event.Event {
	body := []byte(strings.Repeat(fmt.Sprintf("%d;", seq), bodySize)[:bodySize])
	e := &event.Event{
		Seq: seq, ReceivedAt: start.Add(time.Duration(seq) * time.Second), LoggedAt: start.Add(time.Duration(seq) * time.Second),
		WorkspaceID: []string{"ws_a", "ws_b"}[seq%3/2], Source: "opal", Type: "agent_completed", Kind: event.KindAgentStatus,
		WorkflowID: fmt.Sprintf("workflow_%d", seq/5), AgentID: []string{"Geo_Audit", "content_review", ""}[seq%3],
		Status: event.StatusCompleted, Severity: []string{"", "low", "urgent"}[seq%7%3],
		Size: len(body), Body: body, DedupKey: event.DedupKey(fmt.Sprint(seq)), BodyDigest: sha256.Sum256(body),
	}
	return e
}

func batchOf(events ...*event.Event) []*event.Event { return events }

func batch(first uint64, n, bodySize int) []*event.Event {
	var events []*event.Event
	for i := range n {
		events = append(events, newEvent(first+uint64(i), bodySize))
	}
	return events
}

type fixture struct {
	*testing.T
	fs   disk.FS
	opt  Options
	l    *Log
	want []*event.Event
}

func open(t *testing.T, fsys disk.FS, opt Options) *fixture {
	t.Helper()
	f := &fixture{T: t, fs: fsys, opt: opt}
	f.reopen()
	t.Cleanup(func() { _ = f.l.Close() })
	return f
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) reopen() {
	f.Helper()
	if f.l != nil {
		f.must(f.l.Close())
	}
	l, err := Open(f.fs, "/log", f.opt)
	f.must(err)
	f.l = l
}

func (f *fixture) append(n, bodySize int) {
	f.Helper()
	events := batch(f.l.Next(), n, bodySize)
	f.must(f.l.Append(events))
	f.want = append(f.want, events...)
}

// check compares all that can be read with what was appended.
func (f *fixture) check() {
	f.Helper()
	b := f.l.Bounds()
	var got []*event.Event
	f.must(f.l.Scan(f.Context(), 0, ^uint64(0), func(e *event.Event) bool {
		got = append(got, e)
		return true
	}))
	want := slices.DeleteFunc(slices.Clone(f.want), func(e *event.Event) bool { return e.Seq < b.First })
	if len(got) != len(want) {
		f.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i, e := range want {
		f.same(got[i], e.WithoutBody())
		whole, err := f.l.Get(e.Seq)
		f.must(err)
		f.same(whole, e)
		f.candidate(e)
	}
	if n := len(want); n > 0 && (b.First != want[0].Seq || b.Last != want[n-1].Seq) {
		f.Fatalf("bounds %+v", b)
	}
	for _, ascending := range []bool{false, true} {
		for _, filter := range []event.Filter{{}, {WorkspaceID: "ws_b"}, {AgentIDs: []string{"geo_audit"}, MinPriority: event.PriorityMedium}, {Since: start.Add(20 * time.Second), Until: start.Add(40 * time.Second)}} {
			f.query(filter, ascending, want)
		}
	}
}

func (f *fixture) same(got, want *event.Event) {
	f.Helper()
	w := *want
	if string(got.Body) != string(w.Body) {
		f.Fatalf("event %d: body of %d bytes, want %d", w.Seq, len(got.Body), len(w.Body))
	}
	g := *got
	g.Body, w.Body = nil, nil
	if g.Seq != w.Seq || string(g.AppendBinary(nil)) != string(w.AppendBinary(nil)) {
		f.Fatalf("event %+v, want %+v", g, w)
	}
}

func (f *fixture) candidate(e *event.Event) {
	f.Helper()
	found := false
	f.must(f.l.Candidates(f.l.Seed().Key(e), func(seq uint64) bool {
		found = seq == e.Seq
		return !found
	}))
	if !found {
		f.Fatalf("event %d is not found by its key", e.Seq)
	}
}

func (f *fixture) query(filter event.Filter, ascending bool, all []*event.Event) {
	f.Helper()
	var want, got []*event.Event
	for _, e := range all {
		if filter.Matches(e) {
			want = append(want, e)
		}
	}
	if !ascending {
		slices.Reverse(want)
	}
	q := storage.Query{Filter: filter, Ascending: ascending, Limit: 7}
	for {
		page, err := f.l.Query(f.Context(), q)
		f.must(err)
		got = append(got, page.Events...)
		if q.After = page.Next; q.After == 0 {
			break
		}
	}
	if len(got) != len(want) {
		f.Fatalf("%+v: %d events, want %d", filter, len(got), len(want))
	}
	for i := range want {
		f.same(got[i], want[i].WithoutBody())
	}
}

var small = Options{SegmentBytes: 16 << 10, SegmentEvents: 20, inline: true}

func TestAppendAndReopen(t *testing.T) {
	f := open(t, simdisk.New(), small)
	f.check()
	for i := range 30 {
		f.append(1+i%4, 100*(i%5))
		if i%7 == 6 {
			f.reopen()
		}
		f.check()
	}
	if got := f.l.Next(); got != uint64(len(f.want))+1 {
		t.Fatalf("next is %d", got)
	}
}

func TestOnRealFiles(t *testing.T) {
	f := &fixture{T: t, fs: disk.OS, opt: Options{SegmentBytes: 256 << 10, SegmentEvents: 500}}
	dir := t.TempDir()
	for range 3 {
		l, err := Open(disk.OS, dir, f.opt)
		f.must(err)
		f.l = l
		f.check()
		for range 40 {
			f.append(13, 700)
		}
		f.check()
		f.must(l.Close())
		if err := l.Append(batch(l.Next(), 1, 1)); !errors.Is(err, storage.ErrClosed) {
			t.Fatal(err)
		}
	}
}

func TestJump(t *testing.T) {
	f := open(t, simdisk.New(), small)
	f.append(3, 10)
	f.must(f.l.Jump(100))
	f.must(f.l.Jump(50))
	f.append(3, 10)
	if got := f.want[3].Seq; got != 100 {
		t.Fatalf("event at %d", got)
	}
	f.must(f.l.Jump(200))
	f.must(f.l.Jump(300))
	want := []storage.Range{{First: 4, Last: 99}, {First: 103, Last: 299}}
	for range 2 {
		f.check()
		if got := f.l.Bounds().Skipped; !slices.Equal(got, want) {
			t.Fatalf("skipped %v", got)
		}
		if got := f.l.Next(); got != 300 {
			t.Fatalf("next is %d", got)
		}
		f.reopen()
	}
	n, err := f.l.Prune(start.Add(time.Hour))
	if f.must(err); n != 6 {
		t.Fatalf("%d went", n)
	}
	f.reopen()
	if b := f.l.Bounds(); b.First <= b.Last || b.Last != 102 || f.l.Next() != 300 {
		t.Fatalf("bounds %+v", b)
	}
}

func TestPrune(t *testing.T) {
	f := open(t, simdisk.New(), small)
	for range 30 {
		f.append(3, 300)
	}
	for _, at := range []uint64{0, 1, 5, 30, 31, 60, 90} {
		before := start.Add(time.Duration(at) * time.Second)
		had := f.l.Bounds()
		n, err := f.l.Prune(before)
		f.must(err)
		if b := f.l.Bounds(); b.First != max(at, 1) || n != int(b.First-had.First) {
			t.Fatalf("before %d: %d went, bounds %+v", at, n, b)
		}
		f.check()
		f.reopen()
		f.check()
	}
	n, err := f.l.Prune(start.Add(time.Hour))
	if f.must(err); n != 1 {
		t.Fatalf("%d went", n)
	}
	f.append(1, 10)
	f.want = f.want[90:]
	f.check()
	entries, err := f.fs.ReadDir("/log")
	if f.must(err); len(entries) != 2 {
		t.Fatalf("files %v", entries)
	}
}
