package faults

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// verdict is what a check found.
type verdict struct {
	lost, doubled, disorder int
	problems                []string
}

func (v *verdict) add(format string, args ...any) {
	if len(v.problems) < 20 {
		v.problems = append(v.problems, fmt.Sprintf(format, args...))
	}
}

func (v *verdict) ok() bool { return v.lost+v.doubled+v.disorder == 0 && len(v.problems) == 0 }

func (v *verdict) String() string {
	return fmt.Sprintf("lost %d, doubled %d, out of order %d\n  %s", v.lost, v.doubled, v.disorder, strings.Join(v.problems, "\n  "))
}

// check compares what was acknowledged with the log, the stream and the
// projections, and returns the log. Nothing may be under way. Everything is read
// from outside.
func check(g *gateway.Gateway, l *ledger) (*verdict, []gateway.Record) {
	v := new(verdict)
	log, err := patiently(func() ([]gateway.Record, error) { return g.List("order=asc") })
	if err != nil {
		v.add("reading the log: %v", err)
		return v, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.wrong {
		v.doubled++
		v.add("%s", w)
	}
	compareLog(v, l, log)
	if v.ok() {
		compareAll(v, g, l, log)
	}
	return v, log
}

// patiently asks again while lists are being made anew from the log, which is
// said with 503.
func patiently[T any](ask func() (T, error)) (T, error) {
	deadline := time.Now().Add(time.Minute)
	for {
		got, err := ask()
		if err == nil || !strings.Contains(err.Error(), "list: 503") || time.Now().After(deadline) {
			return got, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// compareAll compares everything that is derived from the log with it.
func compareAll(v *verdict, g *gateway.Gateway, l *ledger, log []gateway.Record) {
	compareListings(v, g, log)
	compareTimes(v, g, log)
	compareStream(v, g, seqsOf(log))
	compareBodies(v, g, l)
}

// compareLog finds what is lost, doubled or out of order in the log itself.
func compareLog(v *verdict, l *ledger, log []gateway.Record) {
	seen := make(map[string]uint64, len(log))
	last := uint64(0)
	for i := range log {
		r := &log[i]
		if r.Seq <= last {
			v.disorder++
			v.add("evt_%d comes after evt_%d", r.Seq, last)
		}
		last = r.Seq
		if r.ID != fmt.Sprintf("evt_%d", r.Seq) {
			v.add("evt_%d has the id %s", r.Seq, r.ID)
		}
		if first, twice := seen[r.DedupHash]; twice {
			v.doubled++
			v.add("evt_%d is evt_%d again", r.Seq, first)
		}
		seen[r.DedupHash] = r.Seq
		s := l.byHash[r.DedupHash]
		switch {
		case s == nil:
			v.add("evt_%d was never sent, or never acknowledged although its sender asked until it was", r.Seq)
		case s.seq != r.Seq:
			v.add("evt_%d was acknowledged as evt_%d", r.Seq, s.seq)
		case r.Size != s.size || r.WorkflowID != s.workflow || text(r.AgentID) != s.agent || text(r.EventType) != s.eventType || text(r.Status) != s.state || r.PayloadMismatch:
			v.add("evt_%d is not what was sent: %+v", r.Seq, *r)
		}
	}
	for hash, s := range l.byHash {
		if seen[hash] == 0 {
			v.lost++
			v.add("evt_%d was acknowledged and is not in the log", s.seq)
		}
	}
}

// compareListings compares the indexes with a recount of the log.
func compareListings(v *verdict, g *gateway.Gateway, log []gateway.Record) {
	type selection struct{ name, value string }
	want := map[selection][]uint64{{}: seqsOf(log)}
	for i := range log {
		r := &log[i]
		for _, s := range []selection{
			{"agent_id", text(r.AgentID)}, {"event_type", text(r.EventType)}, {"status", text(r.Status)}, {"workflow_id", r.WorkflowID},
		} {
			want[s] = append(want[s], r.Seq)
		}
	}
	for s, want := range want {
		q := url.Values{}
		if s.name != "" {
			q.Set(s.name, s.value)
		}
		got, err := patiently(func() ([]uint64, error) { return g.ListSeqs(maps.Clone(q)) }) // newest first
		if err != nil {
			v.add("list %s=%s: %v", s.name, s.value, err)
			continue
		}
		slices.Reverse(got)
		if diff := difference(want, got); diff != "" {
			v.add("list %s=%s differs from the log: %s", s.name, s.value, diff)
		}
	}
}

// compareTimes lists what came between two moments. Where the clock was stepped
// these are not neighbours in the log.
func compareTimes(v *verdict, g *gateway.Gateway, log []gateway.Record) {
	if len(log) == 0 {
		return
	}
	from, to := log[len(log)/3].ReceivedAt, log[len(log)*2/3].ReceivedAt
	if to.Before(from) {
		from, to = to, from
	}
	var want []uint64
	for i := range log {
		if at := log[i].ReceivedAt; !at.Before(from) && !at.After(to) {
			want = append(want, log[i].Seq)
		}
	}
	const micros = "2006-01-02T15:04:05.000000Z" // what the list is cut to
	got, err := g.ListSeqs(url.Values{"order": {"asc"}, "start_date": {from.UTC().Format(micros)}, "end_date": {to.UTC().Format(micros)}})
	if err != nil {
		v.add("list by time: %v", err)
	} else if diff := difference(want, got); diff != "" {
		v.add("what came from %v to %v differs from the log: %s", from, to, diff)
	}
}

// compareStream reads the whole log through the stream.
func compareStream(v *verdict, g *gateway.Gateway, want []uint64) {
	if len(want) == 0 {
		return
	}
	s, err := g.Open("last_event_id=evt_0&reset=floor")
	if err != nil {
		v.add("opening the stream: %v", err)
		return
	}
	defer s.Close()
	if err := s.WaitSeq(want[len(want)-1], time.Minute); err != nil {
		v.add("stream from the start: %v", err)
		return
	}
	if diff := difference(want, s.Seqs()); diff != "" {
		v.add("the stream differs from the log: %s", diff)
	}
}

// compareBodies reads bodies back: the largest of those that were not read yet,
// and some others.
func compareBodies(v *verdict, g *gateway.Gateway, l *ledger) {
	all := slices.SortedFunc(maps.Values(l.bySeq), func(a, b *sent) int {
		if a.read != b.read {
			return boolOrder(b.read)
		}
		return b.size - a.size
	})
	for i, s := range all {
		if i >= 6 && i%(len(all)/6+1) != 0 {
			continue
		}
		s.read = compareBody(v, g, s)
	}
}

// compareBody reads one back. An event without its body is lost.
func compareBody(v *verdict, g *gateway.Gateway, s *sent) bool {
	resp, err := g.Do("GET", fmt.Sprintf("/api/webhook-events/evt_%d", s.seq), nil, "Authorization", "Bearer "+g.Key)
	if err != nil {
		v.add("evt_%d: %v", s.seq, err)
		return false
	}
	if resp.Status != 200 {
		if resp.Status != 503 {
			v.lost++
		}
		v.add("evt_%d: %d %.300s", s.seq, resp.Status, resp.Body)
		return false
	}
	body, err := gateway.Payload(resp.Body)
	if err != nil {
		v.add("evt_%d: %v", s.seq, err)
	} else if sha256.Sum256(body) != s.digest {
		v.add("the body of evt_%d (%d bytes) is not the one that was sent (%d bytes)", s.seq, len(body), s.size)
	}
	return true
}

func boolOrder(first bool) int {
	if first {
		return -1
	}
	return 1
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func seqsOf(records []gateway.Record) []uint64 {
	out := make([]uint64, len(records))
	for i := range records {
		out[i] = records[i].Seq
	}
	return out
}

// difference tells where two lists of events part, "" if they do not.
func difference(want, got []uint64) string {
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			return fmt.Sprintf("at place %d evt_%d is wanted and evt_%d is there (%d wanted, %d there)", i, want[i], got[i], len(want), len(got))
		}
	}
	if len(want) != len(got) {
		return fmt.Sprintf("%d events are wanted and %d are there", len(want), len(got))
	}
	return ""
}
