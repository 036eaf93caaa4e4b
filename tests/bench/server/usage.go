package server

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc's CPU times: USER_HZ, which is 100 on every Linux.
const tick = 10 * time.Millisecond

// CPU is the user and system time that the process has used.
func (s *Server) CPU() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name, which may hold anything.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", s.cmd.Process.Pid, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime, proc_pid_stat(5)
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// Memory is what the process has resident, in bytes.
type Memory struct {
	// Anonymous is what it allocated, File what it mapped of files, Peak the
	// most that both have been.
	Anonymous, File, Peak int64
}

// Memory reads /proc/<pid>/status.
func (s *Server) Memory() (Memory, error) {
	var m Memory
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "RssAnon":
			m.Anonymous = n << 10
		case "RssFile":
			m.File = n << 10
		case "VmHWM":
			m.Peak = n << 10
		}
	}
	return m, nil
}

// Settle waits until the process has done what it had left to do, such as
// projecting and compacting: until it uses under 2 % of a core for half a
// second, or for at most limit.
func (s *Server) Settle(limit time.Duration) error {
	const window, quiet = 500 * time.Millisecond, tick
	before, err := s.CPU()
	for deadline := time.Now().Add(limit); err == nil && time.Now().Before(deadline); {
		time.Sleep(window)
		var now time.Duration
		if now, err = s.CPU(); now-before <= quiet {
			break
		}
		before = now
	}
	return err
}
