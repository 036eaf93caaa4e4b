package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// giveUp ends a load that nobody answers any more.
const giveUp = 2 * time.Minute

// load sends events from several goroutines until it is stopped. Each sends one
// after the other, and the same again until it is acknowledged.
type load struct {
	g      *gateway.Gateway
	ledger *ledger
	next   *atomic.Int64
	// sizes are the sizes of bodies, picked by their turn.
	sizes []int

	acknowledged atomic.Int64
	refused      atomic.Int64 // answered with 503
	broken       atomic.Int64 // not answered
	stopping     chan struct{}
	done         sync.WaitGroup

	mu     sync.Mutex
	failed error
}

func startLoad(g *gateway.Gateway, l *ledger, next *atomic.Int64, senders int, sizes []int) *load {
	ld := &load{g: g, ledger: l, next: next, sizes: sizes, stopping: make(chan struct{})}
	for i := range senders {
		ld.done.Add(1)
		go ld.send(i)
	}
	return ld
}

// stop ends the load; everything that was begun is acknowledged first.
func (ld *load) stop() error {
	select {
	case <-ld.stopping:
	default:
		close(ld.stopping)
	}
	ld.done.Wait()
	ld.mu.Lock()
	defer ld.mu.Unlock()
	return ld.failed
}

func (ld *load) fail(err error) {
	ld.mu.Lock()
	defer ld.mu.Unlock()
	if ld.failed == nil {
		ld.failed = err
	}
}

func (ld *load) stopped() bool {
	select {
	case <-ld.stopping:
		return true
	default:
		return false
	}
}

func (ld *load) send(sender int) {
	defer ld.done.Done()
	var last uint64 // the last that this sender knows to be acknowledged
	for !ld.stopped() {
		n := int(ld.next.Add(1))
		s := newEvent(n, ld.sizes[n%len(ld.sizes)])
		seq, err := ld.deliver(s.body)
		if err != nil {
			ld.fail(err)
			return
		}
		ld.ledger.acknowledge(s, seq, last)
		last = seq
		ld.acknowledged.Add(1)
		// What was acknowledged once is a duplicate for ever.
		if sender == 0 && rand.IntN(20) == 0 {
			if old := ld.ledger.any(); old != nil {
				seq, err := ld.deliver(old.again())
				if err != nil {
					ld.fail(err)
					return
				}
				ld.ledger.acknowledge(old, seq, 0)
			}
		}
	}
}

// deliver sends a body until it is acknowledged.
func (ld *load) deliver(body []byte) (seq uint64, err error) {
	deadline := time.Now().Add(giveUp)
	for time.Now().Before(deadline) {
		steps := ld.g.ClockSteps()
		resp, err := ld.g.Post(body)
		switch {
		case err != nil:
			ld.broken.Add(1)
		case resp.Status == http.StatusOK:
			_, seq, err := parseAnswer(resp.Body)
			if err != nil {
				return 0, fmt.Errorf("answer to a webhook: %w: %.200s", err, resp.Body)
			}
			return seq, nil
		case resp.Status == http.StatusServiceUnavailable:
			ld.refused.Add(1)
			if resp.Header.Get("Retry-After") == "" {
				return 0, fmt.Errorf("503 without Retry-After: %.200s", resp.Body)
			}
		case resp.Status == http.StatusUnauthorized && (steps%2 == 1 || ld.g.ClockSteps() != steps):
			// Signed by one clock and judged by another.
		default:
			return 0, fmt.Errorf("webhook answered with %d: %.300s", resp.Status, resp.Body)
		}
		time.Sleep(5 * time.Millisecond) // a sender's backoff
	}
	return 0, fmt.Errorf("nobody acknowledged an event for %v", giveUp)
}

// reach waits until that many events were acknowledged.
func (ld *load) reach(ctx context.Context, n int64) error {
	for ld.acknowledged.Load() < n {
		ld.mu.Lock()
		err := ld.failed
		ld.mu.Unlock()
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d events were acknowledged in time", ld.acknowledged.Load(), n)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}
