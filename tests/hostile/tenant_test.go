//go:build linux

package hostile

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// tenantTricks are those of a tenant with valid credentials.
var tenantTricks = []trick{
	{"tenant-largest-webhooks", 2, time.Second, largestWebhooks},
	{"tenant-deep-webhooks", 1, time.Second, deepWebhooks},
	{"tenant-distinct-webhooks", 6, 0, distinctWebhooks},
	{"tenant-duplicates", 2, 0, duplicates},
	{"tenant-half-webhooks", 30, 0, halfWebhooks},
	{"tenant-largest-lists", 3, 20 * time.Millisecond, largestLists},
	{"tenant-lists-unread", 30, 0, listsUnread},
	{"tenant-events-unread", 10, 0, eventsUnread},
	{"tenant-streams-to-limit", 110, 0, streamsToLimit},
	{"tenant-streams-from-afar", 4, 50 * time.Millisecond, streamsFromAfar},
	{"tenant-streams-slow", 20, 0, streamsSlow},
	{"tenant-streams-vanish", 30, 0, streamsVanish},
	{"tenant-force-sync", 2, 100 * time.Millisecond, forceSync},
}

// send signs a webhook of the hostile tenant's and writes down what it is told.
func (w *worker) send(ctx context.Context, client *http.Client, body []byte) {
	req := w.post(ctx, gateway.WebhookPath, string(body), "X-OSA-Signature", w.hostile.creds.Sign(body, time.Now()))
	status, answer := w.ask(client, req)
	if status == 0 {
		w.hostile.unanswered.Add(1)
		return
	}
	var a gateway.Answer
	if status == http.StatusOK && json.Unmarshal(answer, &a) == nil && a.Status == "processed" {
		w.hostile.ledger.acknowledged((gateway.Message{ID: a.WebhookID}).Seq(), body)
	}
	if status == http.StatusServiceUnavailable {
		pause(ctx, 200*time.Millisecond)
	}
}

// largestWebhooks sends bodies of the largest size with the largest fields. They
// differ in what identifies them and share the rest, which takes long to make.
func largestWebhooks(ctx context.Context, w *worker) {
	client, done := w.client()
	defer done()
	body := largestBodies()[w.rng.IntN(2)]
	body = append([]byte(`{"correlation_id":"`+gateway.RandomText()+`",`), body[1:]...)
	w.send(ctx, client, body)
}

// largestBodies leave room for a member before them.
var largestBodies = sync.OnceValue(func() [][]byte {
	rng := newRand(77)
	return [][]byte{largest(rng, maxBody-100), largest(rng, maxBody-100)}
})

var deepBodies = sync.OnceValue(func() [][]byte {
	rng := newRand(78)
	return [][]byte{deep(rng, maxBody-100), deep(rng, 1<<20)}
})

func deepWebhooks(ctx context.Context, w *worker) {
	client, done := w.client()
	defer done()
	body := deepBodies()[w.rng.IntN(2)]
	w.send(ctx, client, append([]byte(`{"agent_id":"`+gateway.RandomText()+`",`), body[1:]...))
}

func distinctWebhooks(ctx context.Context, w *worker) {
	client, done := w.client()
	defer done()
	for range 100 {
		w.send(ctx, client, shallow(w.rng, w.rng.IntN(4) == 0))
		if !pause(ctx, 10*time.Millisecond) {
			return
		}
	}
}

// duplicates sends the same event again and again, and others that claim to be it.
func duplicates(ctx context.Context, w *worker) {
	client, done := w.client()
	defer done()
	id := quoted(chars(w.rng, maxChars))
	for n := range 100 {
		other := ""
		if n%2 == 1 {
			other = fmt.Sprintf(`,"other":%d`, w.rng.Uint64())
		}
		w.send(ctx, client, fmt.Appendf(nil, `{"workflow_id":%s,"event_type":"started","timestamp":"1"%s}`, id, other))
		if !pause(ctx, 10*time.Millisecond) {
			return
		}
	}
}

// halfWebhooks are signed, and come in drops.
func halfWebhooks(ctx context.Context, w *worker) {
	conn, done, ok := w.dial(ctx, w.Addr)
	if !ok {
		return
	}
	defer done()
	size := []int{2000, 200_000, 5_000_000}[w.rng.IntN(3)]
	body := `{"workflow_id":"half","event_type":"started","text":"` + strings.Repeat("a", size) + `"}`
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nX-OSA-Signature: %s\r\nContent-Length: %d\r\n\r\n",
		gateway.WebhookPath, w.Addr, w.hostile.creds.Sign([]byte(body), time.Now()), len(body))
	w.drip(ctx, conn, head+body[:size/2], 'a', time.Second)
}

// filters are parameters with as many values as long as may be, within what a
// request's header may hold (16 KB).
func (w *worker) filters(names ...string) string {
	q := make(url.Values)
	room := 14_000
	for n := 0; room > 0; n++ {
		name := names[n%len(names)]
		value := chars(w.rng, maxChars)
		if n%3 == 2 {
			value = strings.Repeat("a", maxChars-8) + fmt.Sprintf("%08d", n)
		}
		if n%7 == 6 {
			value = fmt.Sprint(n) // many short ones, too
		}
		if strings.Contains(value, ",") || strings.TrimSpace(value) != value {
			continue
		}
		if room -= len(url.QueryEscape(value)) + len(name) + 2; room < 0 || len(q[name]) == 100 {
			break
		}
		q.Add(name, value)
	}
	return q.Encode()
}

