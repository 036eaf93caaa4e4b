package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a log over memory with a hub on it.
type world struct {
	t interface {
		Helper()
		Fatalf(string, ...any)
	}
	store *memstore.Store
	log   *eventlog.Log
	hub   *Hub
	n     int
}

func newWorld(t testing.TB, opt Options) *world {
	t.Helper()
	w, stop := openWorld(t, opt)
	t.Cleanup(stop)
	return w
}

func openWorld(t interface {
	Helper()
	Fatalf(string, ...any)
}, opt Options) (*world, func()) {
	store := memstore.New()
	log, err := eventlog.Open(eventlog.Options{Open: func(bool) (storage.Store, error) { return store, nil }})
	if err != nil {
		t.Fatalf("%v", err)
	}
	w := &world{t: t, store: store, log: log, hub: New(log, opt)}
	return w, func() {
		w.hub.Close()
		if err := log.Close(); err != nil {
			t.Fatalf("%v", err)
		}
	}
}

// publish commits an event.
func (w *world) publish(e *event.Event) uint64 {
	w.t.Helper()
	w.n++
	if e.ReceivedAt.IsZero() {
		e.ReceivedAt = time.Now().UTC()
	}
	if e.Source == "" {
		e.Source = "opal"
	}
	if e.Kind == "" {
		e.Kind, _ = event.KindOf(e.Type)
	}
	e.DedupKey = event.DedupKey(fmt.Sprint(w.n))
	r, err := w.log.Append(context.Background(), e)
	if err != nil {
		w.t.Fatalf("append: %v", err)
	}
	return r.Seq
}

func (w *world) publishN(n int, workflow string) {
	for range n {
		w.publish(&event.Event{WorkspaceID: "ws", Type: "agent_status_update", WorkflowID: workflow, AgentID: "geo_audit"})
	}
}

func (w *world) subscribe(opt SubscribeOptions) *Subscription {
	w.t.Helper()
	s, err := w.hub.Subscribe(opt)
	if err != nil {
		w.t.Fatalf("subscribe: %v", err)
	}
	return s
}

