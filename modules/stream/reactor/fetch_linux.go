package reactor

import (
	"context"
	"time"
)

const (
	// maxFetchers bounds for how many connections Source.Fetch runs at once.
	maxFetchers = 4
	// fetchTimeout bounds one Source.Fetch.
	fetchTimeout = 30 * time.Second
)

// leaveFor has a fetcher serve the connection, away from its writer.
func (c *Conn) leaveFor(r *reactor) {
	c.writer.mu.Lock()
	c.away = true
	c.writer.mu.Unlock()
	r.fetch.Lock()
	defer r.fetch.Unlock()
	r.fetch.queue.Push(c.source.Group(), c)
	if r.fetch.fetchers < maxFetchers {
		r.fetch.fetchers++
		go r.runFetcher()
	}
}

func (r *reactor) runFetcher() {
	b := new(writeBuffer)
	b.init()
	for {
		r.fetch.Lock()
		c, ok := r.fetch.queue.Pop()
		if !ok {
			r.fetch.fetchers--
			r.fetch.Unlock()
			return
		}
		r.fetch.Unlock()
		c.serveAway(b)
	}
}

// serveAway does what takes waiting, then gives the connection back to its writer.
func (c *Conn) serveAway(b *writeBuffer) {
	again, gone := true, false
	if c.looking {
		c.looking = false
		gone = c.readInput()
	} else {
		again = c.fetch(b)
	}
	w := c.writer
	w.mu.Lock()
	defer w.mu.Unlock()
	c.away = false
	c.gone = c.gone || gone
	if again || c.again {
		c.again = false
		w.enqueue(c)
	}
}

// fetch writes one payload that takes waiting.
func (c *Conn) fetch(b *writeBuffer) (again bool) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	b.payload.reset(b.bytes)
	c.source.Fetch(ctx, &b.payload)
	b.payload.Fetch = false
	return c.deliver(b)
}
