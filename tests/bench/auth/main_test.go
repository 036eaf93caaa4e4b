package main

import (
	"flag"
	"os"
	"testing"

	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// The benchmark still runs, and every route answers as it should.
func TestBenchmark(t *testing.T) {
	s := roundrobin.NewSetup(flag.NewFlagSet("", flag.PanicOnError))
	s.Binary, s.Dir, s.Progress = gateway.Binary(t), t.TempDir(), nil
	s.Rounds, s.Requests, s.Connections = 1, 500, 8
	if err := run(t.Context(), s, 3, true); err != nil {
		t.Fatal(err)
	}
}

func TestMain(m *testing.M) { os.Exit(gateway.Main(m)) }
