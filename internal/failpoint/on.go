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

// Variable names the environment variable that says where the process is to
// end: OSA_FAILPOINT=<name>=kill:<n> kills it at the n-th hit of that point, as
// kill -9 does. Several are separated by commas.
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

// Hit ends the process if its time has come at this point.
func Hit(name string) {
	if p := points[name]; p != nil && p.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it does not return from this
	}
}
