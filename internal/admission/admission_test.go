package admission_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/internal/admission"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

var limits = admission.Limits{Total: 48 * mib, Large: 36 * mib, MinRate: 4 * kib, Grace: 5 * time.Second}

// conn is a connection whose read can be ended.
type conn struct{ end chan struct{} }

func (c conn) EndRead() { close(c.end) }

func begin(c *admission.Controller, key string, limits admission.Limits) *admission.Admission {
	a := new(admission.Admission)
	c.Begin(a, admission.Unverified, admission.Key{Name: key}, limits, conn{make(chan struct{})})
	return a
}

// usage is what unverified bodies hold.
func usage(c *admission.Controller) admission.Usage { return c.Usage(admission.Unverified) }

// empty checks that nothing is held.
func empty(t *testing.T, c *admission.Controller) {
	t.Helper()
	if u := usage(c); u.Held != 0 || u.Large != 0 || u.Waiting != 0 || u.Arriving != 0 {
		t.Errorf("%+v", u)
	}
}

// body reads one of that size as requestbody.Read does, at a rate of bytes a
// second, and returns what it holds.
func body(ctx context.Context, c *admission.Controller, size, rate int64) (*admission.Admission, error) {
	return bodyWithin(ctx, c, limits, "", size, rate)
}

func bodyWithin(ctx context.Context, c *admission.Controller, limits admission.Limits, key string, size, rate int64) (*admission.Admission, error) {
	end := conn{make(chan struct{})}
	h := new(admission.Admission)
	c.Begin(h, admission.Unverified, admission.Key{Name: key}, limits, end)
	for have := int64(0); have < size; {
		next := max(64*kib, 2*have)
		if size <= max(64*kib, 3*have) {
			next = size
		}
		if err := h.Reserve(ctx, next, size); err != nil {
			h.Release()
			return nil, err
		}
		h.Shrink(next)
		for have < next {
			n := min(next-have, 32*kib)
			select {
			case <-time.After(time.Duration(n) * time.Second / time.Duration(rate)):
			case <-end.end:
				h.Release()
				return nil, h.Ended()
			}
			have += n
			h.Received(int(n))
		}
	}
	if err := h.Complete(); err != nil {
		h.Release()
		return nil, err
	}
	return h, nil
}

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		class                        admission.Class
		total, largest, all, ofLarge int64
	}{
		{admission.Unverified, 48 * mib, 10 * mib, 36 * mib, 27 * mib},
		{admission.Authenticated, 48 * mib, 10 * mib, 12 * mib, 10 * mib},
		{admission.Unverified, 10 * mib, 10 * mib, 10 * mib, 10 * mib},
		{admission.Authenticated, 10 * mib, 10 * mib, 10 * mib, 10 * mib},
	} {
		if got := admission.LimitsOf(tt.class, tt.total, tt.largest); got.Total != tt.all || got.Large != tt.ofLarge {
			t.Errorf("%+v: %+v", tt, got)
		}
	}
}

// TestSmallNeverStarve: however many large bodies come, a quarter is left.
func TestSmallNeverStarve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := admission.NewController()
		var large sync.WaitGroup
		release := make(chan struct{})
		var stored, refused atomic.Int64
		for range 40 {
			large.Go(func() {
				h, err := body(t.Context(), c, 8*mib, 1<<30)
				if err != nil {
					refused.Add(1)
					return
				}
				stored.Add(1)
				<-release
				h.Release()
			})
		}
		time.Sleep(time.Second)
		if n := usage(c).Large; n != 32*mib || usage(c).Waiting != 36 {
			t.Errorf("large bodies hold %d MiB, %d wait", n/mib, usage(c).Waiting)
		}
		var small []*admission.Admission
		start := time.Now()
		for range 40 {
			h := begin(c, "", limits)
			if err := h.Reserve(t.Context(), 200*kib, 200*kib); err != nil {
				t.Fatal(err)
			}
			small = append(small, h)
		}
		if time.Since(start) != 0 {
			t.Error("a small body waited")
		}
		for _, h := range small {
			h.Release()
			h.Release()
		}
		time.Sleep(2 * time.Second)
		if stored.Load() != 4 || refused.Load() != 36 {
			t.Errorf("%d stored, %d refused", stored.Load(), refused.Load())
		}
		close(release)
		large.Wait()
		empty(t, c)
	})
}

// TestTurnover: bodies that are soon done with let all get through that come at
// once, though there is room for four.
func TestTurnover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := admission.NewController()
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				h, err := body(t.Context(), c, 8*mib, 100*mib)
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(20 * time.Millisecond)
				h.Release()
			})
		}
		all.Wait()
		empty(t, c)
	})
}

// TestAnnouncedIsNotHeld: senders that announce large bodies and bring little of
// them do not keep out one that sends.
func TestAnnouncedIsNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := admission.NewController()
		var slow sync.WaitGroup
		for range 40 {
			slow.Go(func() {
				h := begin(c, "", limits)
				defer h.Release()
				if h.Reserve(ctx, 64*kib, 9*mib) == nil {
					<-ctx.Done()
				}
			})
		}
		time.Sleep(4 * time.Second)
		if n := usage(c).Held; n > 40*64*kib {
			t.Errorf("%d KiB held", n/kib)
		}
		start := time.Now()
		h, err := body(t.Context(), c, 9*mib, 100*mib)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("waited: %v", took)
		}
		h.Release()
		cancel()
		slow.Wait()
		empty(t, c)
	})
}

