package server

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
)

// Command is a server that is no build of the gateway.
type Command struct {
	// Args are the program and its arguments, Env further variables.
	Args, Env []string
	// Dir is where it runs and writes its log.
	Dir string
	// Address is host:port where it will listen.
	Address string
}

// StartCommand starts it and waits until it listens.
func StartCommand(c Command) (*Server, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	s := &Server{Address: c.Address, dir: c.Dir, exited: make(chan struct{}), client: new(http.Client)}
	s.cmd = exec.Command(c.Args[0], c.Args[1:]...) //nolint:gosec // the benchmark's own arguments
	s.cmd.Dir = c.Dir
	s.cmd.Env = append(os.Environ(), c.Env...)
	log, err := os.Create(filepath.Join(c.Dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	if err := s.ready(); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// FreeAddress is a local address that nothing listens on now.
func FreeAddress() (string, error) { return freeAddress() }
