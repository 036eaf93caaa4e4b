// Package soak runs the real gateway for a long time under a mixed load and
// records what it takes: memory, goroutines, file descriptors, disk. It fails if
// one of them grows, if a request is answered as it should not be, or if a
// subscriber sees a loss, a repeat or disorder.
//
// OSA_SOAK is how long ("1h"); without it a short form runs. OSA_SOAK_RATE is how
// many webhooks a second, OSA_SOAK_CSV a file for what was recorded.
//
// The gateway keeps events for 24 hours at least. So the store is filled
// beforehand with events that are 24 hours old: they expire while the soak lasts,
// as fast as new ones come in, and the log keeps its length. Retention looks once
// a minute; in the short form it therefore does most of its work at the start.
package soak

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

func TestMain(m *testing.M) { os.Exit(gateway.Main(m)) }

// retention is what the gateway is given: the shortest that it takes.
const retention = 24 * time.Hour

// settings are the size of a soak.
type settings struct {
	length      time.Duration
	rate        int // webhooks a second
	subscribers int
	sample      time.Duration // how often it is recorded
	reload      time.Duration // how often the configuration is
	sync        time.Duration // how often Force Sync is called
	away        time.Duration // how long subscribers are away, or do not read, at most
	huge        int           // one event of so many has several MB
	csv         string
}

func configured(t *testing.T) settings {
	t.Helper()
	s := settings{
		length: 20 * time.Second, rate: 300, subscribers: 60, sample: 500 * time.Millisecond,
		reload: 4 * time.Second, sync: 3 * time.Second, away: 3 * time.Second, huge: 2000,
		csv: os.Getenv("OSA_SOAK_CSV"),
	}
	if raw := os.Getenv("OSA_SOAK"); raw != "" {
		length, err := time.ParseDuration(raw)
		if err != nil || length < 10*time.Second {
			t.Fatalf("OSA_SOAK is %q; want a duration of 10s at least", raw)
		}
		s.length = length
		if length >= 2*time.Minute {
			s.rate, s.subscribers, s.sample = 500, 200, 5*time.Second
			s.reload, s.sync, s.away, s.huge = 47*time.Second, 31*time.Second, 20*time.Second, 20_000
		}
	}
	if raw := os.Getenv("OSA_SOAK_RATE"); raw != "" {
		rate, err := strconv.Atoi(raw)
		if err != nil || rate < 1 {
			t.Fatalf("OSA_SOAK_RATE is %q; want a number", raw)
		}
		s.rate = rate
	}
	return s
}
