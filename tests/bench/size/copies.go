package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
	"github.com/osa-edge/osa-gateway/tests/bench/server"
)

// copies are how often a store is copied, of either kind.
const copies = 3

// backup has a backup and cp of the same files take turns. Both end with what
// they wrote on disk.
func (b *bench) backup(ctx context.Context, s *server.Server) error {
	if err := s.Settle(settleLimit); err != nil {
		return err
	}
	store, copied, file := b.store(filled), filepath.Join(b.Dir, "copy"), filepath.Join(b.Dir, "osa.bak")
	var plain, ours []time.Duration
	var size int64
	for range min(copies, b.restarts) {
		begin := time.Now()
		if err := copyStore(ctx, store, copied); err != nil {
			return err
		}
		plain = append(plain, time.Since(begin))
		var err error
		if size, err = diskUsed(copied); err != nil {
			return err
		}
		if err := os.RemoveAll(copied); err != nil {
			return err
		}
		most := b.watch(ctx, s)
		begin = time.Now()
		if err := s.Backup(ctx, b.Binary, file); err != nil {
			return err
		}
		ours = append(ours, time.Since(begin))
		b.report.add("backup", "anonymous memory at most", roundrobin.MiB(most()), "MiB", 0)
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	cp, bak := quantile(plain, 0.5)/1000, quantile(ours, 0.5)/1000
	b.report.add("backup", "cp of the same files", roundrobin.MiB(size)/cp, "MiB/s", 0)
	b.report.add("backup", "of them", roundrobin.MiB(size)/bak, "MiB/s", 0)
	b.report.add("backup", "times what cp takes", bak/cp, "", mostBackup)
	return nil
}

// copyStore is cp of a store's files without what keeps room free, synced.
func copyStore(ctx context.Context, from, to string) error {
	var names []string
	err := filepath.WalkDir(from, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.EqualFold(e.Name(), "ballast") {
			return ignoreGone(err)
		}
		name, err = filepath.Rel(from, name)
		names = append(names, name)
		return err
	})
	if err == nil {
		err = os.MkdirAll(to, 0o700)
	}
	if err != nil {
		return err
	}
	const atOnce = 1000 // arguments
	for i := 0; i < len(names); i += atOnce {
		cmd := exec.CommandContext(ctx, "cp", append(append([]string{"--parents"}, names[i:min(i+atOnce, len(names))]...), to)...) //nolint:gosec // names of a store's own files
		cmd.Dir = from
		// The store goes on: a file may be gone.
		if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(string(out), "No such file") {
			return fmt.Errorf("cp: %w: %s", err, out)
		}
	}
	dir, err := os.Open(to)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Syncfs(int(dir.Fd()))
}

// derived are the files of a store that may be removed at any time.
var derived = []string{"log/*.idx", "projections.db"}

// rebuilds removes what is derived from the log, starts the server and measures
// how long lists take to be there again, with webhooks meanwhile.
func (b *bench) rebuilds(ctx context.Context, s *server.Server) (*server.Server, error) {
	if err := s.Stop(); err != nil {
		return s, err
	}
	for _, pattern := range derived {
		names, err := filepath.Glob(filepath.Join(b.store(filled), pattern))
		if err != nil {
			return s, err
		}
		for _, name := range names {
			if err := os.Remove(name); err != nil {
				return s, err
			}
		}
		// Of a short log nothing is sealed, and only the projections are there.
		if len(names) == 0 && pattern == "projections.db" {
			return s, fmt.Errorf("the store has no %s", pattern)
		}
	}
	begin := time.Now()
	s, err := b.start(filled)
	if err != nil {
		return s, err
	}
	most := b.watch(ctx, s)
	rebuilding, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		defer stop()
		err := b.derived(ctx, s, begin)
		ended <- err
	}()
	during, err := b.steady(rebuilding, s, pruneLimit)
	if err := errors.Join(err, <-ended); err != nil {
		return s, err
	}
	b.report.latencies(fmt.Sprintf("webhooks during a rebuild, %d/s", pruneRate), during)
	b.report.add(fmt.Sprintf("webhooks during a rebuild, %d/s", pruneRate), "refused", float64(during.Status[503]), "times", 0)
	b.report.add("rebuild", "anonymous memory at most", roundrobin.MiB(most()), "MiB", 0)
	return s, nil
}

