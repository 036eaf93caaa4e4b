package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// Habits of subscribers.
const (
	steady = iota // stays connected and reads
	leaves        // goes away and comes back for what it missed
	slow          // stops reading for a while
	latest        // likewise, and does not want what it missed
)

// subscriber follows the stream.
type subscriber struct {
	n      int
	habit  int
	filter filter
	bearer string
	url    string
	away   time.Duration
	wrong  *complaints
	calm   *calm

	connects atomic.Int64
	awoke    time.Time // from its last pause; only run looks at it

	mu       sync.Mutex
	last     uint64 // it has everything up to here, and resumes after it
	got      []item // not yet compared
	checked  uint64 // compared up to here
	verified int    // events that were right
	hurry    bool   // the end is near: no more pauses
}

// item is an event, or a gap after `after` through seq.
type item struct {
	seq, after uint64
	gap        bool
	skipped    int
}

func (s *subscriber) String() string { return fmt.Sprintf("subscriber %d (%v)", s.n, s.filter) }

// subscribers with all habits and filters.
func subscribers(g *gateway.Gateway, n int, head uint64, away time.Duration, wrong *complaints, calm *calm, bearers []string) []*subscriber {
	agents := []string{
		"experiment_blueprinter", "audience_suggester", "content_review", "roadmap_generator", "integration_health",
		"personalization_idea_generator", "cmp_organizer", "customer_journey", "geo_audit",
	}
	all := make([]*subscriber, n)
	for i := range all {
		s := &subscriber{
			n: i, url: g.URL + gateway.StreamPath, bearer: bearers[i%len(bearers)], away: away, wrong: wrong, calm: calm,
			last: head, checked: head,
		}
		switch i % 8 {
		case 0:
			if i%16 == 0 {
				break // everything
			}
			s.filter.kind = "workflow_progress"
		case 1:
			s.filter.kind = "workflow_completion"
		case 2:
			s.filter = filter{agents[i/8%len(agents)], "agent_status_update"}
		case 3:
			s.filter = filter{"geo_audit", "error_notification"}
		default:
			s.filter.agent = agents[i%len(agents)]
		}
		switch i / 8 % 5 {
		case 1, 2:
			s.habit = leaves
		case 3:
			s.habit = slow
		case 4:
			if i%2 == 0 {
				s.habit = latest
			}
		}
		all[i] = s
	}
	return all
}

// run follows the stream until ctx ends.
func (s *subscriber) run(ctx context.Context) {
	for ctx.Err() == nil {
		s.connect(ctx)
		if s.habit == leaves && !s.hurried() {
			s.pause(ctx)
		} else {
			pause(ctx, 20*time.Millisecond)
		}
	}
}

func (s *subscriber) hurried() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.hurry }

// pause waits for a while, or until there is a hurry.
func (s *subscriber) pause(ctx context.Context) {
	for until := time.Now().Add(rand.N(s.away)); time.Now().Before(until) && !s.hurried(); {
		if !pause(ctx, 50*time.Millisecond) {
			return
		}
	}
}

// connect opens the stream once and reads it to its end.
func (s *subscriber) connect(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := s.filter.query()
	if s.habit == latest {
		q.Set("slow", "latest")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"?"+q.Encode(), nil)
	if err != nil {
		s.wrong.add("streams", "%v", err)
		return
	}
	s.mu.Lock()
	req.Header.Set("Last-Event-ID", "evt_"+strconv.FormatUint(s.last, 10))
	s.mu.Unlock()
	req.Header.Set("Authorization", "Bearer "+s.bearer)
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, addr)
		if err == nil && s.habit >= slow {
			_ = c.(*net.TCPConn).SetReadBuffer(64 << 10) // a stalled reader is to be felt
		}
		return c, err
	}
	client := http.Client{Transport: &http.Transport{
		DialContext: dial, DisableKeepAlives: true, DisableCompression: true, ResponseHeaderTimeout: 30 * time.Second,
	}}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() == nil && !s.calm.recently() {
			s.wrong.add("streams", "%s: %v", s, err)
		}
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.wrong.add("streams", "%s: %s", s, resp.Status)
		pause(ctx, time.Second)
		return
	}
	s.connects.Add(1)
	if s.habit == leaves {
		leave := time.AfterFunc(rand.N(s.away)+50*time.Millisecond, func() {
			if !s.hurried() {
				cancel()
			}
		})
		defer leave.Stop()
	}
	begin := time.Now()
	err = s.read(ctx, resp)
	if ctx.Err() == nil {
		s.wrong.add("streams that ended", "%s of habit %d, after %v, the last pause %v ago: %v",
			s, s.habit, time.Since(begin).Round(time.Second), time.Since(s.awoke).Round(time.Millisecond), err)
	}
}

func (s *subscriber) read(ctx context.Context, resp *http.Response) error {
	r := bufio.NewReaderSize(resp.Body, 16<<10)
	var id uint64
	var event, data string
	// Who hardly reads between two pauses takes next to nothing, and is cut off.
	awake := func() time.Time { return time.Now().Add(s.away/2 + rand.N(s.away)) }
	rest := awake()
	for {
		raw, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		line := strings.TrimSuffix(string(raw), "\n")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			id = (gateway.Message{ID: value}).Seq()
		case "event":
			event = value
		case "data":
			data = value
		}
		if line != "" {
			continue
		}
		s.take(id, event, data)
		id, event, data = 0, "", ""
		if s.habit >= slow && time.Now().After(rest) && !s.hurried() {
			s.pause(ctx)
			s.awoke = time.Now()
			rest = awake()
		}
	}
}

// take notes a message.
func (s *subscriber) take(id uint64, event, data string) {
	switch event {
	case "stream_reset", "stream_end":
		s.wrong.add("streams", "%s got %s %s", s, event, data)
		return
	case "gap":
		var g struct {
			Skipped int
			After   string `json:"after_id"`
			Through string `json:"through_id"`
		}
		if err := json.Unmarshal([]byte(data), &g); err != nil {
			s.wrong.add("gaps", "%s: %s", s, data)
			return
		}
		i := item{gap: true, skipped: g.Skipped, after: (gateway.Message{ID: g.After}).Seq(), seq: (gateway.Message{ID: g.Through}).Seq()}
		s.note(i)
		return
	}
	if id != 0 {
		s.note(item{seq: id})
	}
}

func (s *subscriber) note(i item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i.seq <= s.last {
		s.wrong.add("repeats and disorder on streams", "%s got evt_%d after evt_%d", s, i.seq, s.last)
		return
	}
	if i.gap && s.habit != latest {
		s.wrong.add("gaps", "%s got one and did not ask for it", s)
	}
	s.last = i.seq
	s.got = append(s.got, i)
}
