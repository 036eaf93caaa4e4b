package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// StreamPath is the event stream.
const StreamPath = "/api/webhook-events/stream"

// Message of a stream.
type Message struct {
	// ID is the message's own, "" if it carried none.
	ID    string
	Event string
	Data  string
}

// Seq is the log's sequence number of the message, 0 if it is no event of the log.
func (m Message) Seq() uint64 {
	n, err := strconv.ParseUint(strings.TrimPrefix(m.ID, "evt_"), 10, 64)
	if err != nil || !strings.HasPrefix(m.ID, "evt_") {
		return 0
	}
	return n
}

// Stream is one open connection to the event stream.
type Stream struct {
	Response *http.Response

	mu       sync.Mutex
	messages []Message
	comments int
	retry    int
	err      error
	done     bool
	changed  chan struct{}
	cancel   context.CancelFunc
	finished chan struct{}
}

// Open opens the stream; header are name and value in turns.
func (c *Client) Open(query string, header ...string) (*Stream, error) {
	path := StreamPath
	if query != "" {
		path += "?" + query
	}
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+path, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.creds.Key)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	// A connection of its own, without the client's time limit.
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, DisableCompression: true, ResponseHeaderTimeout: 30 * time.Second,
	}}
	resp, err := client.Do(req)
	if err != nil {
		cancel()
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		cancel()
		return nil, fmt.Errorf("stream: %s", resp.Status)
	}
	s := &Stream{Response: resp, changed: make(chan struct{}), cancel: cancel, finished: make(chan struct{})}
	go s.read(resp)
	return s, nil
}

// MustOpen is Open that must succeed; the stream is closed after the test.
func (c *Client) MustOpen(query string, header ...string) *Stream {
	c.t.Helper()
	s, err := c.Open(query, header...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(s.Close)
	return s
}

func (s *Stream) read(resp *http.Response) {
	defer close(s.finished)
	defer resp.Body.Close()
	r := bufio.NewReaderSize(resp.Body, 64<<10)
	var m Message
	var data []string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			// A message that the end cuts off is none.
			s.update(func() { s.err, s.done = err, true })
			return
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line == "" {
			if data != nil {
				m.Data = strings.Join(data, "\n")
				s.update(func() { s.messages = append(s.messages, m) })
			}
			m, data = Message{}, nil
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "":
			s.update(func() { s.comments++ })
		case "id":
			m.ID = value
		case "event":
			m.Event = value
		case "data":
			data = append(data, value)
		case "retry":
			if ms, err := strconv.Atoi(value); err == nil {
				s.update(func() { s.retry = ms })
			}
		}
	}
}

func (s *Stream) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Close ends the stream from this side.
func (s *Stream) Close() {
	s.cancel()
	<-s.finished
}

// Messages are what has arrived.
func (s *Stream) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Seqs are the log's sequence numbers that have arrived, in their order.
func (s *Stream) Seqs() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var seqs []uint64
	for _, m := range s.messages {
		if n := m.Seq(); n != 0 {
			seqs = append(seqs, n)
		}
	}
	return seqs
}

// Comments are how many comment lines have arrived, Retry is the last
// reconnection time in milliseconds.
func (s *Stream) Comments() int { s.mu.Lock(); defer s.mu.Unlock(); return s.comments }

// Retry is the last reconnection time in milliseconds.
func (s *Stream) Retry() int { s.mu.Lock(); defer s.mu.Unlock(); return s.retry }

// Ended tells whether the stream has ended, and with what error.
func (s *Stream) Ended() (bool, error) { s.mu.Lock(); defer s.mu.Unlock(); return s.done, s.err }

// Wait waits until cond holds for the messages so far, asking it after each.
func (s *Stream) Wait(within time.Duration, cond func([]Message) bool) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		ok, done, changed, n := cond(s.messages), s.done, s.changed, len(s.messages)
		s.mu.Unlock()
		switch {
		case ok:
			return nil
		case done:
			return fmt.Errorf("the stream ended after %d messages: %w", n, s.err)
		}
		select {
		case <-changed:
		case <-deadline.C:
			return fmt.Errorf("not within %v; %d messages came", within, n)
		}
	}
}

