package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
	"github.com/osa-edge/osa-gateway/tests/bench/server"
)

// pageSize is the limit of every page, and the default of the API.
const pageSize = 50

// record is what this needs of a listed event.
type record struct {
	Seq        uint64
	ReceivedAt time.Time `json:"received_at"`
	Workflow   string    `json:"workflow_id"`
}

// client asks one server.
type client struct {
	http http.Client
	base string
}

func newClient(s *server.Server) *client { return &client{base: "http://" + s.Address} }

// page asks for a page and tells how long it took until it was read.
func (c *client) page(ctx context.Context, q url.Values) ([]record, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/events?"+q.Encode(), nil)
	if err != nil {
		return nil, 0, err
	}
	begin := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	var p struct{ Events []record }
	err = json.NewDecoder(bufio.NewReader(resp.Body)).Decode(&p)
	took := time.Since(begin)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("a page: %s", resp.Status)
	}
	return p.Events, took, err
}

// query is a filter to be measured.
type query struct {
	name string
	// values of the filter near an event.
	values func(near record) url.Values
	// none: nothing matches.
	none bool
}

func fixed(pairs ...string) func(record) url.Values {
	return func(record) url.Values {
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v
	}
}

var queries = []query{
	{"no filter", fixed(), false},
	{"agent", fixed("agent_id", "content_review"), false},
	{"workflow's name", fixed("workflow", "strategy_workflow"), false},
	{"workflow's id", func(r record) url.Values { return url.Values{"workflow_id": {r.Workflow}} }, false},
	{"type, 1 of 20", fixed("event_type", "workflow_completion"), false},
	{"status", fixed("status", "running"), false},
	{"source", fixed("source", "opal"), false},
	{"priority, all match", fixed("min_priority", "medium"), false},
	{"priority, none match", fixed("min_priority", "critical"), true},
	{"agent, type, status", func(record) url.Values {
		return url.Values{"agent_id": {"geo_audit", "cmp_organizer"}, "event_type": {"agent_status_update"}, "status": {"completed"}}
	}, false},
	{"a second of time", func(r record) url.Values {
		return url.Values{
			"start_date": {r.ReceivedAt.Format(time.RFC3339Nano)}, "end_date": {r.ReceivedAt.Add(time.Second).Format(time.RFC3339Nano)},
		}
	}, false},
	{"agent until a time", func(r record) url.Values {
		return url.Values{"agent_id": {"content_review"}, "end_date": {r.ReceivedAt.Format(time.RFC3339Nano)}}
	}, false},
	{"nobody's", fixed("agent_id", "nobody"), true},
}

// places in the log, newest first, as parts of its length.
var places = []struct {
	name string
	at   float64
}{{"newest", 0}, {"middle", 0.5}, {"oldest", 0.98}}

// spots are how many events about a place pages are asked for at.
const spots = 20

// reads measures pages and resumes: first with nothing in the page cache, then
// as often as asked. It starts the server anew.
func (b *bench) reads(ctx context.Context, s *server.Server) (*server.Server, error) {
	if err := s.Stop(); err != nil {
		return s, err
	}
	if err := dropCaches(b.store(filled)); err != nil {
		return s, err
	}
	s, err := b.start(filled)
	if err != nil {
		return s, err
	}
	most := b.watch(ctx, s)
	c := newClient(s)
	var cold, all []time.Duration
	near := make([][]record, len(places))
	for i, place := range places {
		if near[i], err = b.about(ctx, c, place.at); err != nil {
			return s, fmt.Errorf("%s: %w", place.name, err)
		}
	}
	for _, q := range queries {
		var took []time.Duration
		for i, place := range places {
			for n := range spots + b.tries {
				r := near[i][n%len(near[i])]
				d, err := c.about(ctx, q, r, place.at > 0)
				if err != nil {
					return s, fmt.Errorf("page, %s, %s: %w", q.name, place.name, err)
				}
				switch {
				case n == 0:
					cold = append(cold, d)
				case n >= spots:
					took = append(took, d)
				}
			}
		}
		all = append(all, took...)
		b.report.quantiles("page, "+q.name, took, mostRead)
	}
	b.report.quantiles("page, all", all, mostRead)
	b.report.quantiles("page, first of each kind after a start, files not in memory", cold, mostRead)
	if err := b.resumes(ctx, c); err != nil {
		return s, fmt.Errorf("resume: %w", err)
	}
	b.report.add("pages and resumes", "anonymous memory at most", roundrobin.MiB(most()), "MiB", 0)
	if err := b.open(s, "after reads"); err != nil {
		return s, err
	}
	return s, b.memory(s, "after reads")
}

