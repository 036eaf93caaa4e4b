package server

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// PID of the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Terminate sends SIGTERM and tells how long the process took to end.
func (s *Server) Terminate() (time.Duration, error) {
	begin := time.Now()
	err := s.Stop()
	return time.Since(begin), err
}

// Signal sends a signal.
func (s *Server) Signal(sig syscall.Signal) error { return s.cmd.Process.Signal(sig) }

// Running tells whether the process is alive.
func (s *Server) Running() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// Descriptors is how many files, sockets among them, the process has open.
func (s *Server) Descriptors() (int, error) {
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID()))
	return len(open), err
}

// Mappings is how many parts of files below dir the process has mapped.
func (s *Server) Mappings(dir string) (n int, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", s.PID()))
	for line := range strings.Lines(string(raw)) {
		if strings.Contains(line, dir+"/") {
			n++
		}
	}
	return n, err
}

// Written is how many bytes the process has passed to system calls that write. Its
// answers are among them, so it is more than what goes to disk. write_bytes beside
// it would be far more: where the page cache has large folios, as that of ext4 has
// since Linux 6.16, it counts a whole folio for each write into one.
func (s *Server) Written() (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", s.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		var n int64
		if _, err := fmt.Sscanf(line, "wchar: %d", &n); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("/proc/%d/io has no wchar", s.PID())
}

// Backup writes a full backup with the subcommand of a binary.
func (s *Server) Backup(ctx context.Context, binary, file string) error {
	cmd := exec.CommandContext(ctx, binary, "osa", "backup", "--full", "--admin", "unix/"+s.admin, file) //nolint:gosec // the benchmark's own arguments
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("osa backup: %w: %s", err, out)
	}
	return nil
}
