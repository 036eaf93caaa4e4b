//go:build linux

package hostile

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// Paces of a good tenant.
const (
	webhookEvery = 50 * time.Millisecond
	listEvery    = 250 * time.Millisecond
	healthEvery  = 200 * time.Millisecond
	resumeEvery  = 2 * time.Second
)

// good are the good tenants at work.
type good struct {
	*arena
	tenants []*goodTenant
	figures figures
	wrong   complaints

	stopSending, stopAll context.CancelFunc
	sending, all         sync.WaitGroup
}

// goodTenant is one of them.
type goodTenant struct {
	*tenant
	*good
	// kept is on connections that stay, fresh makes one for every request.
	kept, fresh *gateway.Client
	stream      *gateway.Stream
	n           atomic.Int64 // events made
	sent        sync.Map     // when an event was sent, by its number
}

// moment is when something was sent, and in which phase.
type moment struct {
	at    time.Time
	phase int
}

// startGood has every good tenant open a stream, send, list, resume and ask for
// the health.
func startGood(t *testing.T, a *arena) *good {
	t.Helper()
	g := &good{arena: a}
	sending, stopSending := context.WithCancel(context.Background())
	all, stopAll := context.WithCancel(context.Background())
	g.stopSending, g.stopAll = stopSending, stopAll
	t.Cleanup(func() { stopSending(); stopAll(); g.sending.Wait(); g.all.Wait() })
	for i, x := range a.good {
		from := fmt.Sprintf("127.0.0.%d", 10+i)
		gt := &goodTenant{tenant: x, good: g, kept: a.client(t, x, from), fresh: a.client(t, x, from)}
		gt.fresh.HTTP.Transport.(*http.Transport).DisableKeepAlives = true
		gt.stream = gt.kept.MustOpen("")
		g.tenants = append(g.tenants, gt)
		every := func(ctx context.Context, wg *sync.WaitGroup, d time.Duration, what func(context.Context)) {
			wg.Go(func() {
				for pause(ctx, d) {
					what(ctx)
				}
			})
		}
		for range 2 { // so that one that waits does not stop the others
			every(sending, &g.sending, 2*webhookEvery, gt.webhook)
		}
		every(all, &g.all, listEvery, gt.list)
		every(all, &g.all, healthEvery, gt.health)
		every(all, &g.all, resumeEvery, gt.resume)
		g.all.Go(func() { gt.follow(all) })
	}
	return g
}

// client is one that stays, or every fourth time a fresh one.
func (x *goodTenant) client(n int64) *gateway.Client {
	if n%4 == 0 {
		return x.fresh
	}
	return x.kept
}

// webhook sends an event until it is taken, as OPAL does.
func (x *goodTenant) webhook(ctx context.Context) {
	n := x.n.Add(1)
	workflow := fmt.Sprintf("strategy_workflow-%s-%d", x.name, n/20)
	what, size := "webhook", int(n%7)*300
	if n%40 == 20 { // an agent's long report
		what, size = largeWebhook, 400_000
	}
	body := gateway.Event(workflow, "content_review", strconv.FormatInt(n, 10), map[string]any{"results": strings.Repeat("a", size)})
	for try := 0; try < 100; try++ {
		begin, phase := time.Now(), x.phase.get()
		resp, err := x.client(n).Post(body)
		took := time.Since(begin)
		if err == nil && resp.Status == http.StatusOK {
			x.figures.add(phase, what, took)
			var a gateway.Answer
			err := json.Unmarshal(resp.Body, &a)
			seq := (gateway.Message{ID: a.WebhookID}).Seq()
			// One that got no answer may have been taken.
			if err != nil || seq == 0 || a.Status != "processed" && (try == 0 || a.Status != "duplicate") {
				x.wrong.add(phase, "webhook answered wrongly", "%.200s", resp.Body)
				return
			}
			x.ledger.acknowledged(seq, body)
			x.sent.Store(seq, moment{begin, phase})
			return
		}
		x.failed(phase, what, took, resp, err)
		if !pause(ctx, 200*time.Millisecond) && try > 20 {
			break
		}
	}
	x.unanswered.Add(1)
}

// largeWebhook is one whose body has to wait for its part of the memory.
const largeWebhook = "large webhook"

// failed writes down a request that was not answered with 200.
func (x *goodTenant) failed(phase int, what string, took time.Duration, resp *gateway.Response, err error) {
	x.figures.failed(phase, what)
	if err != nil {
		x.wrong.add(phase, what+" without an answer", "after %v: %v", took.Round(time.Millisecond), err)
		return
	}
	if what == largeWebhook && resp.Status == http.StatusServiceUnavailable {
		return // strangers' bodies may have their part of the memory: it is sent again
	}
	x.wrong.add(phase, fmt.Sprintf("%s answered %d", what, resp.Status), "after %v: %.200s", took.Round(time.Millisecond), resp.Body)
}

// get asks for something and tells how it was answered.
func (x *goodTenant) get(what, path string, c *gateway.Client) *gateway.Response {
	begin, phase := time.Now(), x.phase.get()
	resp, err := c.Do(http.MethodGet, path, nil, "Authorization", "Bearer "+x.creds.Key)
	took := time.Since(begin)
	if err != nil || resp.Status != http.StatusOK {
		x.failed(phase, what, took, resp, err)
		return nil
	}
	x.figures.add(phase, what, took)
	return resp
}