// WaitSeq waits for the event of that number, or a later one.
func (s *Stream) WaitSeq(seq uint64, within time.Duration) error {
	return s.Wait(within, func(ms []Message) bool {
		for i := len(ms) - 1; i >= 0; i-- {
			if n := ms[i].Seq(); n != 0 {
				return n >= seq
			}
		}
		return false
	})
}

// WaitEnd waits until the stream ends.
func (s *Stream) WaitEnd(within time.Duration) error {
	select {
	case <-s.finished:
		return nil
	case <-time.After(within):
		return fmt.Errorf("the stream is still open after %v", within)
	}
}

// JSON decodes the message's data.
func (m Message) JSON() (map[string]any, error) {
	var v map[string]any
	err := json.Unmarshal([]byte(m.Data), &v)
	return v, err
}

// Follower is a client that holds on to the stream whatever happens to the
// gateway: it connects again and goes on after the last event it has seen.
type Follower struct {
	client *Client
	query  string

	mu      sync.Mutex
	seqs    []uint64
	resets  []string
	last    string
	open    *Stream
	changed chan struct{}

	cancel context.CancelFunc
	done   chan struct{}
}

// Follow starts a follower at the event id after.
func (c *Client) Follow(after, filter string) *Follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &Follower{client: c, query: filter, last: after, changed: make(chan struct{}), cancel: cancel, done: make(chan struct{})}
	go f.run(ctx)
	return f
}

func (f *Follower) run(ctx context.Context) {
	defer close(f.done)
	for ctx.Err() == nil {
		f.once(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond): // the gateway is away
		}
	}
}

func (f *Follower) once(ctx context.Context) {
	f.mu.Lock()
	last := f.last
	f.mu.Unlock()
	q, err := url.ParseQuery(f.query)
	if err != nil {
		return
	}
	q.Set("reset", "floor")
	s, err := f.client.Open(q.Encode(), "Last-Event-ID", last)
	if err != nil {
		return
	}
	defer s.Close()
	f.mu.Lock()
	f.open = s
	f.mu.Unlock()
	taken := 0
	for {
		s.mu.Lock()
		fresh, done, changed := slices.Clone(s.messages[taken:]), s.done, s.changed
		s.mu.Unlock()
		taken += len(fresh)
		f.take(fresh)
		if done {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (f *Follower) take(messages []Message) {
	if len(messages) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range messages {
		if n := m.Seq(); n != 0 && m.Event != "stream_reset" {
			f.seqs = append(f.seqs, n)
		} else if m.Event == "stream_reset" {
			f.resets = append(f.resets, m.Data)
		}
		if m.ID != "" {
			f.last = m.ID
		}
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

// WaitSeq waits until the follower has seen that event.
func (f *Follower) WaitSeq(seq uint64, within time.Duration) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		f.mu.Lock()
		n, changed := len(f.seqs), f.changed
		ok := seq == 0 || (n > 0 && f.seqs[n-1] >= seq)
		f.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-deadline.C:
			return fmt.Errorf("evt_%d did not come within %v; %d events did", seq, within, n)
		}
	}
}

// Break cuts the follower's connection, wherever it is.
func (f *Follower) Break() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open != nil {
		f.open.cancel()
	}
}

// Seqs are what the follower has seen, in that order.
func (f *Follower) Seqs() []uint64 { f.mu.Lock(); defer f.mu.Unlock(); return slices.Clone(f.seqs) }

// Resets are the stream_reset messages.
func (f *Follower) Resets() []string { f.mu.Lock(); defer f.mu.Unlock(); return slices.Clone(f.resets) }

// Close ends the follower.
func (f *Follower) Close() {
	f.cancel()
	<-f.done
}
