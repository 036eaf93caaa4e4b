package index

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func generate(n int) []*event.Event {
	g := storagetest.NewGenerator(1, start)
	events := make([]*event.Event, n)
	for i := range events {
		events[i] = g.Next()
		events[i].Body = nil
	}
	return events
}

func collect(s Set) []uint16 { return slices.AppendSeq(make([]uint16, 0, s.Len()), s.All()) }

func get(t testing.TB, src Source, hash uint64) Set {
	t.Helper()
	s, ok, err := src.Get(hash)
	if err != nil {
		t.Fatal(err)
	}
	if ok == s.Empty() {
		t.Fatalf("found %v with %d positions", ok, s.Len())
	}
	return s
}

// A table agrees with a map of slices, for hashes that differ in any bits.
func TestMemAgreesWithMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	hashes := []uint64{0, 1, 1 << 56, ^uint64(0), 0xff00000000000000}
	for range 200 {
		hashes = append(hashes, rng.Uint64(), uint64(rng.IntN(40)), rng.Uint64()<<40)
	}
	m, want := NewMemTable(), make(map[uint64][]uint16)
	for pos := range 20_000 {
		for range 1 + rng.IntN(6) {
			h := hashes[min(rng.IntN(len(hashes)), rng.IntN(len(hashes)))]
			m.Add(h, uint16(pos))
			if w := want[h]; len(w) == 0 || w[len(w)-1] != uint16(pos) {
				want[h] = append(w, uint16(pos))
			}
		}
	}
	for _, h := range append(hashes, 77, rng.Uint64()) {
		if got := collect(get(t, m, h)); !slices.Equal(got, want[h]) {
			t.Fatalf("hash %x: %d positions, want %d", h, len(got), len(want[h]))
		}
	}
	if m.Len() != len(want) {
		t.Fatalf("%d hashes, want %d", m.Len(), len(want))
	}
	last, n := uint64(0), 0
	_ = m.Hashes(func(h uint64) bool {
		if n > 0 && h <= last {
			t.Fatal("hashes do not ascend")
		}
		last = h
		n++
		return want[h] != nil
	})
	if n != len(want) {
		t.Fatalf("%d hashes listed, want %d", n, len(want))
	}
}

func TestMemTakesPositionsOutOfOrder(t *testing.T) {
	m := NewMemTable()
	for _, pos := range []uint16{5, 3, 9, 3, 4, 9} {
		m.Add(1, pos)
	}
	if got := collect(get(t, m, 1)); !slices.Equal(got, []uint16{3, 4, 5, 9}) {
		t.Fatal(got)
	}
}

// Whoever reads while events are added sees all that was added before, and what
// it holds does not change.
func TestMemReadersSeeWhatWasAdded(t *testing.T) {
	m := NewMemTable()
	var added atomic.Int64
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for n := 0; n < 12_000; {
				n = int(added.Load())
				s, _, _ := m.Get(7)
				if s.KeepRange(0, n).Len() != n {
					t.Errorf("%d of %d positions", s.Len(), n)
					return
				}
				before := s.Len()
				runtime.Gosched()
				if got := len(collect(s)); got != before {
					t.Errorf("a set changed from %d to %d positions", before, got)
					return
				}
			}
		})
	}
	for pos := range 12_000 {
		m.Add(7, uint16(pos))
		m.Add(uint64(pos)*0x9e3779b97f4a7c15, uint16(pos))
		added.Store(int64(pos) + 1)
	}
	readers.Wait()
}

// What a segment of the most events takes in memory is bounded, whatever they
// say: all terms different, and those that make each a list of its own.
func TestMemIsBounded(t *testing.T) {
	const limit = 32 << 20
	for _, same := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("%d events a term", same), func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			m := NewMemTable()
			for pos := range MaxPositions {
				s := fmt.Sprintf("%s%d", strings.Repeat("long ", 40), pos/same)
				m.AddEvent(1, &event.Event{
					WorkspaceID: s, Source: s, Type: s, Kind: event.Kind(s), WorkflowID: s, WorkflowName: s, AgentID: s,
					Status: event.Status(s), Severity: s,
				}, uint16(pos))
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if took := int64(after.HeapAlloc) - int64(before.HeapAlloc); took > limit {
				t.Errorf("%d hashes take %d bytes", m.Len(), took)
			} else {
				t.Logf("%d hashes take %.1f MiB", m.Len(), float64(took)/(1<<20))
			}
		})
	}
}

func BenchmarkMemAddEvent(b *testing.B) {
	events := generate(MaxPositions)
	b.ReportAllocs()
	b.ResetTimer()
	m := NewMemTable()
	for i := range b.N {
		if i%MaxPositions == 0 {
			m = NewMemTable()
		}
		m.AddEvent(1, events[i%MaxPositions], uint16(i))
	}
}

func BenchmarkMemAddKey(b *testing.B) {
	events := generate(MaxPositions)
	b.ReportAllocs()
	b.ResetTimer()
	m := NewMemTable()
	for i := range b.N {
		if i%MaxPositions == 0 {
			m = NewMemTable()
		}
		m.Add(Seed(1).Key(events[i%MaxPositions]), uint16(i))
	}
}
