//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Variable is the environment variable with the failpoints:
// OSA_FAILPOINT=<name>=kill:<n> kills the process at the n-th hit of a
// failpoint, as kill -9 does. Several are separated by commas.
const Variable = "OSA_FAILPOINT"

type point struct{ left atomic.Int64 }

var points = parse(os.Getenv(Variable))

func parse(spec string) map[string]*point {
	points := make(map[string]*point)
	if spec == "" {
		return points
	}
	for item := range strings.SplitSeq(spec, ",") {
		name, action, _ := strings.Cut(item, "=")
		verb, count, _ := strings.Cut(action, ":")
		n, err := strconv.ParseInt(count, 10, 64)
		if name == "" || verb != "kill" || err != nil || n < 1 {
			fmt.Fprintf(os.Stderr, "%s: %q is not <name>=kill:<n>\n", Variable, item)
			os.Exit(2)
		}
		p := new(point)
		p.left.Store(n)
		points[name] = p
	}
	return points
}

// Hit kills the process if the failpoint is set and this is the n-th hit.
func Hit(name string) {
	if p := points[name]; p != nil && p.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // The process does not survive this.
	}
}
