// Command webhook compares the durable webhook with plain Caddy: the same
// binary, the same bodies, the same machine, in turns.
//
//	go run ./tests/bench/webhook
//	go run ./tests/bench/webhook -overload
//	go run ./tests/bench/webhook -peer-binary /path/to/the/version/before
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
)

type bench struct {
	*roundrobin.Setup

	bodySize, overConns  int
	withOverload, asJSON bool
	overloadSeconds      float64
	peer                 string // another build for latencies, "" for none
	latencyRequests      int
	others               otherBuilds
	secret               string
}

// otherBuilds are binaries of other versions of the gateway by name.
type otherBuilds []struct{ name, binary string }

func (o *otherBuilds) String() string { return "" }

func (o *otherBuilds) Set(s string) error {
	name, binary, ok := strings.Cut(s, "=")
	if !ok {
		return errors.New("want name=path of a binary")
	}
	binary, err := filepath.Abs(binary)
	*o = append(*o, struct{ name, binary string }{name, binary})
	return err
}

func main() {
	b := &bench{Setup: roundrobin.NewSetup(flag.CommandLine), secret: newSecret()}
	flag.IntVar(&b.bodySize, "body", load.DefaultBodySize, "bytes of a body")
	flag.Var(&b.others, "other", "compare with another build of the gateway as well, `name=binary`; may be repeated")
	flag.StringVar(&b.peer, "peer-binary", "", "another build of the gateway, whose latency at one connection stands beside")
	flag.IntVar(&b.latencyRequests, "latency-requests", 5000, "requests a round at one connection; 0: leave out")
	flag.BoolVar(&b.withOverload, "overload", false, "afterwards send twice what the gateway can take")
	flag.IntVar(&b.overConns, "overload-connections", 6000, "connections of the overload: more than its queue holds")
	flag.Float64Var(&b.overloadSeconds, "overload-seconds", 10, "how long the overload lasts")
	flag.BoolVar(&b.asJSON, "json", false, "print JSON")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "webhook bench:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to clean up
	}
}

// report is everything that was measured.
type report struct {
	Machine     string              `json:"machine"`
	Connections int                 `json:"connections"`
	Requests    int                 `json:"requests_a_round"`
	BodySize    int                 `json:"body_bytes"`
	Servers     []roundrobin.Result `json:"servers"`
	Ratios      []roundrobin.Ratio  `json:"ratios"`
	// One is what one connection alone meets, of the gateway and of its peer.
	One      []roundrobin.Result `json:"one_connection,omitempty"`
	Overload *overloadPart       `json:"overload,omitempty"`
}

func (b *bench) run(ctx context.Context) error {
	done, err := b.Prepare(ctx)
	defer done()
	if err != nil {
		return err
	}
	r := report{Machine: roundrobin.Machine(), Connections: b.Connections, Requests: b.Requests, BodySize: b.bodySize}
	if r.Servers, r.Ratios, err = b.compare(ctx); err != nil {
		return err
	}
	if b.latencyRequests > 0 {
		if r.One, err = b.latencies(ctx); err != nil {
			return err
		}
	}
	if b.withOverload {
		if r.Overload, err = b.overload(ctx); err != nil {
			return err
		}
	}
	if b.asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	fmt.Printf("\nDurable webhook against plain Caddy: %d connections, bodies of %d bytes, %d requests a round\n(%s)\n\n",
		r.Connections, r.BodySize, r.Requests, r.Machine)
	roundrobin.Print(os.Stdout, r.Servers, r.Ratios)
	printLatencies(os.Stdout, r.One)
	if r.Overload != nil {
		r.Overload.print(os.Stdout)
	}
	return nil
}