func (x *goodTenant) health(context.Context) { x.get("health", "/api/health", x.fresh) }

// follow takes the time from sending an event to seeing it on the stream.
func (x *goodTenant) follow(ctx context.Context) {
	arrived := make(map[uint64]time.Time)
	for taken := 0; ctx.Err() == nil; {
		err := x.stream.Wait(time.Second, func(all []gateway.Message) bool {
			now, fresh := time.Now(), len(all) > taken
			for ; taken < len(all); taken++ {
				arrived[all[taken].Seq()] = now
			}
			return fresh
		})
		if ended, cause := x.stream.Ended(); ended {
			x.wrong.add(x.phase.get(), "stream ended", "%s: %v, %v", x.name, err, cause)
			break
		}
	}
	for seq, at := range arrived {
		if m, ok := x.sent.Load(seq); ok {
			x.figures.add(m.(moment).phase, "webhook to stream", at.Sub(m.(moment).at))
		}
	}
}

// list asks for the newest events: the last one that was acknowledged is among
// them, and nobody else's is. Then it asks for that event, which is as it was sent.
func (x *goodTenant) list(context.Context) {
	last := x.ledger.latest()
	resp := x.get("list", "/api/webhook-events?limit=200", x.client(x.n.Load()))
	if resp == nil || last == 0 {
		return
	}
	var p gateway.Page
	if err := json.Unmarshal(resp.Body, &p); err != nil {
		x.wrong.add(x.phase.get(), "list that is not JSON", "%v", err)
		return
	}
	found := false
	for _, e := range p.Events {
		found = found || e.Seq == last
		if e.WorkspaceID != x.workspace {
			x.wrong.add(x.phase.get(), "list of another workspace", "%s has %s of %s", x.name, e.ID, e.WorkspaceID)
		}
	}
	if !found {
		x.wrong.add(x.phase.get(), "list without the last event", "%s does not list evt_%d", x.name, last)
	}
	resp = x.get("event", fmt.Sprintf("/api/webhook-events/evt_%d", last), x.kept)
	if resp == nil {
		return
	}
	payload, err := gateway.Payload(resp.Body)
	if want, _ := x.ledger.digest(last); err != nil || sha256.Sum256(payload) != want {
		x.wrong.add(x.phase.get(), "event not as it was sent", "evt_%d: %v", last, err)
	}
}

// resume opens a second stream at an older event and expects all since, once and
// in order.
func (x *goodTenant) resume(context.Context) {
	through := x.ledger.latest()
	seqs := x.ledger.after(0, through)
	if len(seqs) < 2 {
		return
	}
	// Two senders: what is acknowledged last need not be the newest. What has a
	// lower number is in the log by then, known to the ledger or not yet.
	from := seqs[max(0, len(seqs)-100)]
	begin, phase := time.Now(), x.phase.get()
	s, err := x.fresh.Open("", "Last-Event-ID", "evt_"+strconv.FormatUint(from, 10))
	took := time.Since(begin)
	if err != nil {
		x.figures.failed(phase, "stream opened")
		x.wrong.add(phase, "stream not opened", "after %v: %v", took.Round(time.Millisecond), err)
		return
	}
	defer s.Close()
	x.figures.add(phase, "stream opened", took)
	if err := s.WaitSeq(through, 30*time.Second); err != nil {
		x.figures.failed(phase, "stream resumed")
		x.wrong.add(phase, "stream resumed without all", "from evt_%d through evt_%d: %v", from, through, err)
		return
	}
	x.figures.add(phase, "stream resumed", time.Since(begin))
	got := s.Seqs()
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		x.wrong.add(phase, "stream resumed in disorder", "%v", got)
	}
	for _, seq := range x.ledger.after(from, through) {
		if !slices.Contains(got, seq) {
			x.wrong.add(phase, "stream resumed with a hole", "evt_%d is not among those after evt_%d", seq, from)
		}
	}
}

// finish ends the good tenants and compares what they were told with what there is.
func (g *good) finish(t *testing.T) {
	t.Helper()
	g.stopSending()
	g.sending.Wait()
	g.stopAll()
	g.all.Wait()
	for _, x := range g.tenants {
		if err := x.stream.WaitSeq(x.ledger.latest(), 30*time.Second); err != nil {
			g.wrong.add(after, "stream broken or behind", "%s: %v", x.name, err)
		}
		unknown := int(x.unanswered.Load())
		if text := x.ledger.compare(x.stream.Seqs(), unknown); text != "" {
			g.wrong.add(after, "stream not as acknowledged", "%s: %s", x.name, text)
		}
		x.compareList(unknown)
		x.stream.Close()
	}
	(&goodTenant{tenant: g.hostile, good: g, kept: g.arena.client(t, g.hostile, "127.0.0.9")}).compareList(int(g.hostile.unanswered.Load()))
}

func (x *goodTenant) compareList(unknown int) {
	seqs, err := x.kept.ListSeqs(map[string][]string{"order": {"asc"}})
	if err != nil {
		x.wrong.add(after, "no list at the end", "%s: %v", x.name, err)
		return
	}
	if text := x.ledger.compare(seqs, unknown); text != "" {
		x.wrong.add(after, "list not as acknowledged", "%s: %s", x.name, text)
	}
}
