package eventlog

import (
	"context"
	"sync"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// loadTimeout bounds the query for the last event of a source. loadRetry is the
// delay after a query that failed.
const (
	loadTimeout = 5 * time.Second
	loadRetry   = 5 * time.Second
)

// received remembers when the last webhook of each source was received, so that
// asking is cheap. The first request for a source queries the log.
type received struct {
	mu      sync.Mutex
	sources map[string]*lastReceived
}

type lastReceived struct {
	seq     uint64
	at      time.Time
	loaded  bool
	retryAt time.Time     // When the query may be tried again.
	done    chan struct{} // Closed when the running query has ended.
}

// record takes committed events of sources that were asked for.
func (r *received) record(events []*event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sources) == 0 {
		return
	}
	for _, e := range events {
		if s := r.sources[e.Source]; s != nil && e.Seq > s.seq && e.IsWebhook() {
			s.seq, s.at = e.Seq, e.ReceivedAt
		}
	}
}

// recordGap is called when events were committed that record does not get.
func (r *received) recordGap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sources {
		s.loaded = false
	}
}

// LastReceived returns when the newest webhook of a configured source was
// received, in any workspace. It is zero if there is none or none is known yet.
// The first call for a source queries the log. Concurrent callers wait for that
// query until ctx ends.
func (l *Log) LastReceived(ctx context.Context, source string) time.Time {
	r := &l.feed.received
	r.mu.Lock()
	defer r.mu.Unlock()
	s := l.sourceState(source)
	if !s.loaded && s.done != nil {
		done := s.done
		r.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
		}
		r.mu.Lock()
	}
	if s.seq != 0 && s.seq < l.floor.Load() {
		return time.Time{} // The event was pruned.
	}
	return s.at
}

// sourceState returns the state of a source and starts the query if it is
// needed. The caller holds the lock.
func (l *Log) sourceState(source string) *lastReceived {
	r, now := &l.feed.received, time.Now()
	s := r.sources[source]
	if s == nil {
		if r.sources == nil {
			r.sources = make(map[string]*lastReceived)
		}
		s = new(lastReceived)
		r.sources[source] = s
	}
	if !s.loaded && !now.Before(s.retryAt) && l.startWork() {
		s.retryAt = now.Add(loadTimeout + loadRetry)
		done := make(chan struct{})
		s.done = done
		go func() {
			defer l.finished.Done()
			defer close(done)
			l.loadReceived(source, s)
		}()
	}
	return s
}

// startWork registers a goroutine that Close waits for. It returns false if the
// log is closing.
func (l *Log) startWork() bool {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return false
	}
	l.finished.Add(1)
	return true
}

func (l *Log) loadReceived(source string, s *lastReceived) {
	ctx, cancel := context.WithTimeout(l.stopped, loadTimeout)
	defer cancel()
	q := storage.Query{Filter: event.Filter{Sources: []string{source}, WebhooksOnly: true}, Limit: 1}
	for {
		page, err := l.Query(ctx, q)
		if err != nil {
			return
		}
		if len(page.Events) > 0 {
			l.feed.received.record(page.Events)
		} else if page.Next != 0 {
			q.After = page.Next // The engine ended the page early.
			continue
		}
		break
	}
	l.feed.received.mu.Lock()
	defer l.feed.received.mu.Unlock()
	s.loaded = true
}
