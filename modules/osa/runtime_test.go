package osa

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/storage"
)

// testEngine is a store in memory.
type testEngine struct {
	store   *memstore.Store
	key     string
	options string
}

func (e *testEngine) StoreKey() (string, error) { return e.key, nil }
func (e *testEngine) StoreOptions() string      { return e.options }
func (e *testEngine) OpenStore(*zap.Logger, bool) (storage.Store, error) {
	return e.store.Reopen(), nil
}

// configured is an app of one configuration.
func configured(engine Engine, s eventlog.Settings) *App {
	return &App{
		engine: engine, opened: make(chan struct{}), auth: new(authSet), log: zap.NewNop(),
		Retention: caddy.Duration(s.Retention), QueueEvents: s.QueueEvents, QueueBytes: s.QueueBytes,
	}
}

func stop(t *testing.T, a *App) {
	t.Helper()
	if err := errors.Join(a.Stop(), a.Cleanup()); err != nil {
		t.Error(err)
	}
}

// TestReloadChangesSettings: retention and queue options change on a reload, while
// the log stays open; a reload that fails leaves them as they were, and while it is
// not known to succeed nothing is forgotten for it.
func TestReloadChangesSettings(t *testing.T) {
	engine := &testEngine{store: memstore.New(), key: t.Name(), options: "x"}
	before := eventlog.Settings{Retention: 48 * time.Hour, QueueEvents: 10, QueueBytes: 1000}
	first := configured(engine, before)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	defer closeLeaving(func(rt *Runtime) bool { return rt.key == engine.key })
	log := first.runtime.Load().Log
	inForce := func(what string, want eventlog.Settings) {
		t.Helper()
		if got := log.Settings(); got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	inForce("at first", before)

	shorter := eventlog.Settings{Retention: 24 * time.Hour, QueueEvents: 20, QueueBytes: 500}
	both := shorter
	both.Retention = before.Retention
	failed := configured(engine, shorter)
	if err := failed.Start(); err != nil {
		t.Fatal(err)
	}
	inForce("while both are there", both)
	stop(t, failed) // another app did not start
	inForce("after a reload that failed", before)

	second := configured(engine, shorter)
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	stop(t, first)
	inForce("after a reload", shorter)
	if second.runtime.Load().Log != log {
		t.Error("the log was opened anew")
	}

	longer := eventlog.Settings{Retention: 96 * time.Hour, QueueEvents: 5, QueueBytes: 100}
	third := configured(engine, longer)
	if err := third.Start(); err != nil {
		t.Fatal(err)
	}
	stop(t, second)
	inForce("after another", longer)

	other := configured(&testEngine{store: engine.store, key: engine.key, options: "y"}, longer)
	if err := other.Start(); err == nil || !strings.Contains(err.Error(), "storage options cannot change") {
		t.Errorf("other storage options: %v", err)
	}
	inForce("after storage options were refused", longer)
	stop(t, third)
}

// TestOpenLogKeepsNoConfiguration: a log that stays open across reloads does not
// hold on to the app that opened it.
func TestOpenLogKeepsNoConfiguration(t *testing.T) {
	engine := &testEngine{store: memstore.New(), key: t.Name()}
	first := configured(engine, eventlog.Settings{})
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	second := configured(engine, eventlog.Settings{})
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	defer closeLeaving(func(rt *Runtime) bool { return rt.key == engine.key })
	defer stop(t, second)
	stop(t, first)
	gone := weak.Make(first)
	runtime.KeepAlive(first) // until here
	for range 10 {
		runtime.GC()
	}
	if gone.Value() != nil {
		t.Error("the app of the first configuration is still there")
	}
}

func TestEventLogError(t *testing.T) {
	for _, tc := range []struct {
		err     error
		status  int
		retry   string
		details any
	}{
		{fmt.Errorf("asked: %w", &storage.RebuildError{Part: "workflow_state", Done: 7, Total: 9}), http.StatusServiceUnavailable, "5",
			map[string]any{"part": "workflow_state", "done": uint64(7), "total": uint64(9)}},
		{storage.ErrBusy, http.StatusServiceUnavailable, "2", nil},
		{storage.ErrNoSpace, http.StatusServiceUnavailable, "30", nil},
		{eventlog.ErrUnavailable, http.StatusServiceUnavailable, "2", nil},
		{storage.ErrNotFound, http.StatusNotFound, "", nil},
		{context.Canceled, http.StatusInternalServerError, "", nil},
		{&storage.DamageError{Err: errors.New("x")}, http.StatusInternalServerError, "", nil},
	} {
		p := EventLogError(tc.err)
		if p.Status != tc.status || p.Header.Get("Retry-After") != tc.retry || !reflect.DeepEqual(p.Members["details"], tc.details) {
			t.Errorf("%v: %+v", tc.err, p)
		}
	}
}
