package faults

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// perStore is how many faults one store goes through: every check reads all of it.
const perStore = 10

// TestFaults: nothing that was acknowledged is lost, doubled or out of order,
// and indexes and streams agree with the log, after each of many faults. Stores
// are in turns under a clock of their own and on a disk of their own, which is ext4 and
// XFS in turns.
func TestFaults(t *testing.T) {
	rng := random(t)
	n := faultCount(t, 2*perStore)
	if n > 2*perStore {
		n -= failpointShare(n)
	}
	for store := 0; n > 0; store++ {
		faults := plan(rng, store, min(perStore, n))
		n -= len(faults)
		opt := gateway.Options{}
		var d *disk
		if own := store%2 == 1; own {
			d = newDisk(t, []*filesystem{ext4, xfs}[store/2%2])
			opt.Data = filepath.Join(d.dir, "store")
		} else {
			opt.Clock = true
		}
		r := newRun(t, rng, opt)
		r.disk = d
		for _, f := range faults {
			r.under(f.name, func() { f.do(r) })
		}
		r.close()
		if d != nil {
			d.close()
		}
	}
}

func containsAll(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
