package eventlog

import (
	"sync"
	"time"
)

// The wall clock is trusted after it has kept pace with the monotonic clock for
// clockConfirmAfter. A difference of more than clockStep at once is a step of
// the wall clock.
const (
	clockConfirmAfter = time.Hour
	clockStep         = time.Minute
)

// retentionClock is the clock that retention uses. Wall clocks step: a clock
// that is ahead for a moment must not expire every event, and an event that was
// logged during that moment must not keep all later ones. So this clock keeps a
// confirmed time. It advances with the monotonic clock, never goes back, and
// moves ahead to the wall clock only after the wall clock has kept pace for an
// hour.
type retentionClock struct {
	wall func() time.Time
	mono func() time.Duration // Since an arbitrary moment.

	mu        sync.Mutex
	confirmed time.Time // At the last sample. Zero before the first one.
	sampledAt time.Duration
	lastWall  time.Time
	steppedAt time.Duration // When the wall clock last stepped.
}

func newRetentionClock() *retentionClock {
	start := time.Now()
	return startRetentionClock(
		func() time.Time { return time.Now().Round(0) },
		func() time.Duration { return time.Since(start) })
}

func startRetentionClock(wall func() time.Time, mono func() time.Duration) *retentionClock {
	m := mono()
	return &retentionClock{wall: wall, mono: mono, sampledAt: m, steppedAt: m, lastWall: wall()}
}

// restore starts from a time that was confirmed earlier.
func (c *retentionClock) restore(confirmed time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if confirmed.After(c.confirmed) {
		c.confirmed = confirmed
	}
}

// sample reads both clocks. The caller holds mu. It must be called at least
// once a minute to tell a step from drift.
func (c *retentionClock) sample() {
	wall, mono := c.wall(), c.mono()
	passed := mono - c.sampledAt
	if !c.confirmed.IsZero() {
		c.confirmed = c.confirmed.Add(passed)
	}
	if parted := wall.Sub(c.lastWall) - passed; parted > clockStep || parted < -clockStep {
		c.steppedAt = mono
	}
	c.lastWall, c.sampledAt = wall, mono
	if mono-c.steppedAt >= clockConfirmAfter && wall.After(c.confirmed) {
		c.confirmed = wall
	}
}

// now returns the time of an event that is logged now: the wall clock's time,
// but not before the confirmed time.
func (c *retentionClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sample()
	if c.confirmed.After(c.lastWall) {
		return c.confirmed.UTC()
	}
	return c.lastWall.UTC()
}

// confirmedTime returns the confirmed time. It returns false if there is none;
// nothing has an age then.
func (c *retentionClock) confirmedTime() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sample()
	return c.confirmed.UTC(), !c.confirmed.IsZero()
}
