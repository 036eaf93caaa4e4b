package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// senders are how many requests are under way at most.
const senders = 48

// webhooks sends events at a fixed rate and looks at every answer.
type webhooks struct {
	g     *gateway.Gateway
	mix   *mix
	book  *ledger
	wrong *complaints
	calm  *calm

	sent, acknowledged, duplicates, refused, broken atomic.Int64

	latency latencies

	mu     sync.Mutex
	recent []acknowledged // a ring
	at     int
}

// acknowledged is an event that may come again.
type acknowledged struct {
	body []byte
	id   string
}

// run sends until ctx ends; what was begun is brought to its end.
func (w *webhooks) run(ctx context.Context, rate int) {
	due := make(chan time.Time, rate*30)
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			for at := range due {
				w.one(at)
			}
		})
	}
	begin := time.Now()
	for n := 0; ; n++ {
		at := begin.Add(time.Duration(n) * time.Second / time.Duration(rate))
		if !pause(ctx, time.Until(at)) {
			break
		}
		select {
		case due <- at:
		default:
			w.wrong.add("webhooks that could not be sent", "half a minute behind")
		}
	}
	close(due)
	all.Wait()
}

// one sends what is due: an event, or now and then one that was there, or one
// that must be refused.
func (w *webhooks) one(due time.Time) {
	w.sent.Add(1)
	switch p := rand.IntN(1000); {
	case p < 5:
		if a := w.some(); a != nil {
			if got := w.deliver(a.body, due); got.Status != "duplicate" || got.WebhookID != a.id {
				w.wrong.add("duplicates", "%s came again and was answered with %+v", a.id, got)
			}
			w.duplicates.Add(1)
			return
		}
	case p < 10:
		w.refuse()
		return
	}
	body := w.mix.Append(nil)
	got := w.deliver(body, due)
	if got.WebhookID == "" {
		return
	}
	seq := (gateway.Message{ID: got.WebhookID}).Seq()
	if seq == 0 || got.Status != "processed" && !got.again {
		w.wrong.add("answers", "a new event was answered with %+v", got)
		return
	}
	w.book.acknowledge(seq, hash(body))
	w.acknowledged.Add(1)
	if len(body) < 8<<10 {
		w.remember(acknowledged{body, got.WebhookID})
	}
}

type answer struct {
	gateway.Answer
	again bool // it was sent more than once
}

// deliver sends a body until it is answered with 200, which is at once unless a
// reload closes the connection under it.
func (w *webhooks) deliver(body []byte, due time.Time) (a answer) {
	for range 10 {
		resp, err := w.g.Post(body)
		if err != nil {
			a.again = true
			w.broken.Add(1)
			if !w.calm.recently() {
				w.wrong.add("webhooks without an answer", "%v", err)
			}
			time.Sleep(20 * time.Millisecond) // a sender's backoff
			continue
		}
		w.latency.record(time.Since(due))
		if resp.Status != http.StatusOK {
			w.wrong.add("answers", "a webhook of %d bytes: %d %.300s", len(body), resp.Status, resp.Body)
			return a
		}
		if err := json.Unmarshal(resp.Body, &a.Answer); err != nil {
			w.wrong.add("answers", "a webhook: %v", err)
		}
		return a
	}
	w.wrong.add("webhooks without an answer", "sent ten times")
	return a
}

// refuse sends what must not be taken.
func (w *webhooks) refuse() {
	body := gateway.Event("strategy_workflow-refused", "geo_audit", time.Now().UTC().Format(time.RFC3339Nano), nil)
	header := []string{"Content-Type", "application/json"}
	sign := func(at time.Time, what []byte) { header = append(header, "X-OSA-Signature", w.g.Sign(what, at)) }
	want := http.StatusUnauthorized
	switch rand.IntN(5) {
	case 0: // unsigned
	case 1:
		sign(time.Now().Add(-10*time.Minute), body)
	case 2:
		sign(time.Now(), append([]byte(" "), body...))
	case 3:
		header = append(header, "X-OSA-Signature", fmt.Sprintf("t=%d,v1=%064x", time.Now().Unix(), rand.Uint64()))
	case 4:
		body, want = body[:len(body)-1], http.StatusBadRequest
		sign(time.Now(), body)
	}
	resp, err := w.g.Do(http.MethodPost, gateway.WebhookPath, body, header...)
	switch {
	case err != nil && !w.calm.recently():
		w.wrong.add("webhooks without an answer", "to be refused: %v", err)
	case err == nil && resp.Status != want:
		w.wrong.add("answers", "a webhook that must be refused with %d: %d %.300s", want, resp.Status, resp.Body)
	}
	w.refused.Add(1)
}

func (w *webhooks) remember(a acknowledged) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.recent) < 2000 {
		w.recent = append(w.recent, a)
		return
	}
	w.recent[w.at%len(w.recent)] = a
	w.at++
}

// some is some event that was acknowledged.
func (w *webhooks) some() *acknowledged {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.recent) == 0 {
		return nil
	}
	a := w.recent[rand.IntN(len(w.recent))]
	return &a
}

// calm knows when the configuration was last reloaded. Caddy then closes
// connections that are idle, just as a request may set out on one, and its old
// listener, in whose queue a new connection may wait.
type calm struct{ until atomic.Int64 }

func (c *calm) disturb(d time.Duration) { c.until.Store(time.Now().Add(d).UnixNano()) }
func (c *calm) recently() bool          { return time.Now().UnixNano() < c.until.Load() }

// latencies are those since they were last taken.
type latencies struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, (2 * time.Minute).Microseconds(), 3)
}

func (l *latencies) record(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.h == nil {
		l.h = newHistogram()
	}
	_ = l.h.RecordValue(max(1, d.Microseconds())) // what is beyond the histogram has failed otherwise
}

// take returns quantiles in milliseconds and begins anew.
func (l *latencies) take() (p50, p99 float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.h == nil {
		return 0, 0
	}
	p50, p99 = float64(l.h.ValueAtQuantile(50))/1000, float64(l.h.ValueAtQuantile(99))/1000
	l.h.Reset()
	return p50, p99
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