// about is some events about a place in the log, a hundredth of it apart at most.
func (b *bench) about(ctx context.Context, c *client, place float64) ([]record, error) {
	var out []record
	for i := range spots {
		seq := uint64(float64(b.n)*(1-place)) - uint64(i*b.n/100/spots) //nolint:gosec // no overflow
		r, _, err := c.page(ctx, url.Values{"limit": {"1"}, "cursor": {event.Cursor{Seq: seq + 1}.String()}})
		if err != nil {
			return nil, err
		}
		if len(r) != 1 {
			return nil, fmt.Errorf("evt_%d is not there", seq)
		}
		out = append(out, r...)
	}
	return out, nil
}

// about asks for one page of a query that begins at an event.
func (c *client) about(ctx context.Context, q query, at record, within bool) (time.Duration, error) {
	v := q.values(at)
	v.Set("limit", fmt.Sprint(pageSize))
	// A filter that names its place finds it from the newest event on.
	if within && !v.Has("end_date") && !v.Has("workflow_id") {
		v.Set("cursor", event.Cursor{Seq: at.Seq}.String())
	}
	got, took, err := c.page(ctx, v)
	if err == nil && q.none != (len(got) == 0) {
		err = fmt.Errorf("%d events", len(got))
	}
	return took, err
}

// resumes measures streams that begin in the middle of the log.
func (b *bench) resumes(ctx context.Context, c *client) error {
	for _, f := range []struct {
		name, query string
		share       float64 // of the events that match
	}{{"resume from the middle", "", 1}, {"resume of an agent's", "&agent_id=content_review", 0.1}} {
		var first []time.Duration
		for range max(1, b.tries/10) {
			d, _, err := c.stream(ctx, uint64(b.n/2)-rand.Uint64N(uint64(b.n/100)+1), f.query, 1) //nolint:gosec // any will do
			if err != nil {
				return err
			}
			first = append(first, d)
		}
		b.report.quantiles(f.name+": first event", first, mostRead)
		// Not quite all: what matches at the end is not known here.
		want := int(float64(b.n/2)*f.share) - 2
		_, took, err := c.stream(ctx, uint64(b.n/2), f.query, want)
		if err != nil {
			return err
		}
		b.report.add(f.name, "events a second", float64(want)/took.Seconds(), "", 0)
	}
	return nil
}

// stream resumes after an event and reads n; it tells when the first came and
// when the last.
func (c *client) stream(ctx context.Context, after uint64, query string, n int) (first, last time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/stream?last_event_id=evt_%d%s", c.base, after, query), nil)
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	r := bufio.NewReaderSize(resp.Body, 256<<10)
	for got := 0; got < n; {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, 0, fmt.Errorf("after %d of %d events: %w", got, n, err)
		}
		if !strings.HasPrefix(string(line[:min(len(line), 7)]), "id: evt") {
			continue
		}
		if got++; got == 1 {
			first = time.Since(begin)
		}
	}
	return first, time.Since(begin), nil
}

// dropCaches has the kernel forget a store's files, which nobody has open.
func dropCaches(dir string) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		// Only what is on disk can be forgotten.
		err = f.Sync()
		if err == nil {
			err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		}
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

// quantile of durations in milliseconds.
func quantile(d []time.Duration, part float64) float64 {
	d = slices.Sorted(slices.Values(d))
	if len(d) == 0 {
		return 0
	}
	return roundrobin.Millis(d[min(len(d)-1, int(part*float64(len(d))))])
}
