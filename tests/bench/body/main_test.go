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
	b.Rounds, b.Requests, b.Connections, b.events, b.streams, b.lists, b.seconds = 1, 24, 4, 3000, 5, 2, 0.3
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(b.report.Rounds) != 1 || len(b.report.Beside) != 5 {
		t.Errorf("%+v", b.report)
	}
	for _, x := range b.report.Beside {
		if x.Done <= 0 || x.Alone.P50 <= 0 || x.Meanwhile.P50 <= 0 {
			t.Errorf("%+v", x)
		}
	}
	var out bytes.Buffer
	b.report.print(&out)
	for _, what := range []string{"of the disk", "5 streams", "2 lists", "a backup", "all of them", "bodies of 1048576 bytes"} {
		if !strings.Contains(out.String(), what) {
			t.Errorf("the table does not speak of %q:\n%s", what, &out)
		}
	}
}

func TestMain(m *testing.M) { os.Exit(gateway.Main(m)) }
