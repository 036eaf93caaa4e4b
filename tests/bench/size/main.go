// Command size measures the gateway with a long log: pages, resumes, starts after
// kill -9, memory, disk, retention. The design's figures stand beside.
//
//	go run ./tests/bench/size
//	go run ./tests/bench/size -events 50000
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
	"github.com/osa-edge/osa-gateway/tests/bench/server"
)

type bench struct {
	*roundrobin.Setup

	n        int // events
	tries    int // of each page
	restarts int
	rebuild  bool
	old      string // binary of the version before, "" for none
	asJSON   bool
	secret   string

	report report
}

// caddyfile of the gateway. Reads are open, so that they and not credentials are
// measured; the ballast is small, so that it does not count as the log's.
const caddyfile = `{
	admin {$BENCH_ADMIN}
	persist_config off
	auto_https off
	log {
		level WARN
	}
	osa {
		storage badger {
			path store
			ballast 1MiB
		}
		retention {$BENCH_RETENTION:30d}
	}
}
http://{$BENCH_ADDRESS} {
	osa_guard
	handle /hook {
		osa_signature osa {
			secret main {env.OSA_WEBHOOK_SHARED_SECRET} {
				workspace bench
			}
		}
		osa_webhook opal
	}
	handle /events {
		osa_auth {
			anonymous bench events:read
		}
		osa_events {
			path_prefix /events
		}
	}
	handle /stream {
		osa_auth {
			anonymous bench events:read
		}
		osa_stream
	}
	handle_errors {
		osa_error
	}
}
`

// workspace is that of the Caddyfile above.
const workspace = "bench"

func main() {
	b := newBench(flag.CommandLine)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "size bench:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to clean up
	}
}

// newBench registers the flags; of those that comparisons have, only what makes
// sense for one server.
func newBench(f *flag.FlagSet) *bench {
	shared := flag.NewFlagSet("", flag.PanicOnError)
	b := &bench{Setup: roundrobin.NewSetup(shared), secret: newSecret()}
	for _, name := range []string{"binary", "dir", "connections", "procs", "server-cpus", "generator-cpus", "keep"} {
		o := shared.Lookup(name)
		f.Var(o.Value, o.Name, o.Usage)
	}
	f.IntVar(&b.n, "events", 1_000_000, "how many events the log gets")
	f.IntVar(&b.tries, "tries", 200, "how often each page is asked for")
	f.IntVar(&b.restarts, "restarts", 3, "how often the gateway is killed, of each kind")
	f.BoolVar(&b.rebuild, "rebuild", true, "remove what is derived from the log and measure how it is made again")
	f.StringVar(&b.old, "convert-from", "", "binary of the version before, to measure the conversion of its store")
	f.BoolVar(&b.asJSON, "json", false, "print JSON")
	return b
}

func (b *bench) run(ctx context.Context) error {
	done, err := b.Prepare(ctx)
	defer done()
	if err != nil {
		return err
	}
	b.report.Machine, b.report.Events = roundrobin.Machine(), b.n
	for _, name := range []string{filled, expiring, converted} {
		if _, err := os.Stat(b.store(name)); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is there already, and would be measured with what it holds: remove it", b.store(name))
		}
	}
	// What was measured before an error took long enough to be shown.
	err = b.measure(ctx)
	if b.asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return errors.Join(err, enc.Encode(b.report))
	}
	b.report.print(os.Stdout)
	return err
}

// Names of the servers: one is filled by webhooks, one has events of which most
// expire when it starts, one is filled by the version before.
const (
	filled    = "gateway"
	expiring  = "expiring"
	converted = "converted"
)

// measure does everything: one store for all but retention, which needs events
// of another day.
func (b *bench) measure(ctx context.Context) (err error) {
	s, err := b.start(filled)
	if err != nil {
		return err
	}
	defer func() {
		if s != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	if err := b.fill(ctx, s); err != nil {
		return fmt.Errorf("filling: %w", err)
	}
	b.progress("pages and resumes")
	if s, err = b.reads(ctx, s); err != nil {
		return err
	}
	b.progress("kill -9 and start")
	if s, err = b.kills(ctx, s); err != nil {
		return fmt.Errorf("after kill -9: %w", err)
	}
	b.progress("exit under load")
	if s, err = b.exits(ctx, s); err != nil {
		return fmt.Errorf("exit under load: %w", err)
	}
	b.progress("backup")
	if err := b.backup(ctx, s); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if b.rebuild {
		b.progress("rebuild")
		if s, err = b.rebuilds(ctx, s); err != nil {
			return fmt.Errorf("rebuild: %w", err)
		}
	}
	if err := s.Stop(); err != nil {
		return err
	}
	if err := os.RemoveAll(b.store(filled)); err != nil {
		return err
	}
	if b.old != "" {
		b.progress("conversion")
		if err := b.conversion(ctx); err != nil {
			return fmt.Errorf("conversion: %w", err)
		}
	}
	b.progress("retention")
	if err := b.retention(ctx); err != nil {
		return fmt.Errorf("retention: %w", err)
	}
	return os.RemoveAll(b.store(expiring))
}

func (b *bench) start(name string, env ...string) (*server.Server, error) {
	return b.Start(name, b.Binary, caddyfile, append(env, "OSA_WEBHOOK_SHARED_SECRET="+b.secret)...)
}

func (b *bench) store(name string) string { return filepath.Join(b.Dir, name, "store") }

func (b *bench) target(s *server.Server) load.Target {
	return load.Target{Address: s.Address, Path: "/hook", Secret: b.secret}
}

// events are bodies that were not sent before.
func (b *bench) events() *load.Events {
	b.Seed++
	return load.NewEvents(0, b.Seed)
}

func (b *bench) progress(what string) {
	if b.Progress != nil {
		fmt.Fprintln(b.Progress, what)
	}
}

func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