func (w *worker) listQuery() string {
	q := "limit=1000"
	switch w.rng.IntN(4) {
	case 0: // selects all
		q += "&order=" + []string{"asc", "desc"}[w.rng.IntN(2)]
	case 1: // selects none, which has to be looked for
		q += "&" + w.filters("workflow_id", "agent_id", "event_type", "workflow")
	case 2:
		q += "&min_priority=critical&start_date=1970-01-01&end_date=2261-01-01&order=asc&" + w.filters("event_type")
	case 3: // nearly all, by many values
		var many []string
		for n := range 100 {
			many = append(many, fmt.Sprintf("t%d", n))
		}
		q += "&min_priority=low&status=failed,running,completed,pending,idle,timeout,starting&source=opal&event_type=" +
			strings.Join(append(many[:95], "error_notification", "started", "workflow_progress", "other"), ",")
	}
	return q
}

func largestLists(ctx context.Context, w *worker) {
	client, done := w.client()
	defer done()
	path := []string{"/api/webhook-events", "/api/diagnostics/last-webhook"}[w.rng.IntN(2)]
	w.ask(client, w.get(ctx, path+"?"+w.listQuery(), w.hostile.creds.Key))
}

func (w *worker) line(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + w.Addr + "\r\nAuthorization: Bearer " + w.hostile.creds.Key + "\r\n"
}

// listsUnread asks for the longest lists and takes nothing of them.
func listsUnread(ctx context.Context, w *worker) {
	if conn, done, ok := w.dial(ctx, w.Addr); ok {
		defer done()
		w.stuff(ctx, conn, w.line("/api/webhook-events?limit=1000")+"\r\n")
	}
}

// eventsUnread asks for single events, the largest among them.
func eventsUnread(ctx context.Context, w *worker) {
	if conn, done, ok := w.dial(ctx, w.Addr); ok {
		defer done()
		seq := max(w.hostile.ledger.largest(), 1)
		w.stuff(ctx, conn, w.line(fmt.Sprintf("/api/webhook-events/evt_%d", seq))+"\r\n")
	}
}

// streamsToLimit has more streams than a key may have, with the longest filters,
// and reads them.
func streamsToLimit(ctx context.Context, w *worker) {
	query := "?history=1000&" + w.filters("workflow_id", "agent_ids", "event_types")
	if w.n%10 == 0 {
		query = "?history=1000" // everything
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	client, done := w.client()
	defer done()
	client.Timeout = 0
	resp, err := client.Do(w.get(ctx, gateway.StreamPath+query, w.hostile.creds.Key))
	if err != nil {
		w.cutOff(ctx)
		return
	}
	defer resp.Body.Close()
	w.mark.answered(resp.StatusCode)
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		pause(ctx, time.Second)
	}
}

// streamsFromAfar resumes from the first event and leaves soon.
func streamsFromAfar(ctx context.Context, w *worker) {
	conn, done, ok := w.dial(ctx, w.Addr)
	if !ok {
		return
	}
	defer done()
	_, _ = io.WriteString(conn, w.line(gateway.StreamPath+"?reset=floor")+"Last-Event-ID: evt_1\r\n\r\n")
	_, _ = io.CopyN(io.Discard, conn, int64(1<<(10+w.rng.IntN(14))))
	_ = tcp(conn).SetLinger(w.n%2 - 1) // half of them reset
}

// streamsSlow reads a little now and then.
func streamsSlow(ctx context.Context, w *worker) {
	conn, done, ok := w.dial(ctx, w.Addr)
	if !ok {
		return
	}
	defer done()
	_ = tcp(conn).SetReadBuffer(4 << 10)
	last := []string{"", "Last-Event-ID: evt_1\r\n"}[w.rng.IntN(2)]
	slow := []string{"catch_up", "latest", "disconnect"}[w.rng.IntN(3)]
	_, _ = io.WriteString(conn, w.line(gateway.StreamPath+"?reset=floor&history=1000&slow="+slow)+last+"\r\n")
	one := make([]byte, 256)
	for pause(ctx, 200*time.Millisecond) {
		if _, err := conn.Read(one); err != nil {
			w.cutOff(ctx)
			return
		}
	}
}

// streamsVanish opens streams and is gone.
func streamsVanish(ctx context.Context, w *worker) {
	conn, done, ok := w.dial(ctx, w.Addr)
	if !ok {
		return
	}
	defer done()
	_, _ = io.WriteString(conn, w.line(gateway.StreamPath)+"\r\n")
	one := make([]byte, 16) // it is open
	if _, err := io.ReadFull(conn, one); err != nil {
		w.cutOff(ctx)
		return
	}
	w.holdSilent(ctx, conn)
}

func forceSync(ctx context.Context, w *worker) {
	client, done := w.client()
	defer done()
	agents := make([]string, 256)
	for i := range agents {
		agents[i] = fmt.Sprintf("%03d", i) + strings.Repeat("a", 253)
	}
	body, _ := json.Marshal(map[string]any{
		"force_restart": w.rng.IntN(2) == 0, "agent_filter": agents, "timeout_override": 86_400, "sync_scope": astral(w.rng, 4096),
		"client_context": map[string]any{"text": strings.Repeat("a", 1<<20)}, "metadata": map[string]any{"text": astral(w.rng, 100_000)},
	})
	req := w.post(ctx, "/api/opal/sync", string(body), "Authorization", "Bearer "+w.hostile.creds.Key)
	w.ask(client, req)
	w.ask(client, w.get(ctx, "/api/opal/sync", w.hostile.creds.Key))
}
