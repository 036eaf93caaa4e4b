//go:build linux

package hostile

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// trick is one way to be a burden. once is one turn of it and is called until
// the attack ends, by so many workers at once.
type trick struct {
	name    string
	workers int
	// pause is what a worker waits between two turns.
	pause time.Duration
	once  func(ctx context.Context, w *worker)
}

// worker is one of those who play a trick.
type worker struct {
	*arena
	n    int
	from string // its address
	rng  *rand.Rand
	mark *mark
	turn int
}

// mark is what became of a trick.
type mark struct {
	name    string
	workers int

	turns, refusedConnections, cut atomic.Int64
	sent                           atomic.Int64 // bytes
	mu                             sync.Mutex
	answers                        map[int]int // by status
}

func (m *mark) answered(status int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers[status]++
}

// summary of the answers, by status.
func (m *mark) summary() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var s string
	type pair struct{ status, n int }
	var pairs []pair
	for status, n := range m.answers {
		pairs = append(pairs, pair{status, n})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Compare(a.status, b.status) })
	for _, p := range pairs {
		s += fmt.Sprintf("%d×%d ", p.status, p.n)
	}
	return s
}

// attack plays all tricks at once and waits for their end.
func (a *arena) attack(t *testing.T, s settings) (marks []*mark) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), s.attack)
	defer cancel()
	go func() { // nobody attacks what is gone
		select {
		case <-a.Exited():
			cancel()
		case <-ctx.Done():
		}
	}()
	var all sync.WaitGroup
	for number, k := range s.tricks {
		m := &mark{name: k.name, workers: k.workers, answers: make(map[int]int)}
		marks = append(marks, m)
		for n := range k.workers {
			w := &worker{
				arena: a, n: n, mark: m, from: address(number, n),
				rng: rand.New(rand.NewPCG(s.seed, uint64(number)<<32|uint64(n))),
			}
			all.Go(func() { w.play(ctx, k) })
		}
	}
	all.Wait()
	select {
	case <-a.Exited():
		t.Fatalf("the gateway has ended; its log:\n%s", a.LogTail(60))
	default:
	}
	return marks
}

// address of an attacker: half of them come from one, the others from many.
// Good tenants are elsewhere.
func address(trick, n int) string {
	if n%2 == 0 {
		return "127.0.0.66"
	}
	return fmt.Sprintf("127.0.%d.%d", 100+trick, 1+n%250)
}

func (w *worker) play(ctx context.Context, k trick) {
	// They do not begin at the same moment.
	pause(ctx, time.Duration(w.rng.Int64N(int64(time.Second))))
	for ctx.Err() == nil {
		w.turn++
		w.mark.turns.Add(1)
		k.once(ctx, w)
		pause(ctx, max(k.pause, time.Millisecond))
	}
}

// pause waits and tells whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// dial connects. The connection ends with the attack.
func (w *worker) dial(ctx context.Context, addr string) (net.Conn, func(), bool) {
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(w.from)}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		if ctx.Err() == nil {
			w.mark.refusedConnections.Add(1)
			pause(ctx, 100*time.Millisecond)
		}
		return nil, nil, false
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return &counted{conn, w.mark}, func() { stop(); _ = conn.Close() }, true
}

// counted counts what is sent.
type counted struct {
	net.Conn
	mark *mark
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.mark.sent.Add(int64(n))
	return n, err
}

// untilCut waits until the gateway ends the connection or the attack is over.
func (w *worker) untilCut(ctx context.Context, conn net.Conn) {
	r := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(r, nil)
		if err == nil {
			w.mark.answered(resp.StatusCode)
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		if err != nil {
			if ctx.Err() == nil {
				w.mark.cut.Add(1)
			}
			return
		}
	}
}

// drip sends text and then one byte after the other until it is cut.
func (w *worker) drip(ctx context.Context, conn net.Conn, text string, drop byte, every time.Duration) {
	if _, err := io.WriteString(conn, text); err != nil {
		w.cutOff(ctx)
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.untilCut(ctx, conn)
	}()
	defer func() { _ = conn.Close(); <-ended }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ended:
			return
		case <-time.After(every):
		}
		if _, err := conn.Write([]byte{drop}); err != nil {
			return
		}
	}
}

func (w *worker) cutOff(ctx context.Context) {
	if ctx.Err() == nil {
		w.mark.cut.Add(1)
	}
}

// ask sends a request of a client's and reads the answer.
func (w *worker) ask(client *http.Client, req *http.Request) (status int, body []byte) {
	resp, err := client.Do(req)
	if err != nil {
		if !errors.Is(err, context.Canceled) && req.Context().Err() == nil {
			w.mark.cut.Add(1)
		}
		return 0, nil
	}
	defer resp.Body.Close()
	w.mark.answered(resp.StatusCode)
	body, _ = io.ReadAll(resp.Body)
	return resp.StatusCode, body
}
