package eventlog_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/admission"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/storage"
)

// TestSelfClosedStoreIsReopened: whoever meets a store that closed itself has it
// opened anew, and if nobody calls it, the log notices by itself. Health says so
// meanwhile.
func TestSelfClosedStoreIsReopened(t *testing.T) {
	for name, call := range map[string]func(ctx context.Context, l *eventlog.Log, s storage.Store) error{
		"nobody": func(context.Context, *eventlog.Log, storage.Store) error {
			time.Sleep(2 * time.Second)
			return storage.ErrClosed
		},
		"a document write": func(ctx context.Context, _ *eventlog.Log, s storage.Store) error {
			_, err := s.PutDocument(ctx, storage.Document{Collection: "c", Key: "k", Version: storage.AnyVersion})
			return err
		},
		"a backup": func(ctx context.Context, _ *eventlog.Log, s storage.Store) error {
			_, err := s.Backup(ctx, io.Discard, "")
			return err
		},
		"a list": func(ctx context.Context, l *eventlog.Log, _ storage.Store) error {
			_, err := l.Query(ctx, storage.Query{})
			return err
		},
		"an event": func(ctx context.Context, l *eventlog.Log, _ storage.Store) error { _, err := l.Get(ctx, 1); return err },
		"a prune": func(ctx context.Context, l *eventlog.Log, _ storage.Store) error {
			_, err := l.PruneBefore(ctx, time.Time{})
			return err
		},
		"a webhook": func(ctx context.Context, l *eventlog.Log, _ storage.Store) error {
			return l.AcquireSlot(ctx, new(admission.Admission), 1)
		},
		"a look at it": func(_ context.Context, l *eventlog.Log, s storage.Store) error { return s.Writable() },
		"a health check": func(_ context.Context, l *eventlog.Log, s storage.Store) error {
			if !l.Health().Reopening {
				return errors.New("health says that nothing is wrong")
			}
			return storage.ErrClosed
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := memstore.New()
				var poisoned atomic.Int64
				release := make(chan struct{})
				l, err := eventlog.Open(eventlog.Options{Open: func(p bool) (storage.Store, error) {
					if p {
						poisoned.Add(1)
						<-release
					}
					return mem.Reopen(), nil
				}})
				if err != nil {
					t.Fatal(err)
				}
				s, err := l.Store()
				if err != nil {
					t.Fatal(err)
				}
				mem.Fail()
				if err := call(t.Context(), l, s); !errors.Is(err, storage.ErrClosed) && !errors.Is(err, eventlog.ErrUnavailable) {
					t.Errorf("the call that met it: %v", err)
				}
				synctest.Wait()
				if poisoned.Load() != 1 || !l.Health().Reopening {
					t.Errorf("opened %d times after a failed write, health %+v", poisoned.Load(), l.Health())
				}
				if _, err := l.Store(); !errors.Is(err, eventlog.ErrUnavailable) {
					t.Errorf("the store meanwhile: %v", err)
				}
				close(release)
				synctest.Wait()
				if l.Health().Reopening {
					t.Error("open again, health says that it is not")
				}
				if r, err := l.Append(t.Context(), newEvent("k", "b")); err != nil || r.Duplicate {
					t.Errorf("open again: %+v, %v", r, err)
				}
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestBodyPutAsideInAnotherLife: a body that was put aside before the store was
// opened anew is swept by it, so no record may name it.
func TestBodyPutAsideInAnotherLife(t *testing.T) {
	mem := memstore.New()
	var l *eventlog.Log
	armed := true
	l = open(t, eventlog.Options{Open: func(bool) (storage.Store, error) {
		return &shortLived{Store: mem.Reopen(), prepared: func() {
			if !armed {
				return
			}
			armed = false
			mem.Fail()
			for l.Health().Reopening {
				runtime.Gosched()
			}
		}}, nil
	}})
	body := strings.Repeat("x", memstore.LargeBody+1)
	if _, err := l.Append(t.Context(), newEvent("k", body)); !errors.Is(err, eventlog.ErrUnavailable) {
		t.Fatalf("prepared in another life: %v", err)
	}
	r, err := l.Append(t.Context(), newEvent("k", body))
	if err != nil || r.Duplicate {
		t.Fatalf("again: %+v, %v", r, err)
	}
	if e, err := l.Get(t.Context(), r.Seq); err != nil || string(e.Body) != body {
		t.Fatalf("the body did not come back, %v", err)
	}
}

// shortLived tells when it has prepared an event.
type shortLived struct {
	storage.Store
	prepared func()
}

func (s *shortLived) Prepare(ctx context.Context, e *event.Event) (storage.Outcome, error) {
	o, err := s.Store.Prepare(ctx, e)
	s.prepared()
	return o, err
}
