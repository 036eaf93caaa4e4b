package eventlog_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/storage"
)

// twoLogs opens two logs on one store, as two processes would.
func twoLogs(t interface{ Fatal(...any) }, mem *memstore.Store) (logs [2]*eventlog.Log, stop func()) {
	for i := range logs {
		log, err := eventlog.Open(eventlog.Options{Open: func(bool) (storage.Store, error) { return mem.Handle(), nil }})
		if err != nil {
			t.Fatal(err)
		}
		logs[i] = log
	}
	return logs, func() {
		for _, log := range logs {
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// appendTo returns where the event went.
func appendTo(t interface{ Fatal(...any) }, log *eventlog.Log, key string) uint64 {
	r, err := log.Append(context.Background(), newEvent(key, key))
	if err != nil {
		t.Fatal(err)
	}
	return r.Seq
}

// TestReadersMissNothingOfOthers: a log's own 90 and 100, and another's 91 to 99
// between them.
func TestReadersMissNothingOfOthers(t *testing.T) {
	logs, stop := twoLogs(t, memstore.New())
	defer stop()
	for i := range 90 {
		appendTo(t, logs[0], fmt.Sprint("own ", i))
	}
	for i := range 9 {
		appendTo(t, logs[1], fmt.Sprint("other ", i))
	}
	if seq := appendTo(t, logs[0], "own last"); seq != 100 {
		t.Fatalf("the last one is %d", seq)
	}
	for after := uint64(80); after < 100; after++ {
		events, err := logs[0].Read(t.Context(), after, 1)
		if err != nil || len(events) != 1 || events[0].Seq != after+1 {
			t.Fatalf("after %d: %v, %v", after, events, err)
		}
	}
}

// TestFollowersOfTwoLogsSeeEverythingOnce: whatever the interleaving, every reader
// of each log sees every event once and in order.
func TestFollowersOfTwoLogsSeeEverythingOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		logs, stop := twoLogs(rt, memstore.New())
		defer stop()
		n := [2]int{rapid.IntRange(0, 150).Draw(rt, "of the first"), rapid.IntRange(0, 150).Draw(rt, "of the second")}
		limit := rapid.IntRange(1, 64).Draw(rt, "limit")
		burst := rapid.IntRange(1, 8).Draw(rt, "at once")
		total := n[0] + n[1]

		var readers, writers sync.WaitGroup
		var got [4][]uint64
		for i := range got {
			readers.Go(func() {
				log, after := logs[i%2], uint64(0)
				for len(got[i]) < total {
					if _, err := log.Wait(context.Background(), after); err != nil {
						rt.Error(err)
						return
					}
					events, err := log.Read(context.Background(), after, limit)
					if err != nil {
						rt.Error(err)
						return
					}
					for _, e := range events {
						got[i], after = append(got[i], e.Seq), e.Seq
					}
				}
			})
		}
		for i, log := range logs {
			next := make(chan int)
			writers.Go(func() {
				for j := range n[i] {
					next <- j
				}
				close(next)
			})
			for range burst {
				writers.Go(func() {
					for j := range next {
						seq := appendTo(rt, log, fmt.Sprint(i, "/", j))
						if log.Head() < seq {
							rt.Errorf("%d was acknowledged when the head was at %d", seq, log.Head())
						}
					}
				})
			}
		}
		writers.Wait()
		readers.Wait()
		for i, seqs := range got {
			if len(seqs) != total || !slices.IsSorted(seqs) || len(slices.Compact(slices.Clone(seqs))) != total {
				rt.Fatalf("reader %d saw %v, want each of %d once", i, seqs, total)
			}
		}
	})
}

// TestStatesOfTwoLogs: each folds what the other writes too, and neither holds on
// to a state that the other has changed.
func TestStatesOfTwoLogs(t *testing.T) {
	logs, stop := twoLogs(t, memstore.New())
	defer stop()
	for i := range 60 {
		appendTo(t, logs[i%2], fmt.Sprint(i))
		if i%5 != 0 {
			continue
		}
		log := logs[i/5%2]
		if _, err := log.Wait(t.Context(), uint64(i)); err != nil {
			t.Fatal(err)
		}
		if w, err := log.Workflow(t.Context(), "ws", "wf_1"); err != nil || w.Events != int64(i+1) {
			t.Fatalf("after %d events: %+v, %v", i+1, w, err)
		}
	}
}

// TestDuplicatesOfOthers: what another log holds is a duplicate here, and can be
// read by whoever is told so.
func TestDuplicatesOfOthers(t *testing.T) {
	logs, stop := twoLogs(t, memstore.New())
	defer stop()
	for i := range 100 {
		seq := appendTo(t, logs[i%2], fmt.Sprint(i))
		r, err := logs[1-i%2].Append(t.Context(), newEvent(fmt.Sprint(i), fmt.Sprint(i)))
		if err != nil || !r.Duplicate || r.Seq != seq {
			t.Fatalf("the other's %d is %+v, %v", seq, r, err)
		}
		events, err := logs[1-i%2].Read(t.Context(), seq-1, 1)
		if err != nil || len(events) != 1 || events[0].Seq != seq {
			t.Fatalf("read %v, %v", events, err)
		}
	}
}
