package badger

import (
	"fmt"
	"math"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

// BenchmarkCommit makes events durable in batches of n, and reports the CPU that
// one takes with what follows in the background.
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{Reserve: -1})
			must(b, err)
			defer closed(b, s)
			gen := storagetest.NewGenerator(1, testStart)
			batches := make([][]*event.Event, b.N/n+1)
			for i := range batches {
				batches[i] = make([]*event.Event, n)
				for j := range batches[i] {
					batches[i][j] = gen.Next()
				}
			}
			before := cpu(b)
			b.ResetTimer()
			for _, batch := range batches {
				for {
					_, err := s.CommitBatch(b.Context(), batch)
					if err == nil {
						break
					}
					time.Sleep(time.Millisecond)
				}
				for _, e := range batch {
					e.Body = nil
				}
			}
			b.StopTimer()
			events := float64(len(batches) * n)
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/events, "cpu-µs/event")
			b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	must(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRead reads a log of a million events, or of what OSA_BENCH_EVENTS says.
func BenchmarkRead(b *testing.B) {
	events := 200_000
	if v := os.Getenv("OSA_BENCH_EVENTS"); v != "" {
		_, _ = fmt.Sscan(v, &events)
	}
	s, err := Open(b.TempDir(), Options{Reserve: -1})
	must(b, err)
	defer closed(b, s)
	gen := storagetest.NewGenerator(1, testStart)
	var some *event.Event
	batch := make([]*event.Event, 256)
	for i := 0; i < events; i += len(batch) {
		for j := range batch {
			batch[j] = gen.Next()
		}
		for {
			if _, err = s.CommitBatch(b.Context(), batch); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if i <= events/2 {
			c := *batch[7]
			some = &c
		}
	}
	for s.log.Writable() != nil {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(2 * time.Second)
	u, _ := s.Usage(b.Context())
	fmt.Printf("%d B an event\n", u.DiskBytes/int64(events))
	for name, q := range map[string]storage.Query{
		"newest":        {Limit: 50},
		"agent":         {Limit: 50, Filter: event.Filter{AgentIDs: storagetest.Agents[:1]}},
		"workflow":      {Limit: 50, Filter: event.Filter{WorkflowIDs: []string{some.WorkflowID}}},
		"nothing":       {Limit: 50, Filter: event.Filter{WorkflowIDs: []string{"none"}}},
		"a second":      {Limit: 50, Filter: event.Filter{Since: some.ReceivedAt, Until: some.ReceivedAt.Add(time.Second)}},
		"oldest failed": {Limit: 50, Ascending: true, Filter: event.Filter{Statuses: []event.Status{event.StatusFailed}}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, err := s.Query(b.Context(), q)
				must(b, err)
			}
		})
	}
	b.Run("scan", func(b *testing.B) {
		n := 0
		for b.Loop() {
			must(b, s.Scan(b.Context(), 0, math.MaxUint64, func(*event.Event) bool { n++; return true }))
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			_, err := s.Get(b.Context(), some.Seq)
			must(b, err)
		}
	})
	b.Run("old duplicate", func(b *testing.B) {
		for b.Loop() {
			again := *some
			out, err := s.Prepare(b.Context(), &again)
			must(b, err)
			if !out.Duplicate {
				b.Fatal("not found")
			}
		}
	})
	b.Run("fill filter", func(b *testing.B) {
		for b.Loop() {
			must(b, s.readKeys(s.filter.Begin(events)))
		}
	})
}
