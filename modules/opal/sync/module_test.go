package sync

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/osa-edge/osa-gateway/modules/opal/client"
)

// A reload provisions the new configuration, then cleans up the old one. A call
// under way and the run it started go on; the last one out ends them.
func TestReload(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	opal := newOPAL(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		accept("w_1")(w, r)
	})
	old := newGateway(t, opal.URL, func(s *Sync) { s.AnswerAfter = caddy.Duration(time.Millisecond) })
	old.runner.Stop() // the one of the test; this test is about the shared one
	if err := old.join("store"); err != nil {
		t.Fatal(err)
	}
	first := old.post("")
	<-arrived

	s := *old.Sync
	fresh := &gateway{Sync: &s, t: t, log: old.log, lines: old.lines}
	if err := fresh.join("store"); err != nil {
		t.Fatal(err)
	}
	if err := old.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if got := fresh.post(""); got.text("sync_id") != first.text("sync_id") {
		t.Errorf("the new configuration does not know the run: %s", got.raw)
	}
	close(release)
	fresh.until("accepted", func(r Run) bool { return r.Delivery == client.Accepted })

	if err := fresh.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if got := fresh.post(`{"force_restart":true}`); got.status != http.StatusServiceUnavailable {
		t.Errorf("a runner without a configuration answered %d", got.status)
	}
	if err := fresh.Cleanup(); err != nil { // Caddy may clean up what failed to load twice
		t.Error(err)
	}
}
