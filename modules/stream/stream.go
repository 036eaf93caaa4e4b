// Package stream is the directive `osa_stream`: Server-Sent Events over the hub.
package stream

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/hub"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/modules/stream/reactor"
)

// Why a stream ended: the label of osa_stream_closed_total, and what a
// stream_end says where one is sent.
const (
	endClient    = reactor.EndGone
	endTimeout   = reactor.EndTimeout
	endShutdown  = "shutdown"
	endExpired   = "credential_expired"
	endRevoked   = "credential_revoked"
	endSlow      = "slow_consumer"
	endLogClosed = "log_closed"
	endError     = reactor.EndError
	endDisplaced = "displaced"
)

// endReasons are all of them.
var endReasons = [...]string{
	endClient, endTimeout, endShutdown, endExpired, endRevoked, endSlow, endLogClosed, endError, endDisplaced,
}

// reconnectAfter is the `retry:` that every stream begins with.
const reconnectAfter = 3 * time.Second

// What a stream is told by the registry, as bits.
const (
	tellBeat uint32 = 1 << iota
	tellShutdown
	tellExpired
	tellRevoked
	tellSilent
	tellDisplaced
)

// reopenPoll is how often a stream tries a store that is being reopened.
const reopenPoll = 250 * time.Millisecond

var heartbeat = []byte(": heartbeat\n\n")

// batchBytes is about how much one write takes.
const batchBytes = 32 << 10

// responseBytes is about how much one write through net/http takes. HTTP/2 keeps a
// buffer of the size of the largest frame for each connection, and many writes can be
// under way at once: more at a time is hardly faster and takes much more memory.
const responseBytes = 7 << 10

// replayBytes is about how much is read from the log at once for a stream that a
// handler drives: beginning to read costs more than an event.
const replayBytes = 4 * batchBytes

// stream is one open stream, whoever drives it: what it sends next, and when it
// has to end.
type stream struct {
	hub       *hub.Hub
	sub       *hub.Subscription
	workspace string
	metrics   bool
	principal *osa.Principal
	required  []string // permissions that it had to have
	interval  time.Duration
	timeout   time.Duration // of a write
	history   int           // events that it begins with
	written   func()        // gives back what these take

	owner   string
	log     *zap.Logger
	request string // its id, for the log
	client  client
	number  uint64 // of the process' streams
	start   time.Time
	access  *accessLine // where the handler returns before the stream ends

	// Only the stream's driver changes these; anybody may look.
	events   atomic.Uint64 // written
	bytes    atomic.Uint64
	position atomic.Uint64 // in the log
	detached atomic.Bool   // the handler has returned

	batch *hub.Batch // that the reactor is writing

	// unacknowledged: something was written since the peer had acknowledged all.
	unacknowledged atomic.Bool
	silence        *reactor.Silence // nil where nobody can tell
	exclusive      bool             // the connection carries nothing else

	told atomic.Uint32
	wake atomic.Pointer[func()] // makes the driver look again

	due   time.Time // of the next beat; guarded by the registry, as are
	place int       // in its heap, or -1
	ends  time.Time // when the credential ends; zero is never
	// released: its place was given to another stream.
	released bool

	mu     sync.Mutex
	cut    func()        // shortens a write that is under way
	conn   net.Conn      // while a handler drives the stream
	handed *reactor.Conn // from then on
}

// tell makes the driver look at what happened.
func (s *stream) tell(what uint32) {
	if s.told.Or(what)&what != 0 {
		return // it knows, and has been told to look
	}
	s.look()
	if what == tellShutdown {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.cut != nil {
			s.cut()
		}
	}
}

// look makes the driver look again. It does not block.
func (s *stream) look() { (*s.wake.Load())() }

func (s *stream) setWake(wake func()) { s.wake.Store(&wake) }

func (s *stream) setCut(cut func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = cut
}

// letGo says that what the stream begins with is written, or never will be.
func (s *stream) letGo() {
	if s.written != nil {
		s.written()
		s.written = nil
	}
}

func (s *stream) leaving() bool { return s.told.Load()&tellShutdown != 0 }

// control appends what the registry's word calls for. With an end the stream is
// over once dst was written.
func (s *stream) control(dst []byte) (_ []byte, end string) {
	told := s.told.Load()
	if told == 0 {
		return dst, ""
	}
	switch {
	case told&(tellSilent|tellDisplaced) != 0:
		return dst, s.dropped()
	case told&tellShutdown != 0:
		return appendFarewell(dst), endShutdown
	case told&tellExpired != 0:
		return hub.AppendEnd(dst, endExpired), endExpired
	case told&tellRevoked != 0:
		return hub.AppendEnd(dst, endRevoked), endRevoked
	}
	if s.told.And(^tellBeat)&tellBeat != 0 {
		dst = append(dst, heartbeat...)
		if s.metrics {
			dst = append(dst, s.hub.Metrics(s.workspace)...)
		}
	}
	return dst, ""
}

// appendFarewell spreads the reconnects of everyone who is sent away at once.
func appendFarewell(dst []byte) []byte {
	jitter := time.Second + rand.N(4*time.Second) //nolint:gosec // nothing secret
	return hub.AppendRetry(dst, jitter)
}

// fill takes the next batch; with fetch it reads from the log where it must.
// With an end the stream is over once dst was written.
func (s *stream) fill(ctx context.Context, b *hub.Batch, dst []byte) (_ []byte, end string, err error) {
	err = s.sub.Poll(b, responseBytes)
	for errors.Is(err, hub.ErrBehind) {
		if err = s.sub.Fetch(ctx, b, replayBytes); err != nil || len(b.Frames) > 0 {
			break
		}
		s.advance(b, 0)
		if s.told.Load() != 0 {
			return dst, "", nil // a long search must not hold up a heartbeat
		}
		err = s.sub.Poll(b, responseBytes)
	}
	return s.judge(err, dst)
}

// judge says what an error of Poll or Fetch means for the stream.
func (s *stream) judge(err error, dst []byte) (_ []byte, end string, _ error) {
	switch {
	case err == nil:
		return dst, "", nil
	case errors.Is(err, hub.ErrSlow):
		return hub.AppendEnd(dst, endSlow), endSlow, nil
	case errors.Is(err, hub.ErrClosed):
		return appendFarewell(dst), endLogClosed, nil
	case errors.Is(err, eventlog.ErrUnavailable), errors.Is(err, eventlog.ErrOverloaded):
		// The store is being reopened: the stream waits for it.
		time.AfterFunc(reopenPoll, s.look)
		return dst, "", nil
	}
	return dst, "", err
}

// opened counts the stream in, where it is sure that it will be answered as one.
func (s *stream) opened() {
	s.number = totals.opened.Add(1)
	s.start = time.Now()
	the.add(s)
}

// advance tells the subscription that n frames of the batch are on their way.
func (s *stream) advance(b *hub.Batch, n int) {
	s.sub.Advance(b, n)
	s.position.Store(s.sub.Cursor())
	if n == 0 {
		return
	}
	if b.Expired {
		totals.resets.Add(1)
	}
	if b.Skipped > 0 {
		totals.gaps.Add(1)
		totals.skipped.Add(b.Skipped)
	}
}

// wrote counts what has gone out.
func (s *stream) wrote(bytes, events int) {
	if bytes > 0 {
		s.bytes.Add(uint64(bytes))
		totals.bytes.Add(uint64(bytes))
		if !s.unacknowledged.Load() {
			s.unacknowledged.Store(true)
		}
	}
	if events > 0 {
		s.events.Add(uint64(events))
		totals.deliveries.Add(uint64(events))
	}
}