// settle waits until the hub has published all there is.
func (w *world) settle() {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); w.hub.publishedStat.Load() < w.log.Head(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("the hub stands at %d of %d", w.hub.publishedStat.Load(), w.log.Head())
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// take reads everything that there is for the subscription.
func (w *world) take(s *Subscription) (frames []string) {
	w.t.Helper()
	w.settle()
	var b Batch
	for {
		err := s.Poll(&b, 1<<20)
		if errors.Is(err, ErrBehind) {
			if err = s.Fetch(context.Background(), &b, 1<<18); err == nil && len(b.Frames) == 0 {
				s.Advance(&b, 0)
				continue
			}
		}
		if err != nil {
			w.t.Fatalf("poll: %v", err)
		}
		if len(b.Frames) == 0 {
			return frames
		}
		for _, f := range b.Frames {
			frames = append(frames, string(f))
		}
		s.Advance(&b, len(b.Frames))
	}
}

func idsOf(frames []string) (ids []string) {
	for _, f := range frames {
		line, _, _ := strings.Cut(f, "\n")
		ids = append(ids, strings.TrimPrefix(line, "id: "))
	}
	return ids
}

func TestLiveEventsWakeOnlyWhomTheyConcern(t *testing.T) {
	w := newWorld(t, Options{})
	woken := make(chan string, 10)
	sub := func(name string, f event.Filter) *Subscription {
		s := w.subscribe(SubscribeOptions{Filter: f, After: w.hub.Head(), Wake: func() { woken <- name }})
		if got := w.take(s); len(got) != 0 {
			t.Fatalf("%s began with %q", name, got)
		}
		return s
	}
	one := sub("one", event.Filter{WorkspaceID: "ws", WorkflowIDs: []string{"wf-1"}})
	two := sub("two", event.Filter{WorkspaceID: "ws", WorkflowIDs: []string{"wf-2"}})
	other := sub("other", event.Filter{WorkspaceID: "elsewhere"})
	defer one.Close()
	defer two.Close()
	defer other.Close()

	w.publishN(1, "wf-1")
	if name := <-woken; name != "one" {
		t.Fatalf("woke %s", name)
	}
	w.settle()
	if got := idsOf(w.take(one)); len(got) != 1 || got[0] != "evt_1" {
		t.Fatalf("got %q", got)
	}
	select {
	case name := <-woken:
		t.Fatalf("woke %s too", name)
	default:
	}
}

func TestEqualFiltersShareFrames(t *testing.T) {
	w := newWorld(t, Options{})
	a := w.subscribe(SubscribeOptions{Filter: event.Filter{WorkspaceID: "ws", AgentIDs: []string{"B", "a", "a"}}})
	b := w.subscribe(SubscribeOptions{Filter: event.Filter{WorkspaceID: "ws", AgentIDs: []string{"A", "b"}}})
	defer a.Close()
	defer b.Close()
	if n := w.hub.Stats().Filters; n != 1 {
		t.Fatalf("%d filters", n)
	}
	w.publish(&event.Event{WorkspaceID: "ws", WorkflowID: "w", AgentID: "A", Type: "x"})
	w.settle()
	var ba, bb Batch
	if err := errors.Join(a.Poll(&ba, 1), b.Poll(&bb, 1)); err != nil {
		t.Fatal(err)
	}
	if &ba.Frames[0][0] != &bb.Frames[0][0] {
		t.Error("the event was encoded twice")
	}
}

func TestUnacceptedFramesComeAgain(t *testing.T) {
	w := newWorld(t, Options{})
	s := w.subscribe(SubscribeOptions{})
	defer s.Close()
	w.publishN(5, "wf")
	w.settle()
	var b Batch
	if err := s.Poll(&b, 1<<20); err != nil || len(b.Frames) != 5 {
		t.Fatalf("%d frames, %v", len(b.Frames), err)
	}
	s.Advance(&b, 2)
	if got := idsOf(w.take(s)); strings.Join(got, " ") != "evt_3 evt_4 evt_5" {
		t.Errorf("got %q", got)
	}
}

func TestSlowReaders(t *testing.T) {
	const published = maxLag + 10
	small := Options{WindowRefs: 100}
	for _, tc := range []struct {
		name   string
		opt    Options
		policy Policy
		want   func(t *testing.T, w *world, s *Subscription)
	}{
		{"catch up from the log", small, CatchUp, func(t *testing.T, w *world, s *Subscription) {
			if got := idsOf(w.take(s)); len(got) != published || got[0] != "evt_2" {
				t.Errorf("%d events from %s", len(got), got[0])
			}
		}},
		{"latest from the window", Options{}, Latest, wantGap(published)},
		{"latest from beyond the window", small, Latest, wantGap(published)},
		{"disconnect", small, Disconnect, wantSlow},
		{"disconnect inside the window", Options{}, Disconnect, wantSlow},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, tc.opt)
			s := w.subscribe(SubscribeOptions{Policy: tc.policy})
			defer s.Close()
			w.publishN(1, "wf")
			if got := w.take(s); len(got) != 1 {
				t.Fatalf("got %q", got)
			}
			w.publishN(published, "wf")
			w.settle()
			tc.want(t, w, s)
		})
	}
}

func wantGap(published int) func(*testing.T, *world, *Subscription) {
	return func(t *testing.T, w *world, s *Subscription) {
		last := published + 1
		want := fmt.Sprintf("id: evt_%d\nevent: gap\ndata: {\"skipped\":%d,\"after_id\":\"evt_1\",\"through_id\":\"evt_%d\"}\n\n",
			last-1, published-1, last-1)
		var b Batch
		if err := s.Poll(&b, 1<<20); err != nil {
			t.Fatal(err)
		}
		s.Advance(&b, 0) // nothing was written: the same again
		got := w.take(s)
		if len(got) != 2 || got[0] != want || idsOf(got)[1] != event.FormatID(uint64(last)) {
			t.Errorf("got %q\nwant %q and evt_%d", got, want, last)
		}
	}
}

func wantSlow(t *testing.T, _ *world, s *Subscription) {
	var b Batch
	if err := s.Poll(&b, 1<<20); !errors.Is(err, ErrSlow) {
		t.Errorf("got %v", err)
	}
}

