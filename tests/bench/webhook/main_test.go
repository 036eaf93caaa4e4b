package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// The benchmark still runs, and every server answers as it should. What it
// measures is nobody's business here.
func TestBenchmark(t *testing.T) {
	b := &bench{
		Setup: roundrobin.NewSetup(flag.NewFlagSet("", flag.PanicOnError)), secret: newSecret(),
		bodySize: 1024, overConns: 20, overloadSeconds: 0.2,
		latencyRequests: 50, peer: gateway.Binary(t),
	}
	b.Binary, b.Dir, b.Progress = gateway.Binary(t), t.TempDir(), nil
	b.Rounds, b.Requests, b.Connections = 1, 500, 8
	if _, err := b.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	results, ratios, err := b.compare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 3 || len(ratios) != 2 {
		t.Errorf("%d servers, %d ratios", len(results), len(ratios))
	}
	if g := results[2].Rounds[0]; g.Batch < 1 || g.Commit <= 0 || g.CPU <= 0 {
		t.Errorf("the gateway: %+v", g)
	}
	one, err := b.latencies(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(one) != 2 || one[1].Rounds[0].P50 <= 0 {
		t.Errorf("at one connection: %+v", one)
	}
	var table bytes.Buffer
	printLatencies(&table, one)
	if !strings.Contains(table.String(), "gateway-latency / peer-latency: ") {
		t.Errorf("printed\n%s", &table)
	}
	o, err := b.overload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range o.Phases {
		if p.Accepted == 0 || p.Errors > 0 || p.RetryAfter != p.Refused {
			t.Errorf("%+v", p)
		}
	}
}

func TestMain(m *testing.M) { os.Exit(gateway.Main(m)) }
