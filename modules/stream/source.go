package stream

import (
	"context"
	"errors"
	"time"

	"github.com/osa-edge/osa-gateway/hub"
	"github.com/osa-edge/osa-gateway/modules/stream/reactor"
)

// source is the stream as the reactor sees it, once its connection was taken over.
type source struct{ *stream }

// Next takes what the stream's window has.
func (s source) Next(p *reactor.Payload) {
	if p.Head, p.End = s.control(p.Head); p.End != "" {
		return
	}
	b := batches.Get().(*hub.Batch)
	err := s.sub.Poll(b, batchBytes)
	if errors.Is(err, hub.ErrBehind) {
		p.Fetch = true
		returnBatch(b)
		return
	}
	s.give(b, err, p)
}

// Fetch reads what comes next from the log.
func (s source) Fetch(ctx context.Context, p *reactor.Payload) {
	b := batches.Get().(*hub.Batch)
	err := s.sub.Fetch(ctx, b, batchBytes)
	if err == nil && len(b.Frames) == 0 {
		s.advance(b, 0)
	}
	p.Again = err == nil
	s.give(b, err, p)
}

// give puts the batch into the payload until it is sent.
func (s source) give(b *hub.Batch, err error, p *reactor.Payload) {
	p.Head, p.End, p.Err = s.judge(err, p.Head)
	if err != nil || len(b.Frames) == 0 {
		returnBatch(b)
		return
	}
	s.batch, p.Frames = b, b.Frames
}

// Sent notes how far the client is.
func (s source) Sent(bytes, frames int) {
	events := 0
	if b := s.batch; b != nil {
		s.batch = nil
		s.advance(b, frames)
		events = max(0, frames-(len(b.Frames)-b.Events))
		returnBatch(b)
	}
	s.wrote(bytes, events)
}

func (s source) Pending() bool { return s.sub.Pending() }

func (s source) Group() string { return s.workspace }

func (s source) Timeout() time.Duration {
	if s.leaving() {
		return min(s.timeout, farewellTimeout)
	}
	return s.timeout
}

func (s source) Ended(end string, err error) {
	s.batch = nil // of a payload that was not written
	s.endedApart(end, err)
}

func returnBatch(b *hub.Batch) {
	b.Reset()
	batches.Put(b)
}
