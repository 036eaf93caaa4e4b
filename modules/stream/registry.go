package stream

import (
	"container/heap"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/osa-edge/osa-gateway/hub"
	"github.com/osa-edge/osa-gateway/internal/credentials"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/modules/stream/reactor"
)

// the holds every open stream of the process: they outlive the configuration
// that opened them.
var the = newRegistry()

// Errors of admit.
var (
	errTooMany          = errors.New("too many open streams")
	errTooManyPrincipal = errors.New("too many open streams of this principal")
	errLeaving          = errors.New("the process is going")
)

// exitPoll is how often the registry looks whether the process is exiting. Most
// streams hear of it sooner, through their server; those whose server's last
// configuration had no stream any more hear of it here.
const exitPoll = time.Second

// blockedPoll is how often connections that were taken over are looked through for
// those that take nothing any more.
const blockedPoll = 250 * time.Millisecond

// registry counts streams and sends heartbeats to all of them from one timer. Its
// goroutine lives while there is a stream.
type registry struct {
	mu       sync.Mutex
	queue    dueQueue
	open     int
	byOwner  map[string]int
	hubs     map[*hub.Hub]int
	running  bool
	leaving  bool
	kick     chan struct{}
	finished chan struct{}
	// recheck says that credentials may have been taken back since all were
	// looked at.
	recheck atomic.Bool
}

func init() { credentials.OnChange(the.credentialsChanged) }

// credentialsChanged has the registry look at the credential of every stream.
func (t *registry) credentialsChanged() {
	t.recheck.Store(true)
	t.poke()
}

func newRegistry() *registry {
	return &registry{byOwner: make(map[string]int), hubs: make(map[*hub.Hub]int), kick: make(chan struct{}, 1)}
}

// admit counts a stream in, or refuses it. Every admit needs its release.
func (t *registry) admit(owner string, h *hub.Hub, most, mostOfOwner int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leaving || caddy.Exiting() {
		return errLeaving
	}
	if t.open >= most || t.byOwner[owner] >= mostOfOwner {
		t.displaceSilent(owner, time.Now())
	}
	switch {
	case t.open >= most:
		return errTooMany
	case t.byOwner[owner] >= mostOfOwner:
		return errTooManyPrincipal
	}
	t.open++
	t.byOwner[owner]++
	t.hubs[h]++
	return nil
}

func (t *registry) release(owner string, h *hub.Hub) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.giveBack(owner, h)
}

// releaseOf gives the place of a stream back that has ended.
func (t *registry) releaseOf(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !s.released {
		s.released = true
		t.giveBack(s.owner, s.hub)
	}
}

// giveBack is called with the lock held.
func (t *registry) giveBack(owner string, h *hub.Hub) {
	t.open--
	if t.byOwner[owner]--; t.byOwner[owner] == 0 {
		delete(t.byOwner, owner)
	}
	if t.hubs[h]--; t.hubs[h] == 0 {
		delete(t.hubs, h)
	}
}

// add begins the stream's heartbeats.
func (t *registry) add(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	what, ends := s.verdict(now)
	s.ends = ends
	s.due = s.nextDue(now)
	heap.Push(&t.queue, s)
	if t.leaving {
		s.tell(tellShutdown)
	}
	if what != tellBeat {
		s.tell(what) // the credential was taken back since the request was let in
	}
	if !t.running {
		t.running = true
		t.finished = make(chan struct{})
		go t.run(t.finished)
	} else if s.place == 0 {
		t.poke()
	}
}

func (t *registry) remove(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.place >= 0 {
		heap.Remove(&t.queue, s.place)
	}
	if len(t.queue) == 0 {
		t.poke()
	}
}

// pollEvery is how long the registry may sleep.
func pollEvery() time.Duration {
	if reactor.Blocked() > 0 {
		return blockedPoll
	}
	return exitPoll
}

func (t *registry) poke() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// drain sends every stream away.
func (t *registry) drain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaving = true
	for _, s := range t.queue {
		s.tell(tellShutdown)
	}
	t.poke()
}

// run is the one timer of all streams.
func (t *registry) run(finished chan struct{}) {
	defer close(finished)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var due []*stream
	var checked, listened time.Time
	for {
		now := time.Now()
		t.mu.Lock()
		if len(t.queue) == 0 {
			t.running = false
			t.mu.Unlock()
			return
		}
		leave := caddy.Exiting() && !t.leaving
		due = due[:0]
		for len(t.queue) > 0 && !t.queue[0].due.After(now) {
			s := t.queue[0]
			s.due = s.nextDue(now)
			heap.Fix(&t.queue, 0)
			due = append(due, s)
		}
		timer.Reset(min(pollEvery(), time.Until(t.queue[0].due)))
		t.mu.Unlock()
		if leave {
			t.drain()
		}
		if now.Sub(checked) >= blockedPoll {
			checked = now
			reactor.CheckBlocked(now)
		}
		if now.Sub(listened) >= silencePoll {
			listened = now
			t.endSilent(now)
		}
		for i, s := range due {
			what, ends := s.verdict(now)
			t.endsAt(s, ends)
			s.tell(what)
			due[i] = nil
		}
		if t.recheck.Swap(false) {
			t.checkAll(now)
		}
		select {
		case <-timer.C:
		case <-t.kick:
		}
	}
}

// checkAll ends the streams whose credential does not hold any more.
func (t *registry) checkAll(now time.Time) {
	t.mu.Lock()
	all := slices.Clone(t.queue)
	t.mu.Unlock()
	for _, s := range all {
		what, ends := s.verdict(now)
		t.endsAt(s, ends)
		if what != tellBeat {
			s.tell(what)
		}
	}
}

// endsAt notes when the stream's credential ends, where that has changed. Only the
// registry's goroutine calls it.
func (t *registry) endsAt(s *stream, ends time.Time) {
	if ends.Equal(s.ends) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.ends = ends
	if s.place >= 0 && !ends.IsZero() && ends.Before(s.due) {
		s.due = ends
		heap.Fix(&t.queue, s.place)
		t.poke()
	}
}

// verdict is what a stream is told when it is due, and when its credential ends.
func (s *stream) verdict(now time.Time) (what uint32, ends time.Time) {
	standing := osa.StatusOf(s.principal, s.required)
	switch {
	case standing.Refusal == osa.RefusedExpired, !standing.ExpiresAt.IsZero() && !now.Before(standing.ExpiresAt):
		return tellExpired, standing.ExpiresAt
	case standing.Refusal != "":
		return tellRevoked, standing.ExpiresAt
	}
	return tellBeat, standing.ExpiresAt
}

func (s *stream) nextDue(now time.Time) time.Time {
	due := now.Add(s.interval)
	if s.ends.After(now) && s.ends.Before(due) {
		due = s.ends
	}
	return due
}

// dueQueue is a heap of streams, the next due first.
type dueQueue []*stream

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q dueQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

func (q *dueQueue) Push(x any) {
	s := x.(*stream)
	s.place = len(*q)
	*q = append(*q, s)
}

func (q *dueQueue) Pop() any {
	old := *q
	last := len(old) - 1
	s := old[last]
	old[last] = nil
	*q = old[:last]
	s.place = -1
	return s
}

// exitTimeout is how long an exit waits for streams to be gone.
const exitTimeout = 3 * time.Second

// wait returns when every stream is gone, or after exitTimeout.
func (t *registry) wait(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, exitTimeout)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for t.count() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (t *registry) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open
}

// used are the hubs that have streams.
func (t *registry) used() []*hub.Hub {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*hub.Hub, 0, len(t.hubs))
	for h := range t.hubs {
		out = append(out, h)
	}
	return out
}
