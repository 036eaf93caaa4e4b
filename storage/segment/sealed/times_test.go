package sealed

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage/index"
)

// Blocks that are left out hold no event of the time that is asked for.
func TestPositionsReceived(t *testing.T) {
	events := generate(1, 3000)
	for i, e := range events[1000:1500] { // a clock that was set back
		e.ReceivedAt = start.Add(time.Duration(i-2000) * time.Second)
	}
	f, _ := write(t, Header{Base: 1}, events)
	s := openFile(t, f)
	if n := s.PositionsReceived(time.Time{}, time.Time{}).Len(); n != len(events) {
		t.Fatalf("%d positions without bounds", n)
	}
	far := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	if n := s.PositionsReceived(far, time.Time{}).Len(); n != 0 {
		t.Fatalf("%d positions of the year 9999", n)
	}
	if n := s.PositionsReceived(time.Time{}, far).Len(); n != len(events) {
		t.Fatalf("%d positions until the year 9999", n)
	}
	narrow := s.PositionsReceived(events[2000].ReceivedAt, events[2001].ReceivedAt)
	if n := narrow.Len(); n == 0 || n > 2*blockEvents {
		t.Fatalf("%d positions for two events", n)
	}
	rapid.Check(t, func(t *rapid.T) {
		pick := func(label string) time.Time {
			e := events[rapid.IntRange(0, len(events)-1).Draw(t, label)]
			return e.ReceivedAt.Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, label+" by")))
		}
		since, until := pick("since"), pick("until")
		got := s.PositionsReceived(since, until)
		for i, e := range events {
			if !e.ReceivedAt.Before(since) && !e.ReceivedAt.After(until) && !got.Contains(uint16(i)) {
				t.Fatalf("event %d is missing", i)
			}
		}
	})
}

func TestLoggedBefore(t *testing.T) {
	events := generate(1, 2000)
	if stored(t, events[0], false).LoggedAt.IsZero() {
		// The codec at hand does not keep LoggedAt: only whole blocks count.
		f, _ := write(t, Header{Base: 1}, events)
		s := openFile(t, f)
		for i := range s.blocks {
			if pos, err := s.LoggedBefore(time.Unix(0, s.blocks[i].times.logged.max+1)); err != nil || pos != s.blocks[i].next() {
				t.Fatalf("block %d: %d, %v", i, pos, err)
			}
		}
		return
	}
	rapid.Check(t, func(t *rapid.T) {
		// One that was committed while the clock was ahead, and some behind.
		for range rapid.IntRange(0, 5).Draw(t, "steps") {
			e := events[rapid.IntRange(0, len(events)-1).Draw(t, "event")]
			e.LoggedAt = start.Add(time.Duration(rapid.IntRange(-100, 100).Draw(t, "by")) * time.Second)
		}
		f := new(memFile)
		if _, err := Write(f, Header{Base: 1}, records(events)); err != nil {
			t.Fatal(err)
		}
		s, err := Open(f, int64(len(f.b)))
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			limit := events[rapid.IntRange(0, len(events)-1).Draw(t, "limit")].LoggedAt.Add(time.Duration(rapid.IntRange(0, 1).Draw(t, "and")))
			want := 0
			for i, e := range events {
				if e.LoggedAt.Before(limit) {
					want = i + 1
				}
			}
			if got, err := s.LoggedBefore(limit); err != nil || got != want {
				t.Fatalf("before %v: %d, want %d: %v", limit, got, want, err)
			}
		}
		if got, err := s.LoggedBefore(time.Time{}); got != 0 || err != nil {
			t.Fatal(got, err)
		}
	})
}

func TestNanosOfAnyTime(t *testing.T) {
	times := []time.Time{{}, time.Unix(-1<<40, 0), time.Unix(0, -1<<63), time.Unix(-5, 3), time.Unix(0, 0), start, time.Unix(0, 1<<63-1), time.Unix(1<<40, 0)}
	if !slices.IsSortedFunc(times, func(a, b time.Time) int { return int(max(-1, min(1, nanos(a)/2-nanos(b)/2))) }) {
		t.Fatal("not in order")
	}
	if nanos(start) != start.UnixNano() {
		t.Fatal("not the nanoseconds")
	}
}

// A table that was made anew selects what one made at the commit does.
func TestBuildIndex(t *testing.T) {
	events := generate(1, 2000)
	f, _ := write(t, Header{Base: 1}, events)
	s := openFile(t, f)
	got, err := BuildIndex(t.Context(), s, 5)
	if err != nil {
		t.Fatal(err)
	}
	want := index.NewMemTable()
	for i, e := range events {
		want.AddEvent(5, e, uint16(i))
	}
	if got.Len() != want.Len() {
		t.Fatalf("%d terms, want %d", got.Len(), want.Len())
	}
	filter := event.Filter{WorkflowIDs: []string{events[77].WorkflowID}}
	a, _ := index.Evaluate(got, 5, &filter, len(events))
	b, _ := index.Evaluate(want, 5, &filter, len(events))
	if !slices.Equal(slices.Collect(a.All()), slices.Collect(b.All())) || !a.Contains(77) {
		t.Fatal("another selection")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := BuildIndex(ctx, s, 5); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
