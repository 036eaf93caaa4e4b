package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/server"
)

// result of one hub with one number of subscribers.
type result struct {
	deliveries  float64 // a second
	cpu         float64 // microseconds a delivery
	bytes       float64 // a second
	p50, p99    time.Duration
	idle, after float64 // bytes a connection
}

// warmUp is how many events are published before memory is looked at, so that
// what a store takes is not counted for connections.
const warmUp = 20_000

// publishers send at once.
const publishers = 8

func measure(o options, p *peer, over transport, n int, dir string) (r result, err error) {
	s, err := p.start(o, dir, over)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	pub := newPublisher(p, s.Address, over)
	if err := pub.many(warmUp, func() bool { return true }); err != nil {
		return r, err
	}
	before, err := resident(s)
	if err != nil {
		return r, err
	}
	in, err := newReaders(o.readers)
	if err != nil {
		return r, err
	}
	defer in.close()
	if over.tls {
		err = in.openSecure(over.authority(s.Address), n, p.Subscribe, over)
	} else {
		err = in.open(s.Address, n, func(int) string { return p.Subscribe })
	}
	if err != nil {
		return r, err
	}
	idle, err := resident(s)
	if err != nil {
		return r, err
	}
	if err := fullSpeed(o, s, pub, in, n, &r); err != nil {
		return r, err
	}
	after, err := resident(s)
	if err != nil {
		return r, err
	}
	r.idle, r.after = float64(idle-before)/float64(n), float64(after-before)/float64(n)
	in.lateness()
	err = pub.steady(o.rate, time.Duration(o.seconds*float64(time.Second)))
	r.p50, r.p99 = in.lateness()
	if c := in.closed.Load(); c > 0 {
		err = errors.Join(err, fmt.Errorf("%d streams were closed by the server", c))
	}
	return r, err
}

func resident(s *server.Server) (int64, error) {
	if err := s.Settle(5 * time.Second); err != nil {
		return 0, err
	}
	m, err := s.Memory()
	return m.Anonymous, err
}

// fullSpeed keeps a window of events under way.
func fullSpeed(o options, s *server.Server, pub *publisher, in *readers, n int, r *result) error {
	start := in.received.Load()
	sent := pub.sent.Load()
	stop := time.Now().Add(time.Duration((o.seconds + 1) * float64(time.Second)))
	failed := make(chan error, 1)
	go func() {
		failed <- pub.many(1<<62, func() bool {
			for time.Now().Before(stop) {
				done := (in.received.Load() - start) / int64(n)
				if pub.sent.Load()-sent-done < int64(o.window) {
					return true
				}
				time.Sleep(50 * time.Microsecond)
			}
			return false
		})
	}()
	time.Sleep(time.Second) // until it runs evenly
	cpu, err := s.CPU()
	if err != nil {
		return err
	}
	received, bytes, begun := in.received.Load(), in.bytes.Load(), time.Now()
	time.Sleep(time.Until(stop))
	took := time.Since(begun).Seconds()
	delivered := float64(in.received.Load() - received)
	r.deliveries, r.bytes = delivered/took, float64(in.bytes.Load()-bytes)/took
	now, err := s.CPU()
	r.cpu = float64((now - cpu).Microseconds()) / delivered
	if err := errors.Join(err, <-failed); err != nil {
		return err
	}
	// Everything that was published arrives.
	want := (pub.sent.Load() - sent) * int64(n)
	for deadline := time.Now().Add(30 * time.Second); in.received.Load()-start < want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d deliveries came", in.received.Load()-start, want)
		}
	}
	return nil
}

// many publishes up to n events from several connections, while more says so.
func (p *publisher) many(n int, more func() bool) error {
	var mu sync.Mutex
	var errs error
	var all sync.WaitGroup
	for range publishers {
		all.Go(func() {
			for {
				mu.Lock()
				n--
				stop := n < 0 || errs != nil
				mu.Unlock()
				if stop || !more() {
					return
				}
				if err := p.publish(); err != nil {
					mu.Lock()
					errs = errors.Join(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return errs
}

// steady publishes at a fixed rate.
func (p *publisher) steady(rate float64, d time.Duration) error {
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for stop := time.Now().Add(d); time.Now().Before(stop); <-tick.C {
		if err := p.publish(); err != nil {
			return err
		}
	}
	time.Sleep(200 * time.Millisecond) // for the last to arrive
	return nil
}

// median takes each figure's.
func median(rs []result) result {
	of := func(get func(result) float64) float64 {
		var v []float64
		for _, r := range rs {
			v = append(v, get(r))
		}
		slices.SortFunc(v, cmp.Compare)
		return v[len(v)/2]
	}
	return result{
		deliveries: of(func(r result) float64 { return r.deliveries }),
		cpu:        of(func(r result) float64 { return r.cpu }),
		bytes:      of(func(r result) float64 { return r.bytes }),
		p50:        time.Duration(of(func(r result) float64 { return float64(r.p50) })),
		p99:        time.Duration(of(func(r result) float64 { return float64(r.p99) })),
		idle:       of(func(r result) float64 { return r.idle }),
		after:      of(func(r result) float64 { return r.after }),
	}
}

// measureMatch has events that concern one of n streams.
func measureMatch(o options, dir string, n int) (m matchPart, err error) {
	p := gatewayPeer("gateway", o.binary, "")
	s, err := p.start(o, filepath.Join(dir, fmt.Sprintf("match-%d", n)), plain)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	in, err := newReaders(o.readers)
	if err != nil {
		return m, err
	}
	defer in.close()
	// The first one is sampled.
	if err := in.open(s.Address, n, func(i int) string { return fmt.Sprintf("/stream?workflow_id=wf-%d", i) }); err != nil {
		return m, err
	}
	pub := newPublisher(p, s.Address, plain)
	pub.body = fmt.Sprintf(body, "wf-0")
	if err := pub.steady(500, time.Second); err != nil {
		return m, err
	}
	if err := s.Settle(5 * time.Second); err != nil {
		return m, err
	}
	in.lateness()
	cpu, err := s.CPU()
	if err != nil {
		return m, err
	}
	sent := pub.sent.Load()
	if err := pub.steady(500, time.Duration(o.seconds*float64(time.Second))); err != nil {
		return m, err
	}
	now, err := s.CPU()
	if err != nil {
		return m, err
	}
	p50, p99 := in.lateness()
	return matchPart{n, ms(p50), ms(p99), float64((now - cpu).Microseconds()) / float64(pub.sent.Load()-sent)}, nil
}

// measureResume reads a long log from its beginning.
func measureResume(o options, dir string) (m resumePart, err error) {
	p := gatewayPeer("gateway", o.binary, "")
	s, err := p.start(o, filepath.Join(dir, "resume"), plain)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	pub := newPublisher(p, s.Address, plain)
	if err := pub.many(o.resume, func() bool { return true }); err != nil {
		return m, err
	}
	if err := s.Settle(10 * time.Second); err != nil {
		return m, err
	}
	in, err := newReaders(1)
	if err != nil {
		return m, err
	}
	defer in.close()
	start := time.Now()
	if err := in.open(s.Address, 1, func(int) string { return "/stream?last_event_id=evt_0" }); err != nil {
		return m, err
	}
	for deadline := start.Add(time.Minute); in.received.Load() < int64(o.resume); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return m, fmt.Errorf("%d of %d came", in.received.Load(), o.resume)
		}
	}
	took := time.Since(start)
	return resumePart{o.resume, ms(took), float64(o.resume) / took.Seconds()}, nil
}
