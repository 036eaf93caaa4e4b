package diagnostics_test

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/internal/osatest"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/storage"
)

func TestLastWebhook(t *testing.T) {
	g := osatest.New(t, nil)
	get := view(g, t, "last_webhook")
	empty := decode[list](t, get("/", acme))
	if len(empty.Events) != 0 || empty.Events == nil || empty.SystemHealth["webhook_status"] != "unknown" ||
		empty.SystemHealth["recent_failure_rate"] != nil || empty.SystemHealth["avg_processing_time"] != nil {
		t.Errorf("empty log: %+v", empty)
	}
	fill(t, g)
	got := decode[list](t, get("/?status=failed&limit=10", acme))
	h := got.SystemHealth
	// 3 of acme's 7 webhooks tell of a failure, an error or a timeout, whatever
	// the list is filtered by.
	if got.ids() != "3" || h["recent_failure_rate"] != 42.857 || h["webhook_status"] != "degraded" || h["sample_size"] != 7.0 || h["last_webhook_at"] == nil {
		t.Errorf("%+v", got)
	}
	if other := decode[list](t, get("/", as("globex", osa.PermEventsRead))); other.SystemHealth["recent_failure_rate"] != 0.0 || other.SystemHealth["webhook_status"] != "healthy" {
		t.Errorf("globex: %+v", other)
	}
	for range 30 {
		put(t, g.Log(), event.Event{Status: event.StatusFailed})
	}
	got = decode[list](t, get("/", acme))
	if len(got.Events) != 10 || got.NextCursor == nil || got.SystemHealth["webhook_status"] != "unhealthy" {
		t.Errorf("%d events, %v", len(got.Events), got.SystemHealth)
	}
	for range 200 { // only the newest 200 count
		put(t, g.Log(), event.Event{Status: event.StatusCompleted, ReceivedAt: time.Now().Add(-time.Second).UTC()})
	}
	got = decode[list](t, get("/", acme))
	avg, _ := got.SystemHealth["avg_processing_time"].(float64)
	if got.SystemHealth["recent_failure_rate"] != 0.0 || got.SystemHealth["sample_size"] != 200.0 || avg < 1000 {
		t.Errorf("%v", got.SystemHealth)
	}
	g.Store.Refuse(storage.ErrNoSpace)
	if got := decode[list](t, get("/", acme)); got.SystemHealth["webhook_status"] != "unhealthy" {
		t.Errorf("full disk: %v", got.SystemHealth)
	}
}

func TestHealth(t *testing.T) {
	g := osatest.Stopped(t, memstore.New(), map[string]any{"open_timeout": "1ms"})
	get := view(g, t, "health")
	if r := get("/api/health"); r.Status() != http.StatusServiceUnavailable || r.Problem.Header.Get("Retry-After") == "" {
		t.Errorf("before the store is open: %d %v", r.Status(), r.Err)
	}
	g.Start()
	got := decode[map[string]any](t, get("/api/health?whatever=1"))
	if stamp, err := time.Parse(time.RFC3339, fmt.Sprint(got["timestamp"])); got["status"] != "healthy" || err != nil || time.Since(stamp).Abs() > time.Minute {
		t.Errorf("%v", got)
	}
	g.Store.Refuse(storage.ErrNoSpace)
	got = decode[map[string]any](t, get("/api/health"))
	if got["status"] != "degraded" || got["message"] == "" {
		t.Errorf("full disk: %v", got)
	}
	g.Store.Refuse(nil)
	if err := g.Log().Close(); err != nil {
		t.Fatal(err)
	}
	if r := get("/api/health"); r.Status() != http.StatusServiceUnavailable {
		t.Errorf("closed log: %d %v", r.Status(), r.Err)
	}
	events := view(g, t, "events")
	if r := events("/", acme); r.Status() != http.StatusServiceUnavailable {
		t.Errorf("events of a closed log: %d %v", r.Status(), r.Err)
	}
}

// TestHealthTellsWhatIsWrong: a log that goes on, though not all of it is as it
// should be, is degraded, and says why.
func TestHealthTellsWhatIsWrong(t *testing.T) {
	g := osatest.New(t, nil)
	fill(t, g)
	get := view(g, t, "health")
	status := func() (status, message string) {
		t.Helper()
		got := decode[map[string]string](t, get("/api/health"))
		return got["status"], got["message"]
	}
	if err := g.Log().WaitProjected(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if s, m := status(); s != "healthy" || m != "" {
		t.Errorf("%s: %s", s, m)
	}
	// A lost state is noticed by whoever asks for it, and made anew.
	g.Store.LoseRecord("workflow_state", "4:acmewf_1")
	if _, err := g.Log().Workflow(t.Context(), "acme", "wf_1"); !errors.Is(err, storage.ErrRebuilding) {
		t.Fatal(err)
	}
	for {
		s, m := status()
		if s == "healthy" {
			break
		}
		if s != "degraded" || !strings.HasPrefix(m, "workflow_state is being made anew: ") {
			t.Fatalf("%s: %s", s, m)
		}
	}
	g.Store.Damage(storage.Range{First: 3, Last: 5})
	if s, m := status(); s != "degraded" || m != "up to 3 events are damaged and cannot be read" {
		t.Errorf("%s: %s", s, m)
	}
	release := g.Store.Hold() // so that it stays away
	g.Store.Fail()
	if s, m := status(); s != "degraded" || !strings.HasPrefix(m, "the event log is being opened anew after a failed write") {
		t.Errorf("%s: %s", s, m)
	}
	release()
	for {
		if _, m := status(); !strings.Contains(m, "anew") {
			break
		}
		runtime.Gosched()
	}
}
