package hub

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/fair"
	"github.com/osa-edge/osa-gateway/internal/memory"
)

// counted counts turns, and refuses them while full is set.
type counted struct {
	*fair.Limiter
	turns atomic.Int64
	keys  []string
	full  bool
}

func (c *counted) Acquire(ctx context.Context, key string) (func(), error) {
	if c.full {
		return nil, fair.ErrFull
	}
	c.turns.Add(1)
	c.keys = append(c.keys, key)
	return c.Limiter.Acquire(ctx, key)
}

// TestBulkReadsTakeTurns: what is read from the log for a reader takes a turn for
// each part of it, in the workspace's name; what is live asks for none.
func TestBulkReadsTakeTurns(t *testing.T) {
	bulk := &counted{Limiter: fair.NewLimiter(1)}
	room := memory.NewQuota(1 << 20)
	w := newWorld(t, Options{Bulk: bulk, HistoryMemory: room, WindowRefs: 10})
	w.publishN(600, "wf-1")
	w.settle()
	if n := bulk.turns.Load(); n != 0 {
		t.Errorf("the live window took %d turns", n)
	}

	f := event.Filter{WorkspaceID: "ws"}
	frames, _, err := w.hub.History(t.Context(), f, 600)
	if err != nil || len(frames) != 600 {
		t.Fatalf("%d frames, %v", len(frames), err)
	}
	if n := bulk.turns.Load(); n != 3 {
		t.Errorf("a history of 600 took %d turns", n)
	}
	if room.Held() < 600*100 {
		t.Errorf("600 frames hold %d bytes", room.Held())
	}
	// No room for another of that size beside it: nothing of it is kept.
	room.Release("another", -(1<<20 - room.Held()))
	if _, _, err := w.hub.History(t.Context(), f, 600); !errors.Is(err, eventlog.ErrOverloaded) {
		t.Errorf("without room: %v", err)
	}
	room.Release("another", 1<<20-int64(sizeOf(frames)))
	w.hub.ReleaseHistory("", frames)
	if room.Held() != 0 {
		t.Errorf("%d bytes held", room.Held())
	}

	before := bulk.turns.Load()
	s := w.subscribe(SubscribeOptions{Filter: f})
	defer s.Close()
	if got := w.take(s); len(got) != 600 {
		t.Errorf("%d events", len(got))
	}
	if bulk.turns.Load() == before {
		t.Error("a resume took no turn")
	}
	for _, key := range bulk.keys {
		if key != "ws" {
			t.Errorf("a turn of %q", key)
		}
	}
	bulk.full = true
	if _, _, err := w.hub.History(t.Context(), f, 1); !errors.Is(err, eventlog.ErrOverloaded) || !errors.Is(err, fair.ErrFull) {
		t.Errorf("with too many waiting: %v", err)
	}
}

func sizeOf(frames [][]byte) (n int) {
	for _, f := range frames {
		n += cap(f)
	}
	return n
}

// TestCloseEndsWaitForTurn: a closing hub does not wait for turns.
func TestCloseEndsWaitForTurn(t *testing.T) {
	bulk := fair.NewLimiter(1)
	w := newWorld(t, Options{Bulk: bulk})
	w.publishN(1, "wf-1")
	w.settle()
	if _, err := bulk.Acquire(t.Context(), "other"); err != nil { // never given back
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		_, _, err := w.hub.History(context.Background(), event.Filter{WorkspaceID: "ws"}, 1)
		got <- err
	}()
	w.hub.Close()
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
