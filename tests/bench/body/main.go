// Command body measures large bodies beside what the same disk takes in synced
// writes of the same size, and what other work costs another workspace's small
// webhooks: large bodies, streams that resume, lists, a backup. It needs Linux.
//
//	go run ./tests/bench/body
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
	"syscall"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
	"github.com/osa-edge/osa-gateway/tests/bench/server"
)

type bench struct {
	*roundrobin.Setup

	size           int // bytes of a large body
	events         int // that are resumed
	streams, lists int // at once
	rate           float64
	seconds        float64
	asJSON         bool
	large, small   string // secrets of two workspaces

	report report
}

// caddyfile of the gateway: two secrets, each of a workspace of its own. Reads
// are open, so that they and not credentials are measured.
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
	}
}
http://{$BENCH_ADDRESS} {
	osa_guard
	handle /hook {
		osa_signature osa {
			secret large {env.BENCH_LARGE} {
				workspace large
			}
			secret small {env.BENCH_SMALL} {
				workspace small
			}
		}
		osa_webhook opal
	}
	handle /events {
		osa_auth {
			anonymous large events:read
		}
		osa_events {
			path_prefix /events
		}
	}
	handle /stream {
		osa_auth {
			anonymous large events:read
		}
		osa_stream {
			max_streams_per_principal 10000
		}
	}
	handle_errors {
		osa_error
	}
}
`

func main() {
	b := newBench(flag.CommandLine)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "body bench:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to clean up
	}
}

// newBench registers the flags; of those that comparisons have, only what makes
// sense for one server.
func newBench(f *flag.FlagSet) *bench {
	shared := flag.NewFlagSet("", flag.PanicOnError)
	b := &bench{Setup: roundrobin.NewSetup(shared), large: newSecret(), small: newSecret()}
	for _, name := range []string{"binary", "dir", "rounds", "procs", "server-cpus", "generator-cpus", "keep"} {
		o := shared.Lookup(name)
		f.Var(o.Value, o.Name, o.Usage)
	}
	f.IntVar(&b.size, "body", 1<<20, "bytes of a large body")
	f.IntVar(&b.Requests, "requests", 400, "large bodies a round")
	f.IntVar(&b.Connections, "connections", 16, "connections that send them, and writers that the disk is measured with")
	f.IntVar(&b.events, "events", 100_000, "events of a resume")
	f.IntVar(&b.streams, "streams", 100, "streams that resume at once")
	f.IntVar(&b.lists, "lists", 16, "lists of 1,000 at once")
	f.Float64Var(&b.rate, "rate", 25, "small webhooks a second of the other workspace")
	f.Float64Var(&b.seconds, "seconds", 10, "how long the disk, streams and lists are measured")
	f.BoolVar(&b.asJSON, "json", false, "print JSON")
	return b
}

func (b *bench) run(ctx context.Context) error {
	done, err := b.Prepare(ctx)
	defer done()
	if err != nil {
		return err
	}
	b.report.Machine, b.report.Size, b.report.Connections = roundrobin.Machine(), b.size, b.Connections
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

func (b *bench) measure(ctx context.Context) (err error) {
	s, err := b.Start("gateway", b.Binary, caddyfile, "BENCH_LARGE="+b.large, "BENCH_SMALL="+b.small)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	b.progress("filling in %d events", b.events)
	filled, err := load.Run(ctx, load.Options{
		Target: b.target(s, b.large), Source: load.NewLive(b.target(s, b.large), b.bodies(0)), Connections: 64, Requests: b.events,
	})
	if err != nil {
		return err
	}
	if filled.Processed != b.events {
		return fmt.Errorf("%w: %+v", roundrobin.ErrUnexpectedAnswers, *filled)
	}
	if err := s.Settle(time.Minute); err != nil {
		return err
	}
	if err := b.reads(ctx, s); err != nil {
		return err
	}
	return b.bodyRounds(ctx, s)
}

func (b *bench) target(s *server.Server, secret string) load.Target {
	return load.Target{Address: s.Address, Path: "/hook", Secret: secret}
}

// bodies that were not sent before; size 0 is the load's own.
func (b *bench) bodies(size int) *load.Events {
	b.Seed++
	return load.NewEvents(size, b.Seed)
}

func (b *bench) length() time.Duration { return time.Duration(b.seconds * float64(time.Second)) }

func (b *bench) progress(format string, args ...any) {
	if b.Progress != nil {
		fmt.Fprintf(b.Progress, format+"\n", args...)
	}
}

func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
