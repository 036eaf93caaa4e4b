package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/bench/server"
	"github.com/osa-edge/osa-gateway/tests/bench/turns"
)

// settleLimit bounds the wait for compaction.
const settleLimit = 2 * time.Minute

// fill sends all events through the front door.
func (b *bench) fill(ctx context.Context, s *server.Server) error {
	peak := make(chan int64, 1)
	filling, stop := context.WithCancel(ctx)
	defer stop()
	go func() { peak <- mostAnonymous(filling, s) }()
	target := b.target(s)
	r, err := load.Run(ctx, load.Options{
		Target: target, Source: load.NewLive(target, b.events()), Connections: b.Connections, Requests: b.n,
	})
	stop()
	most := <-peak
	if err != nil {
		return err
	}
	if r.Processed != b.n {
		return fmt.Errorf("%w: %+v", turns.ErrAnswers, *r)
	}
	b.report.add("filling", "events a second", r.PerSecond(), "", 0)
	b.report.add("filling", "anonymous memory at most", turns.MiB(most), "MiB", 0)
	before := time.Now()
	if err := s.Settle(settleLimit); err != nil {
		return err
	}
	b.report.add("filling", "until projected and compacted", time.Since(before).Seconds(), "s", 0)
	if err := b.memory(s, "after filling"); err != nil {
		return err
	}
	// Go gives memory back bit by bit, and collects at least every two minutes.
	if err := wait(ctx, b.idle()); err != nil {
		return err
	}
	if err := b.memory(s, fmt.Sprintf("%v later", b.idle())); err != nil {
		return err
	}
	used, err := diskUsed(b.store(filled))
	if err != nil {
		return err
	}
	b.report.add("disk", "store", turns.MiB(used), "MiB", 0)
	b.report.add("disk", "an event", float64(used)/float64(b.n), "bytes", 0)
	return nil
}

// idle is how long nothing is asked of a server before its memory is looked at
// again: a while after filling many events, a moment in a test.
func (b *bench) idle() time.Duration {
	return min(30*time.Second, time.Duration(b.n)*30*time.Microsecond).Round(time.Millisecond)
}

// memory notes what the server has resident.
func (b *bench) memory(s *server.Server, when string) error {
	m, err := s.Memory()
	if err != nil {
		return err
	}
	b.report.add("memory "+when, "resident", turns.MiB(m.Anonymous+m.File), "MiB", mostResident)
	b.report.add("memory "+when, "anonymous", turns.MiB(m.Anonymous), "MiB", 0)
	b.report.add("memory "+when, "mapped files", turns.MiB(m.File), "MiB", 0)
	return nil
}

// mostAnonymous is the most that the server has allocated until ctx ends.
func mostAnonymous(ctx context.Context, s *server.Server) (most int64) {
	for wait(ctx, 100*time.Millisecond) == nil {
		if m, err := s.Memory(); err == nil {
			most = max(most, m.Anonymous)
		}
	}
	return most
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// diskUsed is what a directory takes: files that are mapped are longer.
func diskUsed(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return ignoreGone(err)
		}
		info, err := e.Info()
		if err != nil {
			return ignoreGone(err)
		}
		n += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	return n, err
}

// ignoreGone: compaction removes files.
func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
