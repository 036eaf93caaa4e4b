package fair_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/internal/fair"
)

// TestQueueModel compares the queue with lists that take turns.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type entry struct {
			key string
			v   int
		}
		var (
			q     fair.Queue[int]
			order []string // keys, whose turn is next first
			lines = map[string][]int{}
			items = map[int]*fair.Item[int]{}
			n     int
		)
		leave := func(e entry) {
			i := slices.Index(lines[e.key], e.v)
			lines[e.key] = slices.Delete(lines[e.key], i, i+1)
			if len(lines[e.key]) == 0 {
				order = slices.DeleteFunc(order, func(k string) bool { return k == e.key })
			}
			n--
		}
		next := 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				key := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "key")
				if len(lines[key]) == 0 {
					order = append(order, key)
				}
				lines[key] = append(lines[key], next)
				items[next] = q.Push(key, next)
				next++
				n++
			case 2:
				v, ok := q.Pop()
				if ok != (n > 0) {
					t.Fatalf("Pop with %d waiting: %v", n, ok)
				}
				if !ok {
					continue
				}
				key := order[0]
				if want := lines[key][0]; v != want {
					t.Fatalf("got %d, want %d of %q", v, want, key)
				}
				order = append(order[1:], key)
				leave(entry{key, v})
			case 3:
				if next == 0 {
					continue
				}
				v := rapid.IntRange(0, next-1).Draw(t, "removed")
				q.Remove(items[v])
				for key, line := range lines {
					if slices.Contains(line, v) {
						leave(entry{key, v})
					}
				}
			}
			if q.Len() != n {
				t.Fatalf("%d waiting, want %d", q.Len(), n)
			}
			for key, line := range lines {
				if q.LenOf(key) != len(line) {
					t.Fatalf("%d of %q waiting, want %d", q.LenOf(key), key, len(line))
				}
			}
		}
	})
}

// TestTurns: however many wait for one key, another key's caller has every
// second turn.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := fair.NewLimiter(1)
		release, err := l.Acquire(t.Context(), "first")
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var turns []string
		work := func(key string, n int) {
			for range n {
				release, err := l.Acquire(t.Context(), key)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				turns = append(turns, key)
				mu.Unlock()
				time.Sleep(time.Millisecond)
				release()
			}
		}
		for i := range 100 {
			go func() { work("crowd", 1) }()
			if i == 50 {
				synctest.Wait()
				go work("alone", 20)
			}
		}
		synctest.Wait()
		if l.Waiting() != 101 {
			t.Fatalf("%d wait", l.Waiting())
		}
		release()
		time.Sleep(time.Second)
		synctest.Wait()
		if len(turns) != 120 || l.Waiting() != 0 {
			t.Fatalf("%d turns, %d wait", len(turns), l.Waiting())
		}
		// Who asks again after its turn comes after the one that waits meanwhile.
		alone := 0
		for _, key := range turns[:60] {
			if key == "alone" {
				alone++
			}
		}
		if alone != 20 {
			t.Errorf("the caller alone had %d of the first 60 turns", alone)
		}
	})
}

func TestOrderWithinAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := fair.NewLimiter(1)
		release, _ := l.Acquire(t.Context(), "")
		var got []int
		for i := range 10 {
			go func() {
				release, err := l.Acquire(t.Context(), "")
				if err != nil {
					t.Error(err)
				}
				got = append(got, i)
				release()
			}()
			synctest.Wait()
		}
		release()
		synctest.Wait()
		if !slices.Equal(got, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
			t.Error(got)
		}
	})
}

func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := fair.NewLimiter(1)
		ctx, cancel := context.WithCancel(t.Context())
		release, _ := l.Acquire(ctx, "a")
		for range 1024 {
			go func() { _, _ = l.Acquire(ctx, "a") }()
		}
		synctest.Wait()
		if _, err := l.Acquire(ctx, "a"); !errors.Is(err, fair.ErrFull) {
			t.Errorf("one more of the key: %v", err)
		}
		// Another key is not turned away for it, until all are too many.
		for i := range 16384 - 1024 {
			go func() { _, _ = l.Acquire(ctx, fmt.Sprint(i%20)) }()
		}
		synctest.Wait()
		if _, err := l.Acquire(ctx, "z"); !errors.Is(err, fair.ErrFull) {
			t.Errorf("one more of all: %v", err)
		}
		cancel()
		synctest.Wait()
		if l.Waiting() != 0 {
			t.Errorf("%d wait", l.Waiting())
		}
		release()
		if release, err := l.Acquire(t.Context(), "a"); err != nil {
			t.Error(err)
		} else {
			release()
		}
	})
}

func TestEnded(t *testing.T) {
	l := fair.NewLimiter(2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Acquire(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestNoSlotIsLost: callers come, work and leave at random moments; in the end
// all slots are free, and never were more at work than there are.
func TestNoSlotIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		slots := rapid.IntRange(1, 4).Draw(rt, "slots")
		type caller struct {
			key                    string
			start, patience, takes time.Duration
		}
		callers := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) caller {
			ms := func(name string) time.Duration {
				return time.Duration(rapid.IntRange(0, 20).Draw(rt, name)) * time.Millisecond
			}
			return caller{rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "key"), ms("start"), ms("patience"), ms("takes")}
		}), 1, 40).Draw(rt, "callers")
		synctest.Test(t, func(t *testing.T) {
			l := fair.NewLimiter(slots)
			var working, most atomic.Int64
			var all sync.WaitGroup
			for _, c := range callers {
				all.Go(func() {
					time.Sleep(c.start)
					ctx, cancel := context.WithTimeout(t.Context(), c.patience)
					defer cancel()
					release, err := l.Acquire(ctx, c.key)
					if err != nil {
						return
					}
					for n := working.Add(1); ; {
						if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
							break
						}
					}
					time.Sleep(c.takes)
					working.Add(-1)
					release()
				})
			}
			all.Wait()
			if int(most.Load()) > slots {
				t.Errorf("%d at work with %d slots", most.Load(), slots)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			for range slots {
				if _, err := l.Acquire(ctx, ""); err != nil {
					t.Fatalf("a slot was lost: %v", err)
				}
			}
			if l.Waiting() != 0 {
				t.Errorf("%d wait", l.Waiting())
			}
		})
	})
}

func TestSlots(t *testing.T) {
	if fair.Slots() < 1 {
		t.Error(fair.Slots())
	}
	release, err := fair.NewLimiter(0).Acquire(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func BenchmarkAcquire(b *testing.B) {
	l := fair.NewLimiter(1)
	b.ReportAllocs()
	for b.Loop() {
		release, err := l.Acquire(b.Context(), "a")
		if err != nil {
			b.Fatal(err)
		}
		release()
	}
}
