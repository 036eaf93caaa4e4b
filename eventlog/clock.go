package eventlog

import (
	"sync"
	"time"
)

// A wall clock counts once it has gone along with the monotonic one for clockTrial.
// What parts them by more than clockStep at once is a step of the wall clock.
const (
	clockTrial = time.Hour
	clockStep  = time.Minute
)

// retentionClock is the time that retention goes by. Wall clocks step: one that
// is ahead for a moment must not age everything there is, nor one event that was
// logged meanwhile keep all that follow it. So there is a confirmed time, which
// goes on with the monotonic clock, never goes back, and moves ahead to the wall
// clock only after that has kept its pace for an hour.
type retentionClock struct {
	wall func() time.Time
	mono func() time.Duration // since whenever

	mu        sync.Mutex
	confirmed time.Time // at the last look; zero: none yet
	looked    time.Duration
	lastWall  time.Time
	since     time.Duration // when the wall clock last stepped
}

func newRetentionClock() *retentionClock {
	start := time.Now()
	return startRetentionClock(
		func() time.Time { return time.Now().Round(0) },
		func() time.Duration { return time.Since(start) })
}

func startRetentionClock(wall func() time.Time, mono func() time.Duration) *retentionClock {
	m := mono()
	return &retentionClock{wall: wall, mono: mono, looked: m, since: m, lastWall: wall()}
}

// restore begins with a time that was confirmed before.
func (c *retentionClock) restore(confirmed time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if confirmed.After(c.confirmed) {
		c.confirmed = confirmed
	}
}

// look takes note of both clocks, with the lock held. It has to be called at
// least every minute, so that a step is told from drift.
func (c *retentionClock) look() {
	wall, mono := c.wall(), c.mono()
	passed := mono - c.looked
	if !c.confirmed.IsZero() {
		c.confirmed = c.confirmed.Add(passed)
	}
	if parted := wall.Sub(c.lastWall) - passed; parted > clockStep || parted < -clockStep {
		c.since = mono
	}
	c.lastWall, c.looked = wall, mono
	if mono-c.since >= clockTrial && wall.After(c.confirmed) {
		c.confirmed = wall
	}
}

// now is the time of what is logged now: the wall clock's, but not before the
// confirmed time.
func (c *retentionClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	if c.confirmed.After(c.lastWall) {
		return c.confirmed.UTC()
	}
	return c.lastWall.UTC()
}

// age is the confirmed time; false if there is none yet, and nothing has an age.
func (c *retentionClock) age() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	return c.confirmed.UTC(), !c.confirmed.IsZero()
}
