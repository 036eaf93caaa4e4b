package admission_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osa-edge/osa-gateway/internal/admission"
)

// narrow is a pool that fewer senders fill.
var narrow = admission.Limits{Total: 12 * mib, Large: 10 * mib, MinRate: 4 * kib, Grace: 5 * time.Second}

// slowly sends so much at once, and then at a rate of bytes a second, until it is
// ended. It returns why.
func slowly(ctx context.Context, c *admission.Controller, key string, announced, atOnce, rate int64) error {
	end := conn{make(chan struct{})}
	h := new(admission.Admission)
	c.Begin(h, admission.Unverified, admission.Key{Name: key}, narrow, end)
	defer h.Release()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for have, room := int64(0), int64(0); have < announced; {
		for n := atOnce; n > 0; {
			if have == room {
				room = min(max(4*kib, 4*room), announced)
				if 3*have >= announced {
					room = announced
				}
				if err := h.Reserve(ctx, room, announced); err != nil {
					return err
				}
				h.Shrink(room)
			}
			took := min(n, room-have, announced-have)
			if took == 0 {
				break
			}
			h.Received(int(took))
			have += took
			n -= took
		}
		atOnce = rate
		select {
		case <-tick.C:
		case <-end.end:
			return h.Ended()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return h.Complete()
}

// TestSlowSendersKeepNobodyOut: whatever slow senders do, the small webhook of
// another finds room.
func TestSlowSendersKeepNobodyOut(t *testing.T) {
	one := func(int) string { return "one" }
	many := func(i int) string { return fmt.Sprint(i) }
	for name, tt := range map[string]struct {
		n                       int
		key                     func(int) string
		announced, atOnce, rate int64
		arrive                  bool // at its rate it may go on
	}{
		"half of a large one, then a byte a second":  {40, one, 9 * mib, 4300 * kib, 1, false},
		"the same from many addresses":               {40, many, 9 * mib, 4300 * kib, 1, false},
		"thousands that trickle":                     {1500, many, 200 * kib, 0, 1 * kib, false},
		"thousands at the minimum rate":              {1500, many, 200 * kib, 16 * kib, 5 * kib, true},
		"thousands at the minimum rate, one address": {1500, one, 200 * kib, 16 * kib, 5 * kib, true},
		"half of a small one":                        {1500, one, 1 * kib, 512, 0, false},
		"large and fast, from thirty addresses":      {100, func(i int) string { return fmt.Sprint(i % 30) }, 9 * mib, 2 * mib, 2 * mib, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				c := admission.NewController()
				var senders sync.WaitGroup
				var wrong atomic.Int64
				for i := range tt.n {
					senders.Go(func() {
						time.Sleep(time.Duration(i) * 2 * time.Millisecond)
						for ctx.Err() == nil {
							err := slowly(ctx, c, tt.key(i), tt.announced, tt.atOnce, tt.rate)
							if err == nil && !tt.arrive {
								wrong.Add(1)
							}
							time.Sleep(time.Second)
						}
					})
				}
				for range 24 {
					time.Sleep(500 * time.Millisecond)
					for _, size := range []int64{1 * kib, 100 * kib} {
						start := time.Now()
						h, err := bodyWithin(t.Context(), c, narrow, "tenant", size, 10*mib)
						if took := time.Since(start); err != nil {
							t.Errorf("%d bytes: %v after %v: %+v", size, err, took, usage(c))
						}
						if err == nil {
							h.Release()
						}
					}
					if held := usage(c).Held; held > narrow.Total+10*mib {
						t.Fatalf("%d MiB held", held/mib)
					}
				}
				stop()
				senders.Wait()
				if wrong.Load() > 0 {
					t.Errorf("%d slow bodies were let arrive", wrong.Load())
				}
				empty(t, c)
			})
		})
	}
}

// TestMinimumRate: who is behind for longer than the grace is ended, whatever was
// sent before; who keeps to the rate is not, nor is who waits for room.
func TestMinimumRate(t *testing.T) {
	for _, tt := range []struct {
		atOnce, rate int64
		want         error
		after        time.Duration
	}{
		{0, 1, admission.ErrSlow, 7 * time.Second},
		{4 * mib, 1, admission.ErrSlow, 7 * time.Second},
		{4 * mib, 2 * kib, admission.ErrSlow, 12 * time.Second},
		{64 * kib, 5 * kib, nil, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := admission.NewController()
			start := time.Now()
			err := slowly(t.Context(), c, "", max(2*tt.atOnce, 200*kib), tt.atOnce, tt.rate)
			if !errors.Is(err, tt.want) || tt.after > 0 && time.Since(start) > tt.after {
				t.Errorf("%+v: %v after %v", tt, err, time.Since(start))
			}
			if u := usage(c); (u.Slow == 1) != (tt.want != nil) {
				t.Errorf("%+v: %+v", tt, u)
			}
			empty(t, c)
		})
	}
}

// TestOneSenderMayHaveMost: a sender alone has nearly everything, and yet another
// has room.
func TestOneSenderMayHaveMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := admission.NewController()
		var held []*admission.Admission
		grow := func(key string) error {
			h := begin(c, key, limits)
			held = append(held, h)
			err := h.Reserve(t.Context(), 200*kib, 200*kib)
			_ = h.Complete()
			return err
		}
		for grow("one") == nil {
		}
		if n := usage(c).Held; n < limits.Total*8/10 {
			t.Errorf("one sender was given %d MiB of %d", n/mib, limits.Total/mib)
		}
		start := time.Now()
		for range 4 {
			for _, key := range []string{"two", "three", "four"} {
				if err := grow(key); err != nil || time.Since(start) > 0 {
					t.Errorf("%s: %v after %v", key, err, time.Since(start))
				}
			}
		}
		for _, h := range held {
			h.Release()
		}
		empty(t, c)
	})
}

func TestAddrKey(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true}, {"192.0.2.1", "192.0.2.2", false}, {"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:1", true}, {"2001:db8::1", "2001:db8:0:1::1", false}, {"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		a, b := admission.AddrKey(netip.MustParseAddr(tt.a)), admission.AddrKey(netip.MustParseAddr(tt.b))
		if (a == b) != tt.same {
			t.Errorf("%s, %s: %v", tt.a, tt.b, a == b)
		}
	}
}
