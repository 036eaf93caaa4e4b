package eventlog_test

import (
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/storage"
)

// TestBodiesPutAsideTakeNoRoom: what waits counts by what it holds in memory, and
// a duplicate does not wait at all.
func TestBodiesPutAsideTakeNoRoom(t *testing.T) {
	store := &gated{Store: memstore.New(), gate: make(chan struct{}), entered: make(chan struct{}, 16)}
	l := open(t, eventlog.Options{
		Settings: eventlog.Settings{QueueBytes: 1000}, Open: func(bool) (storage.Store, error) { return store, nil },
	})
	large := strings.Repeat("x", memstore.LargeBody+1)
	done := make(chan error, 20)
	add := func(key, body string) {
		go func() {
			_, err := l.Append(t.Context(), newEvent(key, body))
			done <- err
		}()
	}
	add("known", "known")
	<-store.entered
	store.gate <- struct{}{}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	add("first", "b")
	<-store.entered // and stays
	for _, key := range []string{"a", "b", "c", "d"} {
		add(key, large)
	}
	// Nothing is committed meanwhile, and the answer is there.
	if r, err := l.Append(t.Context(), newEvent("known", "known")); err != nil || !r.Duplicate || r.Seq != 1 {
		t.Errorf("a duplicate: %+v, %v", r, err)
	}
	close(store.gate)
	for range 5 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	events, err := l.Read(t.Context(), 0, 10)
	if err != nil || len(events) != 6 {
		t.Fatalf("read %d events, %v", len(events), err)
	}
	for _, e := range events[2:] {
		if got, err := l.Get(t.Context(), e.Seq); err != nil || string(got.Body) != large {
			t.Errorf("event %d: %v", e.Seq, err)
		}
	}
}

// TestCopiesOfALargeBody: copies that come at once each put their body aside, and
// all but one give it up.
func TestCopiesOfALargeBody(t *testing.T) {
	store := memstore.New()
	l := open(t, eventlog.Options{Open: func(bool) (storage.Store, error) { return store, nil }})
	large := strings.Repeat("x", memstore.LargeBody+1)
	release := store.Hold()
	type answer struct {
		eventlog.Result
		err error
	}
	answers := make(chan answer, 20)
	for range cap(answers) {
		go func() {
			r, err := l.Append(t.Context(), newEvent("key", large))
			answers <- answer{r, err}
		}()
	}
	release()
	written := 0
	for range cap(answers) {
		a := <-answers
		if a.err != nil {
			t.Fatal(a.err)
		}
		if !a.Duplicate {
			written++
		}
	}
	if n := store.Large(); written != 1 || n != 1 {
		t.Fatalf("%d events were written, %d bodies stand aside", written, n)
	}
	store.Refuse(storage.ErrNoSpace)
	if _, err := l.Append(t.Context(), newEvent("other", large)); err == nil {
		t.Fatal("accepted")
	}
	if n := store.Large(); n != 1 {
		t.Fatalf("%d bodies stand aside", n)
	}
}

// TestBatchesAreWithinTheLimits: memstore refuses a batch that is not.
func TestBatchesAreWithinTheLimits(t *testing.T) {
	mem := memstore.New()
	l := open(t, eventlog.Options{
		Settings: eventlog.Settings{QueueEvents: 10_000, QueueBytes: 1 << 30}, Open: func(bool) (storage.Store, error) { return mem, nil },
	})
	release := mem.Hold()
	done := make(chan error, 400)
	for i := range 400 {
		body := strings.Repeat("x", memstore.LargeBody-i)
		if i%2 == 0 {
			body = strings.Repeat("y", i)
		}
		go func() {
			_, err := l.Append(t.Context(), newEvent(body, body))
			done <- err
		}()
	}
	release()
	for range 400 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// TestSettingsAreLive: what may wait, and for how long events are kept, changes
// while the log is open.
func TestSettingsAreLive(t *testing.T) {
	l := open(t, eventlog.Options{})
	if s := l.Settings(); s.Retention != eventlog.DefaultRetention || s.QueueEvents != eventlog.DefaultQueueEvents || s.QueueBytes != eventlog.DefaultQueueBytes {
		t.Errorf("defaults %+v", s)
	}
	want := eventlog.Settings{Retention: 2 * eventlog.MinRetention, QueueEvents: 7, QueueBytes: 77}
	if err := l.SetSettings(want); err != nil || l.Settings() != want {
		t.Errorf("set %+v, %v", l.Settings(), err)
	}
	if err := l.SetSettings(eventlog.Settings{Retention: eventlog.MinRetention - 1}); err == nil || l.Settings() != want {
		t.Errorf("a retention under the minimum: %+v, %v", l.Settings(), err)
	}
}