func TestWindowsAreBounded(t *testing.T) {
	w := newWorld(t, Options{WindowBytes: 10_000, WindowRefs: 1000})
	var subs []*Subscription
	for i := range 50 {
		f := event.Filter{WorkflowIDs: []string{"wf"}, AgentIDs: []string{"geo_audit", fmt.Sprint(i)}}
		subs = append(subs, w.subscribe(SubscribeOptions{Filter: f, After: w.hub.Head()}))
	}
	w.publishN(200, "wf")
	w.settle()
	w.hub.mu.Lock()
	bytes, refs := w.hub.bytes, w.hub.order.len()
	w.hub.mu.Unlock()
	if bytes > 10_000 || refs > 1000 {
		t.Errorf("%d bytes, %d places", bytes, refs)
	}
	for _, s := range subs {
		if got := w.take(s); len(got) != 200 {
			t.Fatalf("%d events", len(got))
		}
		s.Close()
	}
	if s := w.hub.Stats(); s.WindowBytes != 0 || s.Filters != 0 || s.Subscriptions != 0 || s.Behind != 0 {
		t.Errorf("after all left: %+v", s)
	}
}

// TestLag counts what a subscription has yet to get: exactly while that is in its
// window, and beyond that how far it is to the head.
func TestLag(t *testing.T) {
	w := newWorld(t, Options{WindowRefs: 8})
	w.publishN(3, "other")
	s := w.subscribe(SubscribeOptions{Filter: event.Filter{WorkflowIDs: []string{"mine"}}, After: w.hub.Head()})
	defer s.Close()
	want := func(events uint64, beyond bool) {
		t.Helper()
		w.settle()
		if n, b := s.Lag(s.Cursor()); n != events || b != beyond {
			t.Errorf("a lag of %d, beyond the window: %v; want %d, %v", n, b, events, beyond)
		}
	}
	want(0, false)
	w.publishN(5, "other") // does not concern it
	want(0, false)
	w.publishN(4, "mine")
	w.publishN(5, "other")
	want(4, false)
	var b Batch
	if err := s.Poll(&b, 1); err != nil {
		t.Fatal(err)
	}
	s.Advance(&b, 1)
	want(3, false)
	w.publishN(20, "mine")
	want(w.log.Head()-s.Cursor(), true)
	w.take(s)
	want(0, false)
}

func TestCloseEndsSubscriptions(t *testing.T) {
	w := newWorld(t, Options{})
	s := w.subscribe(SubscribeOptions{})
	defer s.Close()
	got := make(chan error, 1)
	go func() {
		var b Batch
		got <- s.Next(context.Background(), &b, 1)
	}()
	w.hub.Close()
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Errorf("Next: %v", err)
	}
	if _, err := w.hub.Subscribe(SubscribeOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Subscribe: %v", err)
	}
	if _, _, err := w.hub.Resume(context.Background(), "evt_1", false); !errors.Is(err, ErrClosed) {
		t.Errorf("Resume: %v", err)
	}
}

func TestNextWaits(t *testing.T) {
	w := newWorld(t, Options{})
	s := w.subscribe(SubscribeOptions{})
	defer s.Close()
	got := make(chan []string, 1)
	go func() {
		var b Batch
		if err := s.Next(context.Background(), &b, 1); err != nil {
			t.Error(err)
		}
		got <- idsOf([]string{string(b.Frames[0])})
	}()
	w.publishN(1, "wf")
	if ids := <-got; ids[0] != "evt_1" {
		t.Errorf("got %q", ids)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var b Batch
	if err := s.Poll(&b, 1); err != nil {
		t.Fatal(err)
	}
	s.Advance(&b, len(b.Frames))
	if err := s.Next(ctx, &b, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Next: %v", err)
	}
}

func TestMetricsAreOfTheWorkspace(t *testing.T) {
	w := newWorld(t, Options{})
	if got := string(w.hub.Metrics("quiet")); strings.Count(got, "event: performance_metric_update\n") != 1 ||
		!strings.Contains(got, `"metric_name":"webhooks_per_minute","current_value":0,"previous_value":null`) {
		t.Errorf("nothing measured: %q", got)
	}
	w.publishN(10, "wf")
	w.settle()
	for workspace, want := range map[string]int{"ws": 2, "": 2, "other": 1} {
		got := string(w.hub.Metrics(workspace))
		if n := strings.Count(got, "event: performance_metric_update\n"); n != want {
			t.Errorf("%q: %d metrics in %q", workspace, n, got)
		}
		if strings.Contains(got, "id:") {
			t.Errorf("%q has an id: %q", workspace, got)
		}
	}
}
