package credentials_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/credentials"
)

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestLoad: a changed file is loaded, an invalid one is not applied and shows in Healthy,
// and the watch ends with the configuration.
func TestLoad(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	file := filepath.Join(t.TempDir(), "key")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	var value atomic.Value
	var changes atomic.Int64
	credentials.OnChange(func() { changes.Add(1) })
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	err := credentials.Load(ctx, credentials.Source{Kind: "key", Name: "test", Files: []string{file}, Log: zap.NewNop(), Load: func() error {
		text, err := os.ReadFile(file)
		if err == nil && string(text) == "bad" {
			err = errors.New("invalid")
		}
		if err == nil {
			value.Store(string(text))
		}
		return err
	}})
	if err != nil || value.Load() != "first" || !credentials.Healthy() {
		t.Fatal(err, value.Load(), credentials.Healthy())
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(credentials.Collector())
	ok := func() float64 {
		t.Helper()
		families, err := registry.Gather()
		if err != nil || len(families) != 1 || len(families[0].GetMetric()) != 1 {
			t.Fatal(families, err)
		}
		return families[0].GetMetric()[0].GetGauge().GetValue()
	}
	write("second")
	eventually(t, "the second is applied", func() bool { return value.Load() == "second" && changes.Load() == 1 })
	write("bad")
	eventually(t, "the bad one is found", func() bool { return !credentials.Healthy() })
	if value.Load() != "second" || changes.Load() != 1 || ok() != 0 {
		t.Errorf("%v, %d changes, metric %v", value.Load(), changes.Load(), ok())
	}
	write("third")
	eventually(t, "the third is applied", func() bool { return value.Load() == "third" && credentials.Healthy() })
	if ok() != 1 {
		t.Errorf("metric %v", ok())
	}
	write("bad")
	eventually(t, "the bad one is found again", func() bool { return !credentials.Healthy() })
	cancel()
	eventually(t, "the watch ends", credentials.Healthy)
}

func TestLoadOnce(t *testing.T) {
	calls := 0
	load := func(err error) error {
		return credentials.Load(caddy.Context{Context: t.Context()}, credentials.Source{Load: func() error { calls++; return err }})
	}
	failed := errors.New("failed")
	if err := load(nil); err != nil {
		t.Error(err)
	}
	if err := load(failed); !errors.Is(err, failed) || calls != 2 || !credentials.Healthy() {
		t.Error(err, calls)
	}
}
