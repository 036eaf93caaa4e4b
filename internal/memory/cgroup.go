package memory

import (
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// cgroup is a directory of a cgroup hierarchy that limits memory, and the mount
// point at which its visible parents end.
type cgroup struct {
	source string
	dir    string // Without the leading slash, as fs.FS requires.
	mount  string
}

// cgroups are the ones that the process is in, in all mounts that show them.
//
// On a hybrid system version 1 counts memory and version 2 is mounted beside it
// without a memory controller: its directories then have no memory.max.
func (s System) cgroups() (found []cgroup) {
	var memory1, unified string // The paths of the process in the hierarchies.
	for line := range strings.Lines(s.read("proc/self/cgroup")) {
		// <hierarchy>:<controllers>:<path>; see cgroups(7).
		part := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		switch {
		case len(part) < 3:
		case part[0] == "0" && part[1] == "":
			unified = part[2]
		case slices.Contains(strings.Split(part[1], ","), "memory"):
			memory1 = part[2]
		}
	}
	for line := range strings.Lines(s.read("proc/self/mountinfo")) {
		m, ok := parseMount(line)
		if !ok {
			continue
		}
		c := cgroup{mount: strings.TrimPrefix(m.point, "/")}
		switch {
		case m.kind == "cgroup" && memory1 != "" && slices.Contains(strings.Split(m.options, ","), "memory"):
			c.source, c.dir = SourceCgroup1, m.resolve(memory1)
		case m.kind == "cgroup2" && unified != "":
			c.source, c.dir = SourceCgroup2, m.resolve(unified)
		default:
			continue
		}
		found = append(found, c)
	}
	return found
}

// limit returns the lowest limit of the cgroup and its parents up to the mount
// point, or 0.
func (c cgroup) limit(root fs.FS) (least uint64) {
	consider := func(n uint64) {
		if n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	for dir := c.dir; ; dir = path.Dir(dir) {
		if c.source == SourceCgroup1 {
			consider(number(read(root, path.Join(dir, "memory.limit_in_bytes"))))
			// This includes parents that a container does not see.
			for line := range strings.Lines(read(root, path.Join(dir, "memory.stat"))) {
				if n, ok := strings.CutPrefix(line, "hierarchical_memory_limit "); ok {
					consider(number(n))
				}
			}
		} else {
			consider(number(read(root, path.Join(dir, "memory.max"))))
		}
		if dir == c.mount || dir == "." {
			return least
		}
	}
}

// unlimited is the number of bytes from which a limit means none: version 1
// writes the largest number of pages that its kernel counts.
const unlimited = 1 << 60

// number parses a limit in bytes. It is 0 for "max" and for invalid values.
func number(s string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
	if err != nil || n >= unlimited {
		return 0
	}
	return n
}

// mount is a line of mountinfo; see proc_pid_mountinfo(5).
type mount struct{ root, point, kind, options string }

func parseMount(line string) (mount, bool) {
	before, after, ok := strings.Cut(line, " - ")
	first, last := strings.Fields(before), strings.Fields(after)
	if !ok || len(first) < 6 || len(last) < 3 {
		return mount{}, false
	}
	return mount{root: unescape(first[3]), point: unescape(first[4]), kind: last[0], options: last[2]}, true
}

// resolve returns the directory of a cgroup in this mount. A cgroup outside of
// what is mounted, as a container without a cgroup namespace may see its own,
// is the mount itself.
func (m mount) resolve(group string) string {
	point := strings.TrimPrefix(m.point, "/")
	rel, ok := strings.CutPrefix(group, strings.TrimSuffix(m.root, "/"))
	if !ok || (rel != "" && rel[0] != '/') || slices.Contains(strings.Split(rel, "/"), "..") {
		return point
	}
	return path.Join(point, rel)
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

func (s System) read(name string) string { return read(s.Root, name) }

func read(root fs.FS, name string) string {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return string(b)
}
