package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// The benchmark still runs. What it measures is nobody's business here.
func TestBenchmark(t *testing.T) {
	b := newBench(flag.NewFlagSet("", flag.PanicOnError))
	b.Binary, b.Dir, b.Progress = gateway.Binary(t), t.TempDir(), nil
	b.n, b.tries, b.restarts, b.Connections = 5000, 2, 1, 8
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	b.report.print(&out)
	for _, what := range []string{"filling", "page, agent", "resume", "kill -9 under load", "disk after retention", "webhooks afterwards",
		"bytes written a byte received", "descriptors", "exit under load", "times what cp takes", "until lists are answered"} {
		if !strings.Contains(out.String(), what) {
			t.Errorf("the table does not speak of %q:\n%s", what, &out)
		}
	}
	for _, f := range b.report.Figures {
		if f.Value < 0 || f.Value == 0 && f.Unit != "MiB" && f.Unit != "times" {
			t.Errorf("%+v", f)
		}
	}
}

func TestMain(m *testing.M) { os.Exit(gateway.Main(m)) }
