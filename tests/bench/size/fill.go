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
	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
	"github.com/osa-edge/osa-gateway/tests/bench/server"
)

// settleLimit bounds the wait for compaction.
const settleLimit = 2 * time.Minute

// fill sends all events through the front door.
func (b *bench) fill(ctx context.Context, s *server.Server) error {
	most := b.watch(ctx, s)
	wrote, err := s.Written()
	if err != nil {
		return err
	}
	target := b.target(s)
	r, err := load.Run(ctx, load.Options{
		Target: target, Source: load.NewLive(target, b.events()), Connections: b.Connections, Requests: b.n,
	})
	peak := most()
	if err != nil {
		return err
	}
	if r.Processed != b.n {
		return fmt.Errorf("%w: %+v", roundrobin.ErrUnexpectedAnswers, *r)
	}
	b.report.add("filling", "events a second", r.PerSecond(), "", 0)
	b.report.add("filling", "anonymous memory at most", roundrobin.MiB(peak), "MiB", 0)
	before := time.Now()
	if err := s.Settle(settleLimit); err != nil {
		return err
	}
	b.report.add("filling", "until projected and compacted", time.Since(before).Seconds(), "s", 0)
	if err := b.open(s, "after filling"); err != nil {
		return err
	}
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
	// What is done in the background belongs to it.
	later, err := s.Written()
	if err != nil {
		return err
	}
	b.report.add("filling", "bytes written a byte received", float64(later-wrote)/float64(b.n)/load.DefaultBodySize, "", mostWritten)
	used, err := diskUsed(b.store(filled))
	if err != nil {
		return err
	}
	b.report.add("disk", "store", roundrobin.MiB(used), "MiB", 0)
	b.report.add("disk", "an event", float64(used)/float64(b.n), "bytes", mostKept)
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
	b.report.add("memory "+when, "resident", roundrobin.MiB(m.Anonymous+m.File), "MiB", mostResident)
	b.report.add("memory "+when, "anonymous", roundrobin.MiB(m.Anonymous), "MiB", 0)
	b.report.add("memory "+when, "mapped files", roundrobin.MiB(m.File), "MiB", 0)
	return nil
}

// open notes what the server has open and mapped.
func (b *bench) open(s *server.Server, when string) error {
	descriptors, err := s.Descriptors()
	if err != nil {
		return err
	}
	mapped, err := s.Mappings(b.store(filled))
	if err != nil {
		return err
	}
	b.report.add("open "+when, "descriptors", float64(descriptors), "", mostOpen)
	b.report.add("open "+when, "parts of the store mapped", float64(mapped), "times", 0)
	return nil
}

// watch looks at what the server has allocated until the function that it returns
// is called, which tells the most.
func (b *bench) watch(ctx context.Context, s *server.Server) (most func() int64) {
	ctx, stop := context.WithCancel(ctx)
	peak := make(chan int64, 1)
	go func() { peak <- mostAnonymous(ctx, s) }()
	return func() int64 {
		stop()
		return <-peak
	}
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
