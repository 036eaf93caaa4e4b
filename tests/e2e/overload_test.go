package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// TestOverload: more than can be committed is refused with 503 and Retry-After,
// what was taken is kept, and afterwards everything is as before.
func TestOverload(t *testing.T) {
	g := gateway.Start(t, gateway.Options{Edit: func(text string) string {
		return gateway.Replace(t, text, "\t\tstorage badger {\n", "\t\tqueue_events 2\n\t\tstorage badger {\n")
	}})
	const senders, rounds = 64, 20
	var mu sync.Mutex
	taken, refused := make(map[string]bool), 0
	var done sync.WaitGroup
	for s := range senders {
		done.Add(1)
		go func() {
			defer done.Done()
			for n := range rounds {
				resp, err := g.Post(gateway.Event("wf-overload", "geo_audit", fmt.Sprintf("%d-%d", s, n), nil))
				mu.Lock()
				switch {
				case err != nil:
					t.Errorf("no answer: %v", err)
				case resp.Status == http.StatusOK:
					taken[fmt.Sprintf("%d-%d", s, n)] = true
				case resp.Status != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "":
					t.Errorf("answered with %d %v", resp.Status, resp.Header)
				default:
					refused++
				}
				mu.Unlock()
			}
		}()
	}
	done.Wait()
	t.Logf("%d taken, %d refused", len(taken), refused)
	if refused == 0 || len(taken) == 0 {
		t.Errorf("%d were taken and %d refused: want some of both", len(taken), refused)
	}
	if got := count(t, g); got != len(taken) {
		t.Errorf("%d were taken, the log has %d", len(taken), got)
	}
	post(t, g, "wf-after", 10)
}
