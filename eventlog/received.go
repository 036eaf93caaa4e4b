package eventlog

import (
	"context"
	"sync"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// loadTimeout bounds the one look into the store for a source, and loadRetry is how
// long one that failed is not tried again.
const (
	loadTimeout = 5 * time.Second
	loadRetry   = 5 * time.Second
)

// received remembers when the last webhook of each source came in, so that asking
// costs nothing. What was committed before it was asked for the first time is
// looked up once.
type received struct {
	mu      sync.Mutex
	sources map[string]*lastReceived
}

type lastReceived struct {
	seq    uint64
	at     time.Time
	loaded bool
	next   time.Time     // when loading may be tried
	done   chan struct{} // closed when the last try is over
}

// see takes events that were committed, of sources that were asked for.
func (r *received) see(events []*event.Event) {
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

// skip says that events were committed that see was not told of.
func (r *received) skip() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sources {
		s.loaded = false
	}
}

// LastReceived is when the newest webhook of a configured source came in, of
// whatever workspace; zero if there is none, or none is known yet. The store is
// asked once for each source, and not again for who asks meanwhile: until it has
// answered, callers wait for as long as ctx.
func (l *Log) LastReceived(ctx context.Context, source string) time.Time {
	r := &l.feed.received
	r.mu.Lock()
	defer r.mu.Unlock()
	s := l.loading(source)
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
		return time.Time{} // it is not kept any more
	}
	return s.at
}

// loading is what is known of a source. It has that loaded, if it has to be. The
// lock is held.
func (l *Log) loading(source string) *lastReceived {
	r, now := &l.feed.received, time.Now()
	s := r.sources[source]
	if s == nil {
		if r.sources == nil {
			r.sources = make(map[string]*lastReceived)
		}
		s = new(lastReceived)
		r.sources[source] = s
	}
	if !s.loaded && !now.Before(s.next) && l.begin() {
		s.next = now.Add(loadTimeout + loadRetry)
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

// begin counts a goroutine among those that Close waits for; false if it is late.
func (l *Log) begin() bool {
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
			l.feed.received.see(page.Events)
		} else if page.Next != 0 {
			q.After = page.Next // the engine ended the page early
			continue
		}
		break
	}
	l.feed.received.mu.Lock()
	defer l.feed.received.mu.Unlock()
	s.loaded = true
}
