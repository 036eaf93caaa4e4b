// Package e2e tests the real binary from outside: what a client, an operator
// and an attacker see.
package e2e

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

func TestMain(m *testing.M) { os.Exit(gateway.Main(m)) }

// within is far beyond what anything here takes.
const within = 30 * time.Second

// count is how many events the log has, of whatever source.
func count(t *testing.T, g *gateway.Gateway) int {
	t.Helper()
	return len(g.MustList("order=asc"))
}

// post sends n events of a workflow and returns their sequence numbers.
func post(t *testing.T, g *gateway.Gateway, workflow string, n int) []uint64 {
	t.Helper()
	var seqs []uint64
	for range n {
		a := g.MustPost(gateway.Event(workflow, "content_review", stamp(), nil))
		if a.Status != "processed" {
			t.Fatalf("a new event was answered with %+v", a)
		}
		seqs = append(seqs, seqOf(t, a.WebhookID))
	}
	return seqs
}

// stamp is a timestamp that no other event has.
var stamp = func() func() string {
	n := 0
	return func() string {
		n++
		return "2026-01-01T00:00:00." + strconv.Itoa(n) + "Z"
	}
}()

func seqOf(t *testing.T, id string) uint64 {
	t.Helper()
	n := gateway.Message{ID: id}.Seq()
	if n == 0 {
		t.Fatalf("%q is no event id", id)
	}
	return n
}

// wantError checks the one shape of errors and returns its members.
func wantError(t *testing.T, r *gateway.Response, status int, code string) map[string]any {
	t.Helper()
	if r.Status != status {
		t.Fatalf("answered with %d, want %d: %.300s", r.Status, status, r.Body)
	}
	var body map[string]any
	r.JSON(t, &body)
	if body["error"] != code {
		t.Errorf("error is %v, want %q", body["error"], code)
	}
	if s, _ := body["message"].(string); s == "" {
		t.Errorf("an error without a message: %s", r.Body)
	}
	if id := r.Header.Get("X-Request-Id"); id == "" || body["request_id"] != id {
		t.Errorf("request_id is %v, X-Request-ID is %q", body["request_id"], id)
	}
	at, _ := body["timestamp"].(string)
	if when, err := time.Parse(time.RFC3339, at); err != nil || time.Since(when).Abs() > time.Minute {
		t.Errorf("timestamp is %q", at)
	}
	return body
}