// derived waits until lists with a filter are answered and the projector has
// caught up.
func (b *bench) derived(ctx context.Context, s *server.Server, begin time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, pruneLimit)
	defer cancel()
	c := newClient(s)
	for {
		_, _, err := c.page(ctx, fixed("agent_id", "content_review", "limit", "50")(record{}))
		if err == nil {
			break
		}
		if wait(ctx, 10*time.Millisecond) != nil {
			return fmt.Errorf("no list: %w", err)
		}
	}
	b.report.add("rebuild", "until lists are answered", time.Since(begin).Seconds(), "s", 0)
	for {
		m, err := s.Metrics(ctx)
		if err != nil {
			return err
		}
		if m["osa_log_projector_lag_events"] < pruneRate {
			break
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("the projector is %.0f events behind: %w", m["osa_log_projector_lag_events"], err)
		}
	}
	took := time.Since(begin)
	b.report.add("rebuild", "until projected", took.Seconds(), "s", 0)
	b.report.add("rebuild", "events a second", float64(b.n)/took.Seconds(), "", 0)
	return nil
}

// conversion fills a store with the version before and starts this one on it.
func (b *bench) conversion(ctx context.Context) (err error) {
	s, err := b.Start(converted, b.old, caddyfile, "OSA_WEBHOOK_SHARED_SECRET="+b.secret)
	if err != nil {
		return err
	}
	if err := errors.Join(b.fillOld(ctx, s), s.Stop()); err != nil {
		return err
	}
	before, err := diskUsed(b.store(converted))
	if err != nil {
		return err
	}
	begin := time.Now()
	if s, err = b.start(converted); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	most := b.watch(ctx, s)
	converting, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		defer stop()
		ended <- b.converted(ctx, s)
	}()
	during, err := b.steady(converting, s, convertLimit)
	if err := errors.Join(err, <-ended); err != nil {
		return err
	}
	took := time.Since(begin)
	b.report.add("conversion", "store before", roundrobin.MiB(before), "MiB", 0)
	b.report.add("conversion", "took", took.Seconds(), "s", 0)
	b.report.add("conversion", "of the store before", roundrobin.MiB(before)/took.Seconds(), "MiB/s", 0)
	b.report.add("conversion", "anonymous memory at most", roundrobin.MiB(most()), "MiB", 0)
	b.report.add("conversion", "webhooks refused meanwhile", float64(during.Status[503]), "times", 0)
	after, err := diskUsed(b.store(converted))
	if err != nil {
		return err
	}
	b.report.add("conversion", "disk right after", roundrobin.MiB(after), "MiB", 0)
	return nil
}

// convertLimit ends the wait for a conversion that does not come to an end.
const convertLimit = time.Hour

// fillOld sends all events.
func (b *bench) fillOld(ctx context.Context, s *server.Server) error {
	target := b.target(s)
	r, err := load.Run(ctx, load.Options{
		Target: target, Source: load.NewLive(target, b.events()), Connections: b.Connections, Requests: b.n,
	})
	if err == nil && r.Processed != b.n {
		err = fmt.Errorf("%w: %+v", roundrobin.ErrUnexpectedAnswers, *r)
	}
	return err
}

// converted waits until the first event is listed.
func (b *bench) converted(ctx context.Context, s *server.Server) error {
	ctx, cancel := context.WithTimeout(ctx, convertLimit)
	defer cancel()
	c := newClient(s)
	for {
		got, _, err := c.page(ctx, url.Values{"limit": {"1"}, "order": {"asc"}})
		if err == nil && len(got) == 1 && got[0].Seq == 1 {
			return nil
		}
		if wait(ctx, 10*time.Millisecond) != nil {
			return fmt.Errorf("the first event is not listed: %+v, %w", got, err)
		}
	}
}
