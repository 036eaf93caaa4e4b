//go:build linux

package hostile

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// figures are how long what took, by phase.
type figures struct {
	mu    sync.Mutex
	took  [phaseCount]map[string][]time.Duration
	fails [phaseCount]map[string]int
}

func (f *figures) add(phase int, what string, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.took[phase] == nil {
		f.took[phase] = make(map[string][]time.Duration)
	}
	f.took[phase][what] = append(f.took[phase][what], took)
}

func (f *figures) failed(phase int, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails[phase] == nil {
		f.fails[phase] = make(map[string]int)
	}
	f.fails[phase][what]++
}

// spread is the middle, the 99th percentile and the most.
type spread struct {
	n, failed      int
	p50, p99, most time.Duration
}

func (f *figures) spread(phase int, what string) spread {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Sorted(slices.Values(f.took[phase][what]))
	s := spread{n: len(all), failed: f.fails[phase][what]}
	if s.n > 0 {
		s.p50, s.p99, s.most = all[s.n/2], all[min(s.n-1, s.n*99/100)], all[s.n-1]
	}
	return s
}

// complaints are what went wrong, by phase and kind, each with some examples.
type complaints struct {
	mu    sync.Mutex
	kinds []string
	n     map[string]int
	texts map[string][]string
}

func (c *complaints) add(phase int, kind, format string, args ...any) {
	kind = phaseNames[phase] + ": " + kind
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n, c.texts = make(map[string]int), make(map[string][]string)
	}
	if c.n[kind]++; c.n[kind] == 1 {
		c.kinds = append(c.kinds, kind)
	}
	if len(c.texts[kind]) < 3 {
		c.texts[kind] = append(c.texts[kind], fmt.Sprintf(format, args...))
	}
}

func (c *complaints) report(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, kind := range c.kinds {
		t.Errorf("%s, %d times; for instance %q", kind, c.n[kind], c.texts[kind])
	}
}
