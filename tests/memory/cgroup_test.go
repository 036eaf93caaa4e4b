package memory

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cgroup is a memory cgroup of its own, in either version of the interface.
type cgroup struct {
	t       testing.TB
	dir     string
	version int
	files   cgroupFiles
}

// cgroupFiles are the names of one version.
type cgroupFiles struct {
	usage, peak, stat, anonymous, kills string
	// limits are written in this order; a name that does not exist is left out if
	// it begins with a question mark.
	limits []string
}

var cgroupVersions = map[int]cgroupFiles{
	1: {
		usage: "memory.usage_in_bytes", peak: "memory.max_usage_in_bytes", stat: "memory.stat", anonymous: "rss",
		kills: "memory.oom_control", limits: []string{"memory.limit_in_bytes", "?memory.memsw.limit_in_bytes"},
	},
	2: {
		usage: "memory.current", peak: "memory.peak", stat: "memory.stat", anonymous: "anon",
		kills: "memory.events", limits: []string{"memory.max", "?memory.swap.max"},
	},
}

// newCgroup makes a cgroup that may hold limit bytes, swapped ones among them.
// What cannot be tried must not seem to have been: where there is no memory
// controller, or no right to use it, the test fails.
func newCgroup(t testing.TB, limit int64) *cgroup {
	t.Helper()
	parent, version, err := memoryController()
	if err != nil {
		t.Fatalf("%v: this test needs root and a memory cgroup", err)
	}
	c := &cgroup{t: t, version: version, files: cgroupVersions[version]}
	if version == 2 {
		_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+memory"), 0) // it may be there already
	}
	if c.dir, err = os.MkdirTemp(parent, "osa-memory-"); err != nil {
		t.Fatalf("making a cgroup: %v: this test needs root and a memory cgroup", err)
	}
	t.Cleanup(c.remove)
	for _, name := range c.files.limits {
		value := strconv.FormatInt(limit, 10)
		if name == "?memory.swap.max" {
			value = "0"
		}
		name, optional := strings.CutPrefix(name, "?")
		err := os.WriteFile(filepath.Join(c.dir, name), []byte(value), 0)
		if err != nil && (!optional || !errors.Is(err, fs.ErrNotExist)) {
			t.Fatalf("limiting memory: %v", err)
		}
	}
	return c
}

// memoryController finds the cgroup of this process that has the controller, or
// the topmost one where that is out of reach.
func memoryController() (dir string, version int, err error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", 0, err
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", 0, err
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		switch {
		case f[2] == "cgroup" && has(f[3], ",", "memory"):
			version = 1
		case f[2] == "cgroup2":
			controllers, err := os.ReadFile(filepath.Join(f[1], "cgroup.controllers"))
			if err != nil || !has(string(bytes.TrimSpace(controllers)), " ", "memory") {
				continue
			}
			version = 2
		default:
			continue
		}
		for line := range strings.Lines(string(own)) {
			part := strings.SplitN(strings.TrimSpace(line), ":", 3)
			if len(part) != 3 || (version == 2) != (part[1] == "") || version == 1 && !has(part[1], ",", "memory") {
				continue
			}
			// In version 2 a cgroup with processes cannot have others below it, save
			// the topmost.
			if in := filepath.Join(f[1], part[2]); version == 1 && exists(in) {
				return in, version, nil
			}
		}
		return f[1], version, nil
	}
	return "", 0, errors.New("no memory controller is mounted")
}

func has(list, separator, word string) bool {
	for _, w := range strings.Split(list, separator) {
		if w == word {
			return true
		}
	}
	return false
}

func exists(name string) bool { _, err := os.Stat(name); return err == nil }

// command starts what follows it in the cgroup.
func (c *cgroup) command() []string {
	return []string{"/bin/sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, c.dir}
}

// remove waits for the last pages of a process that has ended.
func (c *cgroup) remove() {
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = os.Remove(c.dir); err == nil {
			return
		}
	}
	c.t.Errorf("removing the cgroup: %v", err)
}

// value reads a number from a file, or the one behind a word in it.
func (c *cgroup) value(file, word string) (int64, error) {
	raw, err := os.ReadFile(filepath.Join(c.dir, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if word == "" && len(f) == 1 || len(f) == 2 && f[0] == word {
			return strconv.ParseInt(f[len(f)-1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %q", file, word)
}

// kills is how many processes the kernel ended for want of memory.
func (c *cgroup) kills() int64 {
	c.t.Helper()
	n, err := c.value(c.files.kills, "oom_kill")
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// peak is the most that was in use at once, cached files among it.
func (c *cgroup) peak() int64 {
	n, err := c.value(c.files.peak, "")
	if err != nil { // kernels before 5.19 have none in version 2
		return 0
	}
	return n
}

// anonymous is what the processes have allocated now.
func (c *cgroup) anonymous() (int64, error) { return c.value(c.files.stat, c.files.anonymous) }
