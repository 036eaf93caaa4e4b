// Package memory determines how much memory the process may use and divides it
// into shares. It knows cgroups and the Go runtime, and nothing of what the
// shares are used for.
package memory

import (
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// Sources of a limit.
const (
	SourceCgroup1  = "cgroup v1"
	SourceCgroup2  = "cgroup v2"
	SourceEnv      = "GOMEMLIMIT"
	SourcePhysical = "physical memory"
	SourceAssumed  = "assumed"
)

// assumed is the limit if there is no information.
const assumed = 1 << 30

// Limit is how many bytes the process may use, and where that limit comes from.
type Limit struct {
	Bytes  int64
	Source string
}

// System is where limits are read from.
type System struct {
	// Root is the root directory. /proc and the cgroup mounts are below it.
	Root fs.FS
	// Getenv reads the environment.
	Getenv func(string) string
	// Physical returns the machine's memory in bytes.
	Physical func() (uint64, error)
}

// ThisSystem returns the system that the process runs on.
func ThisSystem() System {
	return System{Root: os.DirFS("/"), Getenv: os.Getenv, Physical: memlimit.FromSystem}
}

// Limit returns the lowest limit of the cgroups (v1 or v2, of the process and
// its parents), a GOMEMLIMIT in the environment, and the machine. A source that
// cannot be read limits nothing, so that the gateway starts anyway.
//
// Caddy sets GOMEMLIMIT with automemlimit. This package reads cgroups itself, because
// automemlimit reads only one version of them and gives up if two mounts disagree. It
// also ignores the parents of version 1 where the kernel counts without hierarchy.
func (s System) Limit() Limit {
	least := Limit{Bytes: math.MaxInt64}
	consider := func(n uint64, source string) {
		if n > 0 && n < uint64(least.Bytes) { //nolint:gosec // positive
			least = Limit{Bytes: int64(n), Source: source} //nolint:gosec // smaller than one
		}
	}
	// Of equal limits the first is named. The machine comes last.
	for _, c := range s.cgroups() {
		consider(c.limit(s.Root), c.source)
	}
	consider(byteCount(s.Getenv("GOMEMLIMIT")), SourceEnv)
	if n, err := s.Physical(); err == nil {
		consider(n, SourcePhysical)
	}
	if least.Source == "" {
		return Limit{Bytes: assumed, Source: SourceAssumed}
	}
	return least
}

// byteCount parses a size as the Go runtime does: a number of bytes, or one
// with B, KiB, MiB, GiB or TiB. It is 0 for "off" and for invalid values.
func byteCount(s string) uint64 {
	s, shift := strings.TrimSuffix(s, "B"), 0
	if rest, ok := strings.CutSuffix(s, "i"); ok && rest != "" {
		if shift = 10 * (1 + strings.IndexByte("KMGT", rest[len(rest)-1])); shift == 0 {
			return 0
		}
		s = rest[:len(rest)-1]
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n > math.MaxInt64>>shift {
		return 0
	}
	return n << shift
}
