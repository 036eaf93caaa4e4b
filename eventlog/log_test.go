package eventlog_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/admission"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newEvent(key, body string) *event.Event {
	return &event.Event{
		ReceivedAt: time.Now(), WorkspaceID: "ws", Source: "opal", Type: "agent_status_update",
		Kind: event.KindAgentStatus, WorkflowID: "wf_1", AgentID: "geo_audit", Status: event.StatusRunning,
		DedupKey: sha256.Sum256([]byte(key)), BodyDigest: sha256.Sum256([]byte(body)), Body: []byte(body), Size: len(body),
	}
}

func open(t testing.TB, opt eventlog.Options) *eventlog.Log {
	t.Helper()
	if opt.Open == nil {
		store := memstore.New()
		opt.Open = func(bool) (storage.Store, error) { return store, nil }
	}
	log, err := eventlog.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return log
}

func TestConcurrentCopiesAreOneEvent(t *testing.T) {
	log := open(t, eventlog.Options{})
	const copies = 1000
	results := make([]eventlog.Result, copies)
	var wg sync.WaitGroup
	for i := range copies {
		wg.Go(func() {
			var err error
			if results[i], err = log.Append(t.Context(), newEvent("k", "body")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	processed := 0
	for _, r := range results {
		if r.Seq != results[0].Seq {
			t.Fatalf("ids differ: %d and %d", r.Seq, results[0].Seq)
		}
		if !r.Duplicate {
			processed++
		}
	}
	if processed != 1 {
		t.Fatalf("%d were processed, want 1", processed)
	}
	if log.Head() != results[0].Seq {
		t.Fatalf("head is %d, want %d", log.Head(), results[0].Seq)
	}
}

func TestSameKeyOtherBodyIsKept(t *testing.T) {
	log := open(t, eventlog.Options{})
	a, _ := log.Append(t.Context(), newEvent("k", "a"))
	b, err := log.Append(t.Context(), newEvent("k", "b"))
	if err != nil || b.Duplicate || b.Seq == a.Seq {
		t.Fatalf("another body under the same key gave %+v, %v", b, err)
	}
	e, err := log.Get(t.Context(), b.Seq)
	if err != nil || !e.PayloadMismatch || string(e.Body) != "b" {
		t.Fatalf("stored as %+v, %v", e, err)
	}
	again, _ := log.Append(t.Context(), newEvent("k", "b"))
	if !again.Duplicate || again.Seq != b.Seq {
		t.Fatalf("that one again gave %+v, want a duplicate of %d", again, b.Seq)
	}
}

// What was committed before a query can be found by it, however the projector is
// doing; and the state of the run says the same.
func TestReadYourWrites(t *testing.T) {
	log := open(t, eventlog.Options{})
	for i := range 50 {
		e := newEvent(fmt.Sprint(i), fmt.Sprint(i))
		e.AgentID, e.Status = fmt.Sprintf("Agent_%d", i%9), event.StatusCompleted
		if _, err := log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		page, err := log.Query(t.Context(), storage.Query{Filter: event.Filter{WorkspaceID: "ws"}, Limit: 1000})
		if err != nil || len(page.Events) != i+1 {
			t.Fatalf("%d events listed after %d appends, %v", len(page.Events), i+1, err)
		}
	}
	w, err := log.Workflow(t.Context(), "ws", "wf_1")
	if err != nil || len(w.Agents) != 9 || w.Events != 50 {
		t.Fatalf("workflow state %+v, %v", w, err)
	}
	if completed, failed := w.Counts(); completed != 9 || failed != 0 {
		t.Fatalf("counts %d completed, %d failed", completed, failed)
	}
	if _, err := log.Workflow(t.Context(), "other", "wf_1"); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("another workspace sees the run: %v", err)
	}
}

func TestFullQueueRefuses(t *testing.T) {
	store := &gated{Store: memstore.New(), gate: make(chan struct{}), entered: make(chan struct{}, 16)}
	log := open(t, eventlog.Options{Settings: eventlog.Settings{QueueEvents: 1}, Open: func(bool) (storage.Store, error) { return store, nil }})
	results := make(chan error, 3)
	add := func(key string) {
		_, err := log.Append(t.Context(), newEvent(key, key))
		results <- err
	}
	go add("committing")
	<-store.entered
	// One fits the queue, the other does not.
	go add("a")
	go add("b")
	if err := <-results; !errors.Is(err, eventlog.ErrOverloaded) {
		t.Fatalf("a full queue gave %v", err)
	}
	var a admission.Admission
	if err := log.AcquireSlot(t.Context(), &a, 1); !errors.Is(err, eventlog.ErrOverloaded) {
		t.Errorf("with a full queue, Admit gave %v", err)
	}
	if err := log.Writable(); !errors.Is(err, eventlog.ErrOverloaded) {
		t.Errorf("with a full queue, Writable gave %v", err)
	}
	close(store.gate)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if log.Head() != 2 {
		t.Fatalf("head %d, want 2", log.Head())
	}
	if err := log.AcquireSlot(t.Context(), &a, 1); err != nil {
		t.Errorf("with an empty queue, Admit gave %v", err)
	}
	a.Release()
}

// After a commit whose outcome is unknown the store is opened anew, and a second
// try finds what was written.
func TestReopenAfterFailedCommit(t *testing.T) {
	mem := memstore.New()
	log := open(t, eventlog.Options{Open: func(poisoned bool) (storage.Store, error) {
		if !poisoned {
			return &failing{Store: mem}, nil
		}
		return mem.Reopen(), nil
	}})
	_, err := log.Append(t.Context(), newEvent("k", "body"))
	if !errors.Is(err, eventlog.ErrOutcomeUnknown) {
		t.Fatalf("failed commit gave %v", err)
	}
	var r eventlog.Result
	for {
		if r, err = log.Append(t.Context(), newEvent("k", "body")); !errors.Is(err, eventlog.ErrUnavailable) {
			break
		}
	}
	if err != nil || !r.Duplicate {
		t.Fatalf("the second try gave %+v, %v; want a duplicate of what the first wrote", r, err)
	}
	page, err := log.Query(t.Context(), storage.Query{Filter: event.Filter{WorkspaceID: "ws"}, Limit: 10})
	if err != nil || len(page.Events) != 1 {
		t.Fatalf("listed %d events, %v", len(page.Events), err)
	}
}

func TestNoSpaceRefusesAndComesBack(t *testing.T) {
	store := memstore.New()
	log := open(t, eventlog.Options{Open: func(bool) (storage.Store, error) { return store, nil }})
	store.Refuse(storage.ErrNoSpace)
	if _, err := log.Append(t.Context(), newEvent("k", "b")); !errors.Is(err, storage.ErrNoSpace) {
		t.Fatalf("full disk gave %v", err)
	}
	store.Refuse(nil)
	if r, err := log.Append(t.Context(), newEvent("k", "b")); err != nil || r.Duplicate {
		t.Fatalf("after there was room again: %+v, %v", r, err)
	}
}

func TestCloseCommitsWhatWasTaken(t *testing.T) {
	store := &gated{Store: memstore.New(), gate: make(chan struct{}), entered: make(chan struct{}, 16)}
	log, err := eventlog.Open(eventlog.Options{Open: func(bool) (storage.Store, error) { return store, nil }})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := log.Append(t.Context(), newEvent("k", "b"))
		done <- err
	}()
	<-store.entered
	closed := make(chan error, 1)
	go func() { closed <- log.Close() }()
	close(store.gate)
	if err := <-done; err != nil {
		t.Fatalf("an event that was taken: %v", err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), newEvent("k2", "b")); !errors.Is(err, eventlog.ErrClosed) {
		t.Fatalf("append to a closed log gave %v", err)
	}
	if _, err := log.Wait(t.Context(), 99); !errors.Is(err, eventlog.ErrClosed) {
		t.Fatalf("wait on a closed log gave %v", err)
	}
}

func TestRetentionMinimum(t *testing.T) {
	_, err := eventlog.Open(eventlog.Options{Settings: eventlog.Settings{Retention: time.Hour}, Open: func(bool) (storage.Store, error) { return memstore.New(), nil }})
	if err == nil {
		t.Fatal("a retention under the deduplication window was taken")
	}
}

// A follower that reads from wherever it stands sees every event once, in order,
// across the edge of what is kept in memory.
func TestFollowersSeeEverythingOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store := memstore.New()
		log, err := eventlog.Open(eventlog.Options{Open: func(bool) (storage.Store, error) { return store, nil }})
		if err != nil {
			rt.Fatal(err)
		}
		defer log.Close()
		total := rapid.IntRange(1, 300).Draw(rt, "events")
		limit := rapid.IntRange(1, 64).Draw(rt, "limit")
		seen := make(chan []uint64, 1)
		go func() {
			var got []uint64
			after := uint64(0)
			for len(got) < total {
				if _, err := log.Wait(context.Background(), after); err != nil {
					break
				}
				events, err := log.Read(context.Background(), after, limit)
				if err != nil {
					break
				}
				for _, e := range events {
					got, after = append(got, e.Seq), e.Seq
				}
			}
			seen <- got
		}()
		for i := range total {
			if _, err := log.Append(context.Background(), newEvent(fmt.Sprint(i), "b")); err != nil {
				rt.Fatal(err)
			}
		}
		got := <-seen
		if len(got) != total {
			rt.Fatalf("saw %d of %d", len(got), total)
		}
		for i := 1; i < len(got); i++ {
			if got[i] <= got[i-1] {
				rt.Fatalf("%d came after %d", got[i], got[i-1])
			}
		}
	})
}

// gated holds commits until the gate opens.
type gated struct {
	storage.Store
	gate    chan struct{}
	entered chan struct{}
}

func (g *gated) CommitBatch(ctx context.Context, batch []*event.Event) (storage.Commit, error) {
	g.entered <- struct{}{}
	<-g.gate
	return g.Store.CommitBatch(ctx, batch)
}

// failing writes its first batch and then says that it could not.
type failing struct{ storage.Store }

func (f *failing) CommitBatch(ctx context.Context, batch []*event.Event) (storage.Commit, error) {
	if _, err := f.Store.CommitBatch(ctx, batch); err != nil {
		return storage.Commit{}, err
	}
	return storage.Commit{}, errors.New("input/output error")
}
