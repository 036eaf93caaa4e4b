package gateway

import (
	"sync/atomic"
	"time"
)

// clock is the offset between a gateway's clock and the real one. Senders are
// set by the same clock.
type clock struct {
	offset atomic.Int64 // seconds
	steps  atomic.Int64 // odd while a step is under way
}

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load()) * time.Second) }

// StepClock sets the gateway's clock, which Options.Clock must have made one of
// its own, that far off the real one, and with it the clock of Post. Time that
// passes is not touched: timers and durations go by another clock, as they do
// when an operator or NTP steps the machine's.
func (g *Gateway) StepClock(offset time.Duration) {
	g.t.Helper()
	g.clock.steps.Add(1)
	defer g.clock.steps.Add(1)
	g.clock.offset.Store(int64(offset / time.Second))
	if g.proc == nil || !g.Running() {
		return
	}
	if g.proc.wall == nil {
		g.t.Fatal("StepClock of a gateway without Options.Clock")
	}
	g.must(g.proc.wall.set(g.clock.offset.Load()))
}

// ClockSteps changes with every step of the clock, and is odd during one: a
// request that was signed before and judged after it may be refused.
func (c *Client) ClockSteps() int64 { return c.clock.steps.Load() }
