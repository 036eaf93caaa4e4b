package faults

import (
	"net/http"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// someDays is how far a clock goes wrong: far beyond the retention of thirty days.
// A step ages nothing before it has held for an hour, which no run here lasts.
func (r *run) someDays() time.Duration {
	const most = 100 * 24 * time.Hour
	switch far := time.Duration(r.rng.Int64N(int64(2*most))) - most; r.rng.IntN(4) {
	case 0:
		return far
	case 1:
		return most * time.Duration(2*r.rng.IntN(2)-1)
	case 2:
		return far / 50_000 // minutes, around the tolerance of signatures
	default:
		return 0 // right again
	}
}

// stepClock steps the clock back and forth under load.
func (r *run) stepClock() {
	for range 1 + r.rng.IntN(3) {
		r.step()
		r.await(20)
	}
}

func (r *run) stepClockDown() {
	r.g.Kill9()
	r.g.StepClock(r.someDays())
	r.restart()
	r.step()
}

// step steps the clock and sees that the gateway has it.
func (r *run) step() {
	r.t.Helper()
	r.stepTo(r.someDays())
}

func (r *run) stepTo(offset time.Duration) {
	r.t.Helper()
	r.g.StepClock(offset)
	gateway.Eventually(r.t, 10*time.Second, "the gateway's clock is stepped", func() bool {
		resp, err := r.g.Do("GET", "/api/health", nil)
		if err != nil {
			return false
		}
		date, err := http.ParseTime(resp.Header.Get("Date"))
		return err == nil && time.Until(date.Add(-offset)).Abs() < 5*time.Second
	})
}
