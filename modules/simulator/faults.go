package simulator

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bounds of what can be asked for.
const (
	// maxConfigured keeps a workflow that nothing was said of under 20 s
	// (docs/api.md §2.23).
	maxConfigured = 20 * time.Second
	maxDuration   = time.Hour
	maxSlow       = 100
	maxRepeat     = 100
)

// Faults are what goes wrong on purpose. The zero value is nothing at all.
type Faults struct {
	// Slow multiplies the duration; 0 is 1.
	Slow float64 `json:"slow,omitempty"`
	// Fail are the agents that fail.
	Fail []string `json:"fail,omitempty"`
	// Repeat sends every callback so many times more, with the same body and a
	// signature of its own.
	Repeat int `json:"repeat,omitempty"`
	// Reorder sends callbacks out of order.
	Reorder bool `json:"reorder,omitempty"`
	// Drop is how many percent of callbacks are never sent.
	Drop float64 `json:"drop,omitempty"`
	// OwnIDs gives workflows ids of the simulator's own, whatever id the trigger
	// has, as in the runbook's example.
	OwnIDs bool `json:"own_ids,omitempty"`
	// Seed changes what is random. The same seed and workflow id give the same
	// results, losses and order.
	Seed uint64 `json:"seed,omitempty"`
}

// Check names everything that is wrong.
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

// clone shares no memory with f.
func (f Faults) clone() Faults {
	f.Fail = slices.Clone(f.Fail)
	return f
}

// stretch is the duration that Slow makes of d.
func (f *Faults) stretch(d time.Duration) time.Duration {
	if f.Slow > 0 {
		d = time.Duration(float64(d) * f.Slow)
	}
	return min(d, maxDuration)
}
