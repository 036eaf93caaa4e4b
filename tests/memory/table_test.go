package memory

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// tally counts what became of one kind of request.
type tally struct {
	through, refused, broken atomic.Int64

	mu    sync.Mutex
	first string // of what broke
}

func (t *tally) broke(err error) {
	t.broken.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.first == "" {
		t.first = err.Error()
	}
}

// row is one step of the load.
type row struct {
	name             string
	kinds            []kind
	took             time.Duration
	anonymous, total int64 // bytes at most
}

type kind struct {
	name string
	*tally
}

// table shows rows.
func table(rows []row) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "step\t\tthrough\trefused\tbroken\tseconds\tanonymous MiB\twith files MiB\t")
	for _, r := range rows {
		for i, k := range r.kinds {
			figures := "\t\t\t"
			name := ""
			if i == 0 {
				name = r.name
				figures = fmt.Sprintf("%.1f\t%d\t%d\t", r.took.Seconds(), r.anonymous>>20, r.total>>20)
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\n", name, k.name, k.through.Load(), k.refused.Load(), k.broken.Load(), figures)
		}
		if len(r.kinds) == 0 {
			fmt.Fprintf(w, "%s\t\t\t\t\t%.1f\t%d\t%d\t\n", r.name, r.took.Seconds(), r.anonymous>>20, r.total>>20)
		}
	}
	_ = w.Flush() // to memory
	return out.String()
}

// sampler keeps the most that a figure has been, until it is stopped.
type sampler struct {
	stopping, stopped chan struct{}
	most              int64
}

func sample(figure func() (int64, error)) *sampler {
	s := &sampler{stopping: make(chan struct{}), stopped: make(chan struct{})}
	go func() {
		defer close(s.stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			if n, err := figure(); err == nil {
				s.most = max(s.most, n)
			}
			select {
			case <-tick.C:
			case <-s.stopping:
				return
			}
		}
	}()
	return s
}

// stop returns the most.
func (s *sampler) stop() int64 {
	close(s.stopping)
	<-s.stopped
	return s.most
}
