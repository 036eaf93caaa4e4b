package eventlog_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/admission"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/storage"
)

// fullHouse is a log that has admitted as many callers as it does.
func fullHouse(t *testing.T, queue int) (log *eventlog.Log, inside []*admission.Admission) {
	t.Helper()
	log, err := eventlog.Open(eventlog.Options{
		Settings: eventlog.Settings{QueueEvents: queue}, Open: func(bool) (storage.Store, error) { return memstore.New(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		a := new(admission.Admission)
		err := log.AcquireSlot(ctx, a, 1)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return log, inside
		}
		if err != nil {
			t.Fatal(err)
		}
		inside = append(inside, a)
	}
}

func TestAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, inside := fullHouse(t, 2)
		entered := make(chan error, 2)
		ask := func(ctx context.Context) {
			a := new(admission.Admission)
			go func() {
				entered <- log.AcquireSlot(ctx, a, 1)
			}()
			synctest.Wait()
		}
		leaving, leave := context.WithCancel(t.Context())
		ask(leaving)
		ask(t.Context())
		if err := log.AcquireSlot(t.Context(), new(admission.Admission), 1); !errors.Is(err, eventlog.ErrOverloaded) {
			t.Errorf("the third in a queue of two got %v", err)
		}
		if err := log.AcquireSlot(t.Context(), new(admission.Admission), eventlog.DefaultQueueBytes); !errors.Is(err, eventlog.ErrOverloaded) {
			t.Errorf("more bytes than may wait got %v", err)
		}
		leave()
		if err := <-entered; !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
		inside[0].Release()
		inside[0].Release()
		if err := <-entered; err != nil {
			t.Errorf("the next got %v", err)
		}

		// Nobody waits for ever, and nobody is kept from closing.
		ask(t.Context())
		time.Sleep(time.Minute)
		if err := <-entered; !errors.Is(err, eventlog.ErrOverloaded) {
			t.Errorf("after a minute: %v", err)
		}
		ask(t.Context())
		if err := log.Close(); err != nil {
			t.Error(err)
		}
		if err := <-entered; !errors.Is(err, eventlog.ErrClosed) {
			t.Errorf("of a closed log: %v", err)
		}
		for _, a := range inside {
			a.Release()
		}
	})
}
