package e2e

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// TestConcurrentCopies: of 1,000 copies of one event at once, one is processed
// and 999 are its duplicates.
func TestConcurrentCopies(t *testing.T) {
	const copies = 1000
	g := gateway.Start(t, gateway.Options{})
	before := count(t, g)
	body := gateway.Event("wf-copies", "geo_audit", stamp(), nil)
	answers := make([]gateway.Answer, copies)
	errs := make([]error, copies)
	start := make(chan struct{})
	var done sync.WaitGroup
	for i := range copies {
		done.Add(1)
		go func() {
			defer done.Done()
			<-start
			resp, err := g.Post(body)
			if err == nil && resp.Status != 200 {
				err = fmt.Errorf("%d %.200s", resp.Status, resp.Body)
			}
			if err == nil {
				err = json.Unmarshal(resp.Body, &answers[i])
			}
			errs[i] = err
		}()
	}
	began := time.Now()
	close(start)
	done.Wait()
	t.Logf("%d copies took %v", copies, time.Since(began).Round(time.Millisecond))
	processed, duplicates := 0, 0
	for i := range copies {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if answers[i].WebhookID != answers[0].WebhookID {
			t.Fatalf("two ids: %s and %s", answers[i].WebhookID, answers[0].WebhookID)
		}
		switch answers[i].Status {
		case "processed":
			processed++
		case "duplicate":
			duplicates++
		}
	}
	if processed != 1 || duplicates != copies-1 {
		t.Errorf("%d processed and %d duplicates", processed, duplicates)
	}
	if after := count(t, g); after != before+1 {
		t.Errorf("the log grew by %d", after-before)
	}

	// After a restart they are still duplicates, and after a kill.
	g.Restart()
	again := g.MustPost(body)
	g.Kill9()
	g.Start()
	last := g.MustPost(body)
	for _, a := range []gateway.Answer{again, last} {
		if a.Status != "duplicate" || a.WebhookID != answers[0].WebhookID {
			t.Errorf("after a restart it is answered with %+v, want a duplicate of %s", a, answers[0].WebhookID)
		}
	}
}

// TestAnotherBody: the same key with another body is an event of its own.
func TestAnotherBody(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	at := stamp()
	first := gateway.Event("wf-mismatch", "geo_audit", at, map[string]any{"note": "first"})
	other := gateway.Event("wf-mismatch", "geo_audit", at, map[string]any{"note": "other"})
	a, b := g.MustPost(first), g.MustPost(other)
	if a.Status != "processed" || b.Status != "processed" || a.WebhookID == b.WebhookID {
		t.Fatalf("answered with %+v and %+v", a, b)
	}
	var records [2]gateway.Record
	for i, id := range []string{a.WebhookID, b.WebhookID} {
		g.GetJSON("/api/webhook-events/"+id, &records[i])
	}
	if records[0].PayloadMismatch || !records[1].PayloadMismatch || records[0].DedupHash != records[1].DedupHash {
		t.Errorf("records are %+v", records)
	}
	// Each is a duplicate of itself.
	if again := g.MustPost(other); again.Status != "duplicate" || again.WebhookID != b.WebhookID {
		t.Errorf("the other again is answered with %+v", again)
	}
	if again := g.MustPost(first); again.Status != "duplicate" || again.WebhookID != a.WebhookID {
		t.Errorf("the first again is answered with %+v", again)
	}
	// A timestamp tells two events apart; without one, the body does.
	one := g.MustPost(gateway.Event("wf-mismatch", "geo_audit", "", map[string]any{"timestamp": nil, "n": 1}))
	two := g.MustPost(gateway.Event("wf-mismatch", "geo_audit", "", map[string]any{"timestamp": nil, "n": 2}))
	var second gateway.Record
	g.GetJSON("/api/webhook-events/"+two.WebhookID, &second)
	if one.WebhookID == two.WebhookID || second.PayloadMismatch {
		t.Errorf("two events without a timestamp: %+v, %+v, mismatch %v", one, two, second.PayloadMismatch)
	}
}
