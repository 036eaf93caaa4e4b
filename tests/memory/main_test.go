// Package memory runs the real gateway where memory is short: in a cgroup of
// 256 MiB, as a container has it, at the limits of everything that takes memory.
// Some of each kind must get through, the rest is refused in order, nothing is
// killed, and nothing that was acknowledged is lost.
//
// It needs Linux and root. Of a memory controller there is one, in version 1 or
// version 2 of the interface: a machine that has it in the one cannot show the
// other. Both are known here, and the log says which it was.
//
// Without variables a small form runs. OSA_MEMORY=1 sends as much as a recorded
// run wants, OSA_MEMORY_STORE is how many bytes the grown store takes on disk
// (default 100 MB), filled with webhooks of OSA_MEMORY_STORE_BODY bytes (2048),
// and OSA_MEMORY_LIMIT the limit in bytes.
package memory

import (
	"os"
	"strconv"
	"testing"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

func TestMain(m *testing.M) { os.Exit(gateway.Main(m)) }

// sizes are the size of a run.
type sizes struct {
	limit, store int64 // bytes
	storeBody    int
	// small, ... are how many webhooks of each size.
	small, two, medium, one, eight int
	resumed                        int // events that each resume reads at most
}

func configured(t *testing.T) sizes {
	t.Helper()
	s := sizes{small: 3000, two: 600, medium: 300, one: 96, eight: 32, resumed: 5000}
	if os.Getenv("OSA_MEMORY") == "1" {
		s = sizes{small: 60_000, two: 20_000, medium: 3000, one: 1000, eight: 200, resumed: 100_000}
	}
	s.limit = number(t, "OSA_MEMORY_LIMIT", 256<<20)
	s.store = number(t, "OSA_MEMORY_STORE", 100_000_000)
	s.storeBody = int(number(t, "OSA_MEMORY_STORE_BODY", 2048))
	return s
}

func number(t *testing.T, name string, otherwise int64) int64 {
	t.Helper()
	raw := os.Getenv(name)
	if raw == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(raw, 10, 64)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q; want a number", name, raw)
	}
	return n
}
