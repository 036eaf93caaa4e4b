package simulator

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Limits of the options.
const (
	// maxConfigured is the bound of the configured duration (docs/api.md §2.23).
	maxConfigured = 20 * time.Second
	maxDuration   = time.Hour
	maxSlow       = 100
	maxRepeat     = 100
)

// Faults are the failures that the simulator causes. The zero value is none.
type Faults struct {
	// Slow multiplies the duration; 0 is 1.
	Slow float64 `json:"slow,omitempty"`
	// Fail are the agents that fail.
	Fail []string `json:"fail,omitempty"`
	// Repeat is how often every webhook is repeated, with the same body and a new
	// signature.
	Repeat int `json:"repeat,omitempty"`
	// Reorder sends webhooks out of order.
	Reorder bool `json:"reorder,omitempty"`
	// Drop is the percentage of webhooks that are not sent.
	Drop float64 `json:"drop,omitempty"`
	// OwnIDs makes a new id for each workflow in place of the trigger's, as in the
	// runbook's example.
	OwnIDs bool `json:"own_ids,omitempty"`
	// Seed is the seed of random results, drops and orders. They are the same for the
	// same seed and workflow id.
	Seed uint64 `json:"seed,omitempty"`
}

// Check returns all errors of the options.
func (f *Faults) Check() error {
	var errs []error
	if !(f.Slow >= 0 && f.Slow <= maxSlow) { // NaN is neither
		errs = append(errs, fmt.Errorf("slow must be a factor up to %d", maxSlow))
	}
	for _, id := range f.Fail {
		if _, ok := agentByID(id); !ok {
			errs = append(errs, fmt.Errorf("fail: there is no agent %q", id))
		}
	}
	if f.Repeat < 0 || f.Repeat > maxRepeat {
		errs = append(errs, fmt.Errorf("repeat must be 0 to %d", maxRepeat))
	}
	if !(f.Drop >= 0 && f.Drop <= 100) {
		errs = append(errs, errors.New("drop must be 0 to 100 percent"))
	}
	return errors.Join(errs...)
}

// clone returns a copy that shares no memory with f.
func (f Faults) clone() Faults {
	f.Fail = slices.Clone(f.Fail)
	return f
}

// stretch multiplies d by Slow.
func (f *Faults) stretch(d time.Duration) time.Duration {
	if f.Slow > 0 {
		d = time.Duration(float64(d) * f.Slow)
	}
	return min(d, maxDuration)
}
