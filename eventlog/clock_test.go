package eventlog

import (
	"testing"
	"time"
)

const day = 24 * time.Hour

// TestRetentionClock steps the wall clock about and looks what the clock of
// retention makes of it. It is looked at every minute, as the log does.
func TestRetentionClock(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	none := time.Duration(-1 << 62)
	type step struct {
		name string
		// jump is what the wall clock does at once, run what then passes,
		// restart and suspend what happens before.
		jump, run, suspend time.Duration
		restart            bool
		// age is the confirmed time, and logged that of an event, from start.
		age, logged time.Duration
	}
	for name, steps := range map[string][]step{
		"an hour of a steady clock": {
			{name: "at once", age: none},
			{name: "before an hour", run: 59 * time.Minute, age: none, logged: 59 * time.Minute},
			{name: "after an hour", run: time.Minute, age: time.Hour, logged: time.Hour},
			{name: "from then on", run: 90 * time.Second, age: time.Hour + 90*time.Second, logged: time.Hour + 90*time.Second},
		},
		"ahead by 100 days for a moment": {
			{name: "confirmed", run: 2 * time.Hour, age: 2 * time.Hour, logged: 2 * time.Hour},
			{name: "ahead", jump: 100 * day, run: 10 * time.Minute, age: 130 * time.Minute, logged: 100*day + 130*time.Minute},
			{name: "back", jump: -100 * day, run: 10 * time.Minute, age: 140 * time.Minute, logged: 140 * time.Minute},
		},
		"ahead by 100 days for good": {
			{name: "confirmed", run: 2 * time.Hour, age: 2 * time.Hour, logged: 2 * time.Hour},
			{name: "before an hour", jump: 100 * day, run: 59 * time.Minute, age: 179 * time.Minute, logged: 100*day + 179*time.Minute},
			{name: "after an hour", run: 2 * time.Minute, age: 100*day + 181*time.Minute, logged: 100*day + 181*time.Minute},
			{name: "and back it never goes", jump: -100 * day, run: 3 * time.Hour, age: 100*day + 361*time.Minute, logged: 100*day + 361*time.Minute},
		},
		"behind by 100 days": {
			{name: "confirmed", run: 2 * time.Hour, age: 2 * time.Hour, logged: 2 * time.Hour},
			{name: "behind", jump: -100 * day, run: 5 * time.Hour, age: 7 * time.Hour, logged: 7 * time.Hour},
			{name: "right again", jump: 100 * day, run: 10 * time.Minute, age: 430 * time.Minute, logged: 430 * time.Minute},
		},
		"a start with a clock that is ahead": {
			{name: "ahead", jump: 100 * day, run: 30 * time.Minute, age: none, logged: 100*day + 30*time.Minute},
			{name: "right", jump: -100 * day, run: 59 * time.Minute, age: none, logged: 89 * time.Minute},
			{name: "confirmed", run: 2 * time.Minute, age: 91 * time.Minute, logged: 91 * time.Minute},
		},
		"restarts": {
			{name: "confirmed", run: 2 * time.Hour, age: 2 * time.Hour, logged: 2 * time.Hour},
			{name: "a day down", suspend: day, restart: true, age: 2 * time.Hour, logged: day + 2*time.Hour},
			{name: "not an hour", run: 40 * time.Minute, age: 160 * time.Minute, logged: day + 160*time.Minute},
			{name: "again", suspend: time.Hour, restart: true, run: 40 * time.Minute, age: 200 * time.Minute, logged: day + 260*time.Minute},
			{name: "an hour", run: 21 * time.Minute, age: day + 281*time.Minute, logged: day + 281*time.Minute},
		},
		"restart with a clock that is behind": {
			{name: "confirmed", run: 2 * time.Hour, age: 2 * time.Hour, logged: 2 * time.Hour},
			{name: "behind", jump: -100 * day, restart: true, run: 3 * time.Hour, age: 5 * time.Hour, logged: 5 * time.Hour},
		},
		"suspended": {
			{name: "confirmed", run: 2 * time.Hour, age: 2 * time.Hour, logged: 2 * time.Hour},
			{name: "a day asleep", suspend: day, run: 30 * time.Minute, age: 150 * time.Minute, logged: day + 150*time.Minute},
			{name: "an hour awake", run: 31 * time.Minute, age: day + 181*time.Minute, logged: day + 181*time.Minute},
		},
		"steps under a minute are drift": {
			{name: "confirmed", run: 2 * time.Hour, age: 2 * time.Hour, logged: 2 * time.Hour},
			{name: "ahead", jump: 50 * time.Second, run: time.Minute, age: 121*time.Minute + 50*time.Second, logged: 121*time.Minute + 50*time.Second},
			{name: "behind", jump: -50 * time.Second, run: time.Minute, age: 122*time.Minute + 50*time.Second, logged: 122*time.Minute + 50*time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			wall, mono := start, time.Duration(0)
			newClock := func() *retentionClock {
				return startRetentionClock(func() time.Time { return wall }, func() time.Duration { return mono })
			}
			c := newClock()
			for _, s := range steps {
				wall = wall.Add(s.suspend + s.jump)
				if s.restart {
					saved := c.confirmed // as it was written down last
					mono = 0
					c = newClock()
					c.restore(saved)
				}
				for left := s.run; left > 0; {
					d := min(left, time.Minute)
					wall, mono, left = wall.Add(d), mono+d, left-d
					c.now()
				}
				age, ok := c.confirmedTime()
				if ok != (s.age != none) || (ok && age.Sub(start) != s.age) {
					t.Errorf("%s: confirmed %v after the start (%v), want %v", s.name, age.Sub(start), ok, s.age)
				}
				if logged := c.now().Sub(start); logged != s.logged {
					t.Errorf("%s: logged %v after the start, want %v", s.name, logged, s.logged)
				}
			}
		})
	}
}
