package faults

import (
	"net/http"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// someDays is how far a clock goes wrong: two of them together stay within the
// retention of thirty days.
func (r *run) someDays() time.Duration {
	const most = 14 * 24 * time.Hour
	switch far := time.Duration(r.rng.Int64N(int64(2*most))) - most; r.rng.IntN(3) {
	case 0:
		return far
	case 1:
		return far / 5000 // minutes, around the tolerance of signatures
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
	offset := r.someDays()
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
