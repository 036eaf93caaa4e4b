package eventlog_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/storage"
)

// slow is a disk that takes its time over a commit, and counts.
type slow struct {
	storage.Store
	batches []int
}

const syncTime = 300 * time.Microsecond

func (s *slow) CommitBatch(ctx context.Context, batch []*event.Event) (storage.Commit, error) {
	s.batches = append(s.batches, len(batch))
	time.Sleep(syncTime)
	return s.Store.CommitBatch(ctx, batch)
}

// send has each of n senders append so many events, one after the other, and
// think in between. It returns the sizes of the commits and how long it took, by
// the bubble's clock.
func send(t *testing.T, n, each int, think func(sender int) time.Duration) (batches []int, took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: memstore.New()}
		log, err := eventlog.Open(eventlog.Options{Open: func(bool) (storage.Store, error) { return store, nil }})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				for j := range each {
					time.Sleep(think(i))
					if _, err := log.Append(t.Context(), newEvent(fmt.Sprint(i, "/", j), "b")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		took = time.Since(start)
		if err := log.Close(); err != nil {
			t.Error(err)
		}
		batches = store.batches
	})
	return batches, took
}

func TestManySendersShareACommit(t *testing.T) {
	const senders, each = 40, 50
	// They come back one after the other, within less than the committer waits.
	batches, took := send(t, senders, each, func(i int) time.Duration { return time.Duration(i) * 20 * time.Microsecond })
	if n := len(batches); n > each+each/5 {
		t.Errorf("%d events took %d commits, where %d would do", senders*each, n, each)
	}
	// Nobody is waited for who is back already: a round is the slowest sender's
	// thinking and one commit.
	if round := (senders*20*time.Microsecond + syncTime); took > each*round*3/2 {
		t.Errorf("%d rounds took %v, a round at best %v", each, took, round)
	}
}

func TestFewSendersAreNotKeptWaiting(t *testing.T) {
	for n := 1; n <= 3; n++ {
		if _, took := send(t, n, 100, func(int) time.Duration { return 0 }); took > 2*100*syncTime {
			t.Errorf("%d senders: 100 rounds took %v, at best %v", n, took, 100*syncTime)
		}
	}
}

func TestACommitDoesNotWaitLongForSendersWhoLeft(t *testing.T) {
	// All but one stop after their first event.
	batches, took := send(t, 40, 1, func(int) time.Duration { return 0 })
	if len(batches) > 3 || took > 5*time.Millisecond {
		t.Errorf("%d commits in %v", len(batches), took)
	}
	_, took = send(t, 41, 2, func(i int) time.Duration {
		if i < 40 {
			return time.Hour // the second time after everything else is over
		}
		return time.Millisecond
	})
	if took > 2*time.Hour+10*time.Millisecond {
		t.Errorf("took %v", took)
	}
}
