package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/storage"
)

// tally counts events by their agent. What bad says of an event goes wrong.
type tally struct {
	version int
	bad     func(*event.Event) error
}

func (p tally) Name() string              { return "tally" }
func (p tally) Version() int              { return p.version }
func (p tally) NewValue() eventlog.Value  { return new(count) }
func (p tally) key(e *event.Event) string { return e.AgentID }

func (p tally) Fold(r *eventlog.Records, e *event.Event) error {
	if p.bad != nil {
		if err := p.bad(e); err != nil {
			return err
		}
	}
	v, err := r.For(p.key(e))
	if err != nil || v == nil {
		return err
	}
	c := v.(*count)
	c.n++
	c.padding += len(e.ErrorMessage)
	return nil
}

// count is written as its number, padded.
type count struct{ n, padding int }

func (c *count) AppendRecord(dst []byte) ([]byte, error) {
	return append(strconv.AppendInt(dst, int64(c.n), 10), strings.Repeat(" ", c.padding)...), nil
}

func (c *count) ReadRecord(b []byte) (err error) {
	c.padding = len(b) - len(strings.TrimRight(string(b), " "))
	c.n, err = strconv.Atoi(strings.TrimRight(string(b), " "))
	return err
}

func agentEvent(i int, agent string) *event.Event {
	e := newEvent(fmt.Sprint(i), fmt.Sprint(i))
	e.AgentID = agent
	return e
}

// counted is what the tally's record of an agent says.
func counted(t *testing.T, mem *memstore.Store, agent string) int {
	t.Helper()
	raw := mem.Records("tally")[agent]
	if raw == nil {
		return 0
	}
	var c count
	if err := c.ReadRecord(raw[8:]); err != nil {
		t.Fatal(err)
	}
	return c.n
}

