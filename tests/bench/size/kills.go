package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/bench/server"
)

// startLimit ends the wait for a start that does not come.
const startLimit = time.Minute

// kills kills the server while it is idle, and while it is loaded, and starts it
// again.
func (b *bench) kills(ctx context.Context, s *server.Server) (*server.Server, error) {
	for _, loaded := range []bool{false, true} {
		name := "start after kill -9"
		if loaded {
			name = "start after kill -9 under load"
		}
		var took []time.Duration
		for range b.restarts {
			if loaded {
				if err := b.killLoaded(ctx, s); err != nil {
					return s, err
				}
			} else {
				s.Kill()
			}
			begin := time.Now()
			var err error
			if s, err = b.start(filled); err != nil {
				return s, err
			}
			if err := ready(ctx, newClient(s)); err != nil {
				return s, err
			}
			took = append(took, time.Since(begin))
		}
		b.report.quantiles(name, took, mostStart)
		if err := b.memory(s, "after "+name); err != nil {
			return s, err
		}
	}
	return s, nil
}

// killLoaded kills the server while 64 connections keep it as busy as they can.
func (b *bench) killLoaded(ctx context.Context, s *server.Server) error {
	return b.underLoad(ctx, s, func() error { s.Kill(); return nil })
}

// underLoad ends the server while it is as busy as it can be.
func (b *bench) underLoad(ctx context.Context, s *server.Server, end func() error) error {
	target := b.target(s)
	ended := make(chan error, 1)
	go func() {
		r, err := load.Run(ctx, load.Options{
			Target: target, Source: load.NewLive(target, b.events()), Connections: b.Connections,
			Duration: startLimit, Patience: time.Second,
		})
		if err == nil && r.Processed == 0 {
			err = fmt.Errorf("nothing was accepted before the kill: %s", r.FirstError)
		}
		ended <- err
	}()
	if err := wait(ctx, 2*time.Second); err != nil {
		return err
	}
	err := end()
	return errors.Join(err, <-ended)
}

// exits ends the server with SIGTERM under load, and starts it again.
func (b *bench) exits(ctx context.Context, s *server.Server) (*server.Server, error) {
	for range b.restarts {
		var took time.Duration
		err := b.underLoad(ctx, s, func() (err error) {
			took, err = s.Terminate()
			return err
		})
		if err != nil {
			return s, err
		}
		b.report.add("exit under load", "SIGTERM", took.Seconds(), "s", mostExit)
		if s, err = b.start(filled); err != nil {
			return s, err
		}
		if err := ready(ctx, newClient(s)); err != nil {
			return s, err
		}
	}
	return s, nil
}

// ready waits for the first page.
func ready(ctx context.Context, c *client) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		got, _, err := c.page(ctx, url.Values{"limit": {"1"}})
		if err == nil && len(got) == 1 {
			return nil
		}
		if wait(ctx, time.Millisecond) != nil {
			return fmt.Errorf("no page within %v: %w", startLimit, err)
		}
	}
}