// TestOrder: who came first begins first, also behind one that needs more room
// than there is.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := admission.NewController()
		first, err := body(t.Context(), c, 10*mib, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		second, err := body(t.Context(), c, 10*mib, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		third, err := body(t.Context(), c, 9*mib, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		var order []int64
		var mu sync.Mutex
		var all sync.WaitGroup
		for _, size := range []int64{10 * mib, 9 * mib, 512 * kib} {
			all.Go(func() {
				h, err := body(t.Context(), c, size, 1<<40)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, size)
				mu.Unlock()
				time.Sleep(10 * time.Millisecond)
				h.Release()
			})
			synctest.Wait()
		}
		for _, h := range []*admission.Admission{first, second, third} {
			time.Sleep(100 * time.Millisecond)
			h.Release()
		}
		all.Wait()
		if len(order) != 3 || order[0] != 10*mib {
			t.Error(order)
		}
	})
}

func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := admission.NewController()
		limits := admission.Limits{Total: mib, Large: mib}
		new(admission.Admission).Release() // holds nothing, of no pool
		h, other := begin(c, "", limits), begin(c, "", limits)
		// Alone, a body may have its last buffer beside the one before.
		for _, size := range []int64{600 * kib, mib} {
			if err := h.Reserve(t.Context(), size, mib); err != nil {
				t.Fatal(err)
			}
			h.Shrink(size)
		}
		_ = h.Complete()
		start := time.Now()
		if err := other.Reserve(t.Context(), mib, mib); !errors.Is(err, admission.ErrFull) || time.Since(start) != admission.MaxWait {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if err := other.Reserve(t.Context(), 1, 1); !errors.Is(err, admission.ErrFull) {
			t.Errorf("a small body: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := other.Reserve(ctx, mib, mib); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		other.Release()
		h.Release()
		empty(t, c)
	})
}

// TestNothingIsLost: bodies of any size and rate come and leave; what is held
// stays within the limits but for a body alone, and in the end nothing is.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type sender struct {
			size, rate            int64
			start, patience, kept time.Duration
		}
		senders := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) sender {
			ms := func(name string, most int) time.Duration {
				return time.Duration(rapid.IntRange(0, most).Draw(rt, name)) * time.Millisecond
			}
			return sender{
				size: rapid.Int64Range(1, 10*mib).Draw(rt, "size"), rate: rapid.Int64Range(100*kib, 1<<30).Draw(rt, "rate"),
				start: ms("start", 500), patience: ms("patience", 20_000), kept: ms("kept", 300),
			}
		}), 1, 30).Draw(rt, "senders")
		synctest.Test(t, func(t *testing.T) {
			c := admission.NewController()
			var all sync.WaitGroup
			for _, s := range senders {
				all.Go(func() {
					time.Sleep(s.start)
					ctx, cancel := context.WithTimeout(t.Context(), s.patience)
					defer cancel()
					h, err := body(ctx, c, s.size, s.rate)
					if held := usage(c).Held; held > limits.Total+10*mib {
						t.Errorf("%d MiB held", held/mib)
					}
					if err != nil {
						return
					}
					if h.Bytes() != s.size {
						t.Errorf("holds %d of %d", h.Bytes(), s.size)
					}
					time.Sleep(s.kept)
					h.Release()
				})
			}
			all.Wait()
			empty(t, c)
			h, err := body(t.Context(), c, 10*mib, 1<<30)
			if err != nil {
				t.Fatalf("room was lost: %v", err)
			}
			h.Release()
		})
	})
}

// TestRace is for the race detector: real goroutines on one budget.
func TestRace(t *testing.T) {
	c := admission.NewController()
	var p admission.Buffers
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 200 {
				h, err := body(t.Context(), c, rand.Int64N(4*mib)+1, 1<<50)
				if errors.Is(err, admission.ErrDisplaced) || errors.Is(err, admission.ErrFull) {
					continue // there was no room for it
				}
				if err != nil {
					t.Error(err)
					return
				}
				p.Put(p.Get(64 * kib << rand.IntN(3)))
				h.Release()
			}
		})
	}
	all.Wait()
	empty(t, c)
}

func TestBuffers(t *testing.T) {
	var p admission.Buffers
	b := append(p.Get(64*kib), "left over"...)
	p.Put(b)
	again := p.Get(64 * kib)
	if len(again) != 0 || cap(again) != 64*kib || &again[:1][0] != &b[0] {
		t.Error("the buffer was not used again, or not emptied")
	}
	for _, size := range []int{1, 4 * kib, 100 * kib, 8 * mib} {
		b := p.Get(size)
		if len(b) != 0 || cap(b) < size {
			t.Errorf("%d: len %d, cap %d", size, len(b), cap(b))
		}
		p.Put(b[:0:size])
		if again := p.Get(size); &again[:1][0] == &b[:1][0] {
			t.Errorf("a buffer of %d was kept", size)
		}
	}
	p.Put(nil)
	// No more than 4 MiB are kept.
	var lent [][]byte
	for range 100 {
		lent = append(lent, p.Get(mib))
	}
	seen := map[*byte]bool{}
	for _, b := range lent {
		seen[&b[:1][0]] = true
		p.Put(b)
	}
	kept := 0
	for range 100 {
		if seen[&p.Get(mib)[:1][0]] {
			kept++
		}
	}
	if kept != 4 {
		t.Errorf("%d buffers of 1 MiB were kept", kept)
	}
}