func mustAppend(t *testing.T, l *eventlog.Log, events ...*event.Event) {
	t.Helper()
	var wg sync.WaitGroup
	for _, e := range events {
		wg.Go(func() {
			if _, err := l.Append(t.Context(), e); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func settle(t *testing.T, l *eventlog.Log) {
	t.Helper()
	for {
		err := l.WaitProjected(t.Context(), l.Head())
		if errors.Is(err, storage.ErrRebuilding) {
			continue // it comes to its end by itself
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
}

// TestPoison: an event that cannot be projected is set aside, by whichever
// projection cannot take it, and stops nothing else.
func TestPoison(t *testing.T) {
	mem := memstore.New()
	l := open(t, eventlog.Options{
		Open: func(bool) (storage.Store, error) { return mem, nil },
		Projections: []eventlog.Projection{tally{version: 1, bad: func(e *event.Event) error {
			if e.Type == "poison" {
				return errors.New("cannot be folded")
			}
			return nil
		}}},
	})
	const n = 900
	var events []*event.Event
	for i := range n {
		e := agentEvent(i, fmt.Sprint(i%7))
		switch i % 300 {
		case 10:
			e.Type = "poison"
		case 20: // too large to be written
			e.ErrorMessage = strings.Repeat("x", storage.MaxValue)
		case 30: // a key too long
			e.AgentID = strings.Repeat("k", storage.MaxKey)
		}
		events = append(events, e)
	}
	mustAppend(t, l, events...)
	settle(t, l)
	total := 0
	for i := range 7 {
		total += counted(t, mem, fmt.Sprint(i))
	}
	if total != n-9 || l.Health().SetAside != 9 {
		t.Errorf("%d events were folded, %d set aside; want %d and 9", total, l.Health().SetAside, n-9)
	}
	if w, err := l.Workflow(t.Context(), "ws", "wf_1"); err != nil || w.Events != n {
		t.Errorf("the states have %+v, %v", w, err)
	}
}

// TestNewVersionRebuilds: another version makes its records anew, in the
// background, while the other projections go on.
func TestNewVersionRebuilds(t *testing.T) {
	mem := memstore.New()
	run := func(version int, f func(l *eventlog.Log)) {
		l, err := eventlog.Open(eventlog.Options{
			Open: func(bool) (storage.Store, error) { return mem.Reopen(), nil }, Projections: []eventlog.Projection{tally{version: version}},
		})
		if err != nil {
			t.Fatal(err)
		}
		f(l)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	run(1, func(l *eventlog.Log) {
		mustAppend(t, l, agentEvent(1, "a"), agentEvent(2, "b"), agentEvent(3, "a"))
		settle(t, l)
	})
	for _, version := range []int{1, 2, 1} {
		run(version, func(l *eventlog.Log) {
			settle(t, l)
			if a, b := counted(t, mem, "a"), counted(t, mem, "b"); a != 2 || b != 1 {
				t.Errorf("version %d counts %d and %d", version, a, b)
			}
		})
	}
}

// heldSteps lets a projection write only when it is told to.
type heldSteps struct {
	storage.Store
	name string
	step chan struct{}
}

func (h *heldSteps) Project(ctx context.Context, s storage.Step) error {
	if s.Projection.Name == h.name {
		select {
		case <-h.step:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return h.Store.Project(ctx, s)
}

// TestRebuildTellsItsProgress: while states are made anew, who asks for one hears
// how far that is, and never that there is none.
func TestRebuildTellsItsProgress(t *testing.T) {
	mem := memstore.New()
	first, err := eventlog.Open(eventlog.Options{Open: func(bool) (storage.Store, error) { return mem, nil }})
	if err != nil {
		t.Fatal(err)
	}
	const n = 5000
	var events []*event.Event
	for i := range n {
		events = append(events, agentEvent(i, "a"))
	}
	mustAppend(t, first, events...)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	mem.Reopen().LoseProjections()
	held := &heldSteps{Store: mem, name: "workflow_state", step: make(chan struct{})}
	l := open(t, eventlog.Options{Open: func(bool) (storage.Store, error) { return held, nil }})
	progress := func() (done, total uint64) {
		t.Helper()
		var rebuild *storage.RebuildError
		for _, id := range []string{"wf_1", "never"} {
			if _, err := l.Workflow(t.Context(), "ws", id); !errors.As(err, &rebuild) || rebuild.Part != "workflow_state" {
				t.Fatalf("while it is rebuilt: %v", err)
			}
		}
		if h := l.Health(); len(h.Rebuilding) != 1 || h.Rebuilding[0].Part != "workflow_state" {
			t.Fatalf("health %+v", h)
		}
		return rebuild.Done, rebuild.Total
	}
	if done, total := progress(); done != 0 || total != n {
		t.Errorf("%d of %d at the beginning", done, total)
	}
	// Lists, streams and webhooks go on.
	if page, err := l.Query(t.Context(), storage.Query{Limit: 5}); err != nil || len(page.Events) != 5 {
		t.Errorf("listed %d events, %v", len(page.Events), err)
	}
	mustAppend(t, l, agentEvent(n, "a"))
	held.step <- struct{}{}
	held.step <- struct{}{} // the first is written by now
	if done, total := progress(); done == 0 || done >= total || total != n {
		t.Errorf("%d of %d on the way", done, total)
	}
	close(held.step)
	settle(t, l)
	if w, err := l.Workflow(t.Context(), "ws", "wf_1"); err != nil || w.Events != n+1 {
		t.Errorf("rebuilt: %+v, %v", w, err)
	}
	if _, err := l.Workflow(t.Context(), "ws", "never"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("rebuilt, what never was: %v", err)
	}
	if h := l.Health(); len(h.Rebuilding) != 0 {
		t.Errorf("health %+v", h)
	}
}

// TestLostWhileRunning: derived data may be deleted at any moment.
func TestLostWhileRunning(t *testing.T) {
	mem := memstore.New()
	l := open(t, eventlog.Options{Open: func(bool) (storage.Store, error) { return mem, nil }})
	for i := range 40 {
		mustAppend(t, l, agentEvent(i, "a"))
		if i%2 == 0 {
			settle(t, l)
		}
		mem.LoseProjections()
		for {
			w, err := l.Workflow(t.Context(), "ws", "wf_1")
			if errors.Is(err, storage.ErrRebuilding) {
				continue
			}
			if err != nil || w.Events != int64(i+1) {
				t.Fatalf("after %d events: %+v, %v", i+1, w, err)
			}
			break
		}
	}
}

// TestLostRecord: a state that is missing though the log knows the run is not
// taken for one that never was.
func TestLostRecord(t *testing.T) {
	mem := memstore.New()
	l := open(t, eventlog.Options{Open: func(bool) (storage.Store, error) { return mem, nil }})
	mustAppend(t, l, agentEvent(1, "a"), agentEvent(2, "a"))
	replay := newEvent("3", "3")
	replay.WorkflowID, replay.ReplayOf = "replayed", 1
	mustAppend(t, l, replay)
	settle(t, l)
	mem.LoseRecord("workflow_state", "2:wswf_1")
	if _, err := l.Workflow(t.Context(), "ws", "wf_1"); !errors.Is(err, storage.ErrRebuilding) {
		t.Fatalf("a lost state: %v", err)
	}
	settle(t, l)
	if w, err := l.Workflow(t.Context(), "ws", "wf_1"); err != nil || w.Events != 2 {
		t.Fatalf("made anew: %+v, %v", w, err)
	}
	// A replay changes no state, so there is none to be missed.
	if _, err := l.Workflow(t.Context(), "ws", "replayed"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a run that was only replayed: %v", err)
	}
}

// TestDamageIsPassed: what cannot be read is left out of what is derived, and told
// of once.
func TestDamageIsPassed(t *testing.T) {
	mem := memstore.New()
	first, err := eventlog.Open(eventlog.Options{Open: func(bool) (storage.Store, error) { return mem, nil }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		mustAppend(t, first, agentEvent(i, "a"))
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	mem.Reopen().LoseProjections()
	mem.Damage(storage.Range{First: 5, Last: 8})
	mem.Damage(storage.Range{First: 20, Last: 20})
	l := open(t, eventlog.Options{Open: func(bool) (storage.Store, error) { return mem, nil }})
	if w, err := l.Workflow(t.Context(), "ws", "wf_1"); err != nil || w.Events != 15 {
		t.Errorf("the state is %+v, %v", w, err)
	}
	events, err := l.Read(t.Context(), 3, 3)
	if err != nil || len(events) != 3 || events[0].Seq != 4 || events[1].Seq != 9 {
		t.Errorf("read %v, %v", events, err)
	}
	if events, err := l.Read(t.Context(), 19, 3); err != nil || len(events) != 0 {
		t.Errorf("read %v, %v", events, err)
	}
	if h := l.Health(); len(h.Damaged) != 2 {
		t.Errorf("health %+v", h)
	}
}

// TestStatesGoWithTheirEvents: a state through which nothing is kept is gone at
// once for readers, and from the store in the background.
func TestStatesGoWithTheirEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New()
		l, err := eventlog.Open(eventlog.Options{Open: func(bool) (storage.Store, error) { return mem, nil }})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}()
		run := func(i int) string { return fmt.Sprint("run ", i) }
		for i := range 100 {
			e := agentEvent(i, "a")
			e.WorkflowID = run(i)
			mustAppend(t, l, e)
			time.Sleep(time.Minute)
		}
		later := agentEvent(1000, "a")
		later.WorkflowID = run(3)
		mustAppend(t, l, later)
		settle(t, l)
		n, err := l.PruneBefore(t.Context(), time.Now().Add(-50*time.Minute))
		if err != nil || n != 50 {
			t.Fatalf("pruned %d, %v", n, err)
		}
		for i, want := range map[int]bool{0: false, 3: true, 49: false, 50: true, 99: true} {
			if _, err := l.Workflow(t.Context(), "ws", run(i)); (err == nil) != want || (!want && !errors.Is(err, storage.ErrNotFound)) {
				t.Errorf("the state of run %d: %v", i, err)
			}
		}
		if events, err := l.Read(t.Context(), 0, 10); err != nil || events[0].Seq != 51 {
			t.Errorf("read %v, %v", events, err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if left := len(mem.Records("workflow_state")); left != 51 {
			t.Errorf("%d states are left, want 51", left)
		}
	})
}
