package soak

import (
	"fmt"
	"sync"
	"testing"
)

// complaints are what went wrong, of each kind the first few.
type complaints struct {
	mu    sync.Mutex
	count map[string]int
	first map[string][]string
}

func newComplaints() *complaints {
	return &complaints{count: make(map[string]int), first: make(map[string][]string)}
}

func (c *complaints) add(kind, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count[kind]++; c.count[kind] <= 5 {
		c.first[kind] = append(c.first[kind], fmt.Sprintf(format, args...))
	}
}

func (c *complaints) total() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.count {
		n += k
	}
	return n
}

func (c *complaints) report(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for kind, n := range c.count {
		t.Errorf("%s: %d times", kind, n)
		for _, text := range c.first[kind] {
			t.Errorf("    %s", text)
		}
	}
}
