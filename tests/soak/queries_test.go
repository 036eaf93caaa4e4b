package soak

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// queries asks for lists, single events, diagnostics.
type queries struct {
	g     *gateway.Gateway
	hooks *webhooks
	wrong *complaints
	calm  *calm

	asked   atomic.Int64
	latency latencies
}

// run asks about ten times a second until ctx ends.
func (q *queries) run(ctx context.Context) {
	for pause(ctx, rand.N(200*time.Millisecond)) {
		switch rand.IntN(8) {
		case 0:
			q.plain("/api/diagnostics/last-webhook?limit=20")
		case 1:
			q.plain("/api/health")
		case 2:
			q.plain("/api/opal/sync")
		case 3, 4:
			q.event()
		default:
			q.list(ctx)
		}
	}
}

// get asks for what must be there.
func (q *queries) get(path string) []byte {
	for range 5 {
		begin := time.Now()
		resp, err := q.g.Do(http.MethodGet, path, nil, "Authorization", "Bearer "+q.g.Key)
		q.asked.Add(1)
		switch {
		case err != nil && q.calm.recently():
			continue
		case err != nil:
			q.wrong.add("queries", "%s: %v", path, err)
		case resp.Status != http.StatusOK:
			q.wrong.add("queries", "%s: %d %.300s", path, resp.Status, resp.Body)
		default:
			q.latency.record(time.Since(begin))
			return resp.Body
		}
		return nil
	}
	q.wrong.add("queries", "%s: no answer", path)
	return nil
}

func (q *queries) plain(path string) {
	if body := q.get(path); body != nil && !json.Valid(body) {
		q.wrong.add("queries", "%s: not JSON: %.300s", path, body)
	}
}

// event reads back one that was acknowledged.
func (q *queries) event() {
	a := q.hooks.some()
	if a == nil {
		return
	}
	body := q.get("/api/webhook-events/" + a.id)
	if body == nil {
		return
	}
	payload, err := gateway.Payload(body)
	if err != nil || sha256.Sum256(payload) != sha256.Sum256(a.body) {
		q.wrong.add("queries", "%s has another body than was sent: %v", a.id, err)
	}
}

// list reads a few pages with some filter and looks at every record.
func (q *queries) list(ctx context.Context) {
	v := url.Values{"limit": {[]string{"10", "50", "200"}[rand.IntN(3)]}}
	ascending := rand.IntN(3) == 0
	if ascending {
		v.Set("order", "asc")
	}
	agent, kind := "", ""
	if rand.IntN(2) == 0 {
		agent = []string{"geo_audit", "content_review", "cmp_organizer"}[rand.IntN(3)]
		v.Set("agent_id", agent)
	}
	if rand.IntN(3) == 0 {
		kind = []string{"workflow_completion", "agent_status_update", "error_notification"}[rand.IntN(3)]
		v.Set("event_type", kind)
	}
	switch rand.IntN(5) {
	case 0:
		v.Set("min_priority", "high")
	case 1:
		v.Set("start_date", time.Now().Add(-rand.N(25*time.Hour)).UTC().Format(time.RFC3339))
	case 2:
		v.Set("end_date", time.Now().Add(-rand.N(25*time.Hour)).UTC().Format(time.RFC3339))
	}
	last := uint64(0)
	for page := 0; page < 3 && ctx.Err() == nil; page++ {
		path := "/api/webhook-events?" + v.Encode()
		body := q.get(path)
		if body == nil {
			return
		}
		var p gateway.Page
		if err := json.Unmarshal(body, &p); err != nil {
			q.wrong.add("queries", "%s: %v", path, err)
			return
		}
		for i := range p.Events {
			r := &p.Events[i]
			if last != 0 && ascending != (r.Seq > last) || r.Seq == last {
				q.wrong.add("queries", "%s: evt_%d after evt_%d", path, r.Seq, last)
			}
			last = r.Seq
			if agent != "" && !strings.EqualFold(deref(r.AgentID), agent) || kind != "" && deref(r.EventType) != kind {
				q.wrong.add("queries", "%s: evt_%d does not match", path, r.Seq)
			}
		}
		if p.NextCursor == nil {
			return
		}
		v.Set("cursor", *p.NextCursor)
	}
}
