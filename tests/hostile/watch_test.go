//go:build linux

package hostile

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Bounds of what the gateway may take. All that it bounds itself is bounded below
// its memory limit; beyond it are the runtime and what a turn of the garbage
// collector leaves.
const (
	mostMemory      = memoryLimit + memoryLimit/4
	mostDescriptors = descriptors - 8

	// What may be left of an attack when it is over.
	settleWithin    = 60 * time.Second
	leftHeap        = 128 << 20
	leftDescriptors = 48
	leftGoroutines  = 64
)

// load is what the gateway takes at one moment.
type load struct {
	memory      int64 // anonymous, resident
	heap        int64
	descriptors int
	goroutines  int
}

func (l load) max(o load) load {
	return load{max(l.memory, o.memory), max(l.heap, o.heap), max(l.descriptors, o.descriptors), max(l.goroutines, o.goroutines)}
}

// watch looks at the gateway all the time, from outside.
type watch struct {
	*arena
	admin *http.Client

	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	most   [phaseCount]load
	began  [phaseCount + 1]spent
}

// enter begins a phase; phaseCount ends the last one.
func (w *watch) enter(t *testing.T, phase int) {
	t.Helper()
	s, err := w.spent()
	if err != nil {
		t.Fatal(err)
	}
	w.began[phase] = s
	if phase < phaseCount {
		w.phase.enter(int32(phase)) //nolint:gosec // it is small
	}
}

func startWatch(t *testing.T, a *arena) *watch {
	ctx, cancel := context.WithCancel(t.Context())
	w := &watch{arena: a, cancel: cancel, admin: &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(a.Dir, "admin.sock"))
		}},
	}}
	w.done.Go(func() {
		for n := 0; pause(ctx, 100*time.Millisecond); n++ {
			l, err := w.outside()
			if err != nil {
				continue // it has ended, which others notice
			}
			if n%10 == 0 {
				l = l.max(w.inside(ctx))
			}
			w.mu.Lock()
			phase := a.phase.get()
			w.most[phase] = w.most[phase].max(l)
			w.mu.Unlock()
		}
	})
	return w
}

func (w *watch) stop() { w.cancel(); w.done.Wait() }

// outside is what the kernel knows.
func (w *watch) outside() (l load, err error) {
	proc := fmt.Sprintf("/proc/%d", w.PID())
	raw, err := os.ReadFile(proc + "/status")
	if err != nil {
		return l, err
	}
	_, rest, _ := strings.Cut(string(raw), "RssAnon:")
	kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.ParseInt(kib, 10, 64)
	if err != nil {
		return l, err
	}
	fds, err := os.ReadDir(proc + "/fd")
	return load{memory: n << 10, descriptors: len(fds)}, err
}

// inside is what its metrics say, through the admin endpoint, which the attackers
// do not reach.
func (w *watch) inside(ctx context.Context) (l load) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1/metrics", nil)
	if err != nil {
		return l
	}
	resp, err := w.admin.Do(req)
	if err != nil {
		return l
	}
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body)
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, _ := strconv.ParseFloat(value, 64)
		switch name {
		case "go_goroutines":
			l.goroutines = int(n)
		case "go_memstats_heap_alloc_bytes":
			l.heap = int64(n)
		}
	}
	return l
}

// now is everything.
func (w *watch) now(t *testing.T) load {
	t.Helper()
	out, err := w.outside()
	if err != nil {
		t.Fatal(err)
	}
	in := w.inside(t.Context())
	if in.goroutines == 0 || in.heap == 0 {
		t.Fatal("the admin endpoint has no metrics of the runtime")
	}
	return out.max(in)
}

// rest is the most that the gateway took before the attack.
func (w *watch) rest(t *testing.T) load {
	t.Helper()
	l := w.now(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.most[before].max(l)
}

// settle waits until the gateway takes about what it took at rest, and returns
// the last that was seen and how long it took.
func (w *watch) settle(t *testing.T, rest load) settled {
	t.Helper()
	begin := time.Now()
	for {
		l := w.now(t)
		s := settled{load: l, took: time.Since(begin)}
		s.heap, s.descriptors, s.goroutines = l.heap-rest.heap, l.descriptors-rest.descriptors, l.goroutines-rest.goroutines
		if s.heap <= leftHeap && s.descriptors <= leftDescriptors && s.goroutines <= leftGoroutines {
			s.ok = true
			return s
		}
		if s.took > settleWithin {
			return s
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// settled is what is left of an attack.
type settled struct {
	load                    load
	took                    time.Duration
	ok                      bool
	heap                    int64
	descriptors, goroutines int
}
