package memory

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// ledger is what was acknowledged, and what had no answer.
type ledger struct {
	mu         sync.Mutex
	bySeq      map[uint64]acknowledged
	unanswered int
	wrong      []string
}

type acknowledged struct {
	size   int
	digest [sha256.Size]byte
}

func (l *ledger) complain(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) < 20 {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

func (l *ledger) acknowledge(seq uint64, body []byte) {
	l.mu.Lock()
	_, twice := l.bySeq[seq]
	l.bySeq[seq] = acknowledged{len(body), sha256.Sum256(body)}
	l.mu.Unlock()
	if twice {
		l.complain("evt_%d was given to two events", seq)
	}
}

// webhooks are n of one size, each sent once, over so many connections.
type webhooks struct {
	name                 string
	n, connections, size int
}

// seeds make the events of every sender its own.
var seeds atomic.Uint64

func init() { seeds.Store(uint64(time.Now().Unix()) & 0xfffff << 12) } //nolint:gosec // no overflow

// earlyAnswer is the size beyond which a refusal may cost the connection: the
// gateway does not read on only to have refused a body, and what the client still
// sends then meets a closed connection.
const earlyAnswer = 200 << 10

// send sends them, and waits until all are answered. alive says whether there is
// still somebody to answer.
func (w webhooks) send(g *gateway.Gateway, l *ledger, t *tally, alive func() bool) {
	var left atomic.Int64
	left.Store(int64(w.n))
	var done sync.WaitGroup
	for range w.connections {
		done.Go(func() {
			events := load.NewEvents(w.size, seeds.Add(1))
			var body []byte
			for left.Add(-1) >= 0 && alive() {
				body = events.Append(body[:0])
				if !w.one(g, l, t, body) {
					time.Sleep(10 * time.Millisecond) // a sender's backoff
				}
			}
		})
	}
	done.Wait()
}

// one sends one and tells whether it was taken.
func (w webhooks) one(g *gateway.Gateway, l *ledger, t *tally, body []byte) bool {
	resp, err := g.Post(body)
	if err != nil {
		t.broke(err)
		l.mu.Lock()
		l.unanswered++
		l.mu.Unlock()
		return false
	}
	switch resp.Status {
	case http.StatusOK:
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		t.refused.Add(1)
		if resp.Header.Get("Retry-After") == "" {
			l.complain("%s: %d without Retry-After", w.name, resp.Status)
		}
		return false
	default:
		l.complain("%s: answered with %d %.200s", w.name, resp.Status, resp.Body)
		return false
	}
	var a gateway.Answer
	err = json.Unmarshal(resp.Body, &a)
	seq := gateway.Message{ID: a.WebhookID}.Seq()
	if err != nil || seq == 0 || a.Status != "processed" {
		l.complain("%s: a new event is answered with %.200s", w.name, resp.Body)
		return false
	}
	l.acknowledge(seq, body)
	t.through.Add(1)
	return true
}
