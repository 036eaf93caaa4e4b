package stream

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/osa-edge/osa-gateway/event"
)

// ended lets go of everything that the stream holds.
func (s *stream) ended(reason string, err error) {
	s.closed(reason)
	s.release(reason, err)
}

// closed counts the stream out. What it holds it still holds.
func (s *stream) closed(reason string) {
	the.remove(s)
	totals.closed[reason].Add(1)
	lasted.Observe(time.Since(s.start).Seconds())
}

// release writes what there is to say of the stream and gives its place back, in
// this order: an exit waits for places.
func (s *stream) release(reason string, err error) {
	cursor := s.sub.Cursor()
	s.sub.Close()
	s.access.write(s.bytes.Load(), err)
	if c := s.log.Check(endLevel(reason), "stream ended"); c != nil {
		c.Write(zap.String("reason", reason), zap.Duration("duration", time.Since(s.start)),
			zap.Uint64("events", s.events.Load()), zap.Uint64("bytes", s.bytes.Load()), zap.String("request_id", s.request),
			zap.String("owner", s.owner), zap.String("cursor", event.FormatID(cursor)), zap.Error(err))
	}
	the.releaseOf(s)
}

// endLevel is how loud the end of a stream is.
func endLevel(reason string) zapcore.Level {
	switch reason {
	case endClient, endShutdown:
		return zapcore.DebugLevel
	case endError:
		return zapcore.ErrorLevel
	}
	return zapcore.InfoLevel
}

// closeQueue is of streams whose writer has others to write to: a log whose disk or
// reader is slow must not hold up what is live. One goroutine does them while
// there are any. They are bounded, since each still has its place.
var closeQueue struct {
	sync.Mutex
	queue   []func()
	running bool
}

// endedApart is ended for a goroutine that must not wait.
func (s *stream) endedApart(reason string, err error) {
	s.closed(reason)
	closeQueue.Lock()
	defer closeQueue.Unlock()
	closeQueue.queue = append(closeQueue.queue, func() { s.release(reason, err) })
	if !closeQueue.running {
		closeQueue.running = true
		go runCloseQueue()
	}
}

func runCloseQueue() {
	for {
		closeQueue.Lock()
		queue := closeQueue.queue
		closeQueue.queue = nil
		closeQueue.running = len(queue) > 0
		closeQueue.Unlock()
		if len(queue) == 0 {
			return
		}
		for i, one := range queue {
			one()
			queue[i] = nil
		}
	}
}
