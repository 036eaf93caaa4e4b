package memory

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// errRefused: the gateway said that it has no room now.
var errRefused = errors.New("refused")

// open opens the stream after an event.
func open(ctx context.Context, g *gateway.Gateway, after uint64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+gateway.StreamPath+"?reset=floor", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+g.Key)
	req.Header.Set("Last-Event-ID", "evt_"+strconv.FormatUint(after, 10))
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}).Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests {
			return nil, errRefused
		}
		return nil, fmt.Errorf("stream: %s", resp.Status)
	}
	return resp, nil
}

// eachID calls fn with the ids of events as they come, until it says no more or
// the stream ends. Data is not kept: it may be long.
func eachID(body io.Reader, fn func(seq uint64) bool) error {
	r := bufio.NewReaderSize(body, 64<<10)
	begins := true // of a line
	for {
		part, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if id, ok := strings.CutPrefix(string(part[:min(len(part), 32)]), "id: "); begins && ok {
			if seq := (gateway.Message{ID: strings.TrimSpace(id)}).Seq(); seq != 0 && !fn(seq) {
				return nil
			}
		}
		begins = err == nil
	}
}

// follower is a stream that is open all the while, and again after it was cut.
type follower struct {
	l *ledger

	mu      sync.Mutex
	last    uint64
	got     int
	refused int
}

// follow runs until ctx ends.
func (f *follower) follow(ctx context.Context, g *gateway.Gateway) {
	for ctx.Err() == nil {
		f.mu.Lock()
		after := f.last
		f.mu.Unlock()
		resp, err := open(ctx, g, after)
		if err == nil {
			_ = eachID(resp.Body, f.take) // whatever ended it, it goes on below
			_ = resp.Body.Close()
		} else if errors.Is(err, errRefused) {
			f.mu.Lock()
			f.refused++
			f.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond): // a reader's backoff
		}
	}
}

func (f *follower) take(seq uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if seq <= f.last {
		f.l.complain("a stream got evt_%d after evt_%d", seq, f.last)
	}
	f.last = seq
	f.got++
	return true
}

func (f *follower) at() (last uint64, got int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.got
}

// resume reads n events after the first, or what there is.
func resume(g *gateway.Gateway, n int, through uint64, t *tally) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	resp, err := open(ctx, g, 0)
	if err == nil {
		defer resp.Body.Close()
		got := 0
		err = eachID(resp.Body, func(seq uint64) bool {
			got++
			return got < n && seq < through
		})
	}
	count(t, err)
}

// list asks for a page of 1,000.
func list(g *gateway.Gateway, t *tally) {
	resp, err := g.Do(http.MethodGet, "/api/webhook-events?"+url.Values{"limit": {"1000"}}.Encode(), nil, "Authorization", "Bearer "+g.Key)
	switch {
	case err != nil:
	case resp.Status == http.StatusServiceUnavailable || resp.Status == http.StatusTooManyRequests:
		err = errRefused
	case resp.Status != http.StatusOK:
		err = fmt.Errorf("list: %d %.200s", resp.Status, resp.Body)
	}
	count(t, err)
}

func count(t *tally, err error) {
	switch {
	case err == nil:
		t.through.Add(1)
	case errors.Is(err, errRefused):
		t.refused.Add(1)
	default:
		t.broke(err)
	}
}

// times runs fn n times at once.
func times(n int, fn func()) {
	var done sync.WaitGroup
	for range n {
		done.Go(fn)
	}
	done.Wait()
}
