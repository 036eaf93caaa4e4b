//go:build linux

package hostile

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// ledger is what a tenant was told is kept.
type ledger struct {
	mu    sync.Mutex
	bySeq map[uint64][sha256.Size]byte // digests of the bodies
	last  uint64
	twice []uint64
	// large is the event with the largest body, which has so many bytes.
	large, size uint64
}

// acknowledged writes down an event that was answered as new.
func (l *ledger) acknowledged(seq uint64, body []byte) {
	digest := sha256.Sum256(body)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bySeq == nil {
		l.bySeq = make(map[uint64][sha256.Size]byte)
	}
	if _, there := l.bySeq[seq]; there {
		l.twice = append(l.twice, seq)
	}
	l.bySeq[seq] = digest
	l.last = max(l.last, seq)
	if n := uint64(len(body)); n >= l.size {
		l.large, l.size = seq, n
	}
}

// latest is the newest event of the ledger.
func (l *ledger) latest() uint64 { l.mu.Lock(); defer l.mu.Unlock(); return l.last }

// after are the events after one of them, through another, in order.
func (l *ledger) after(from, through uint64) (seqs []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for seq := range l.bySeq {
		if seq > from && seq <= through {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs
}

// largest is the event with the largest body.
func (l *ledger) largest() uint64 { l.mu.Lock(); defer l.mu.Unlock(); return l.large }

func (l *ledger) count() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.bySeq) }

func (l *ledger) digest(seq uint64) ([sha256.Size]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, ok := l.bySeq[seq]
	return d, ok
}

// compare tells what a place that should have exactly the ledger's events, in
// order, has instead; "" if it is right. What some events' fate is was never
// said: those may be there or not.
func (l *ledger) compare(got []uint64, unknown int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.twice) > 0 {
		return fmt.Sprintf("the numbers %v were given to two events", clip(l.twice))
	}
	want := maps.Clone(l.bySeq)
	var doubled, foreign []uint64
	seen := make(map[uint64]bool, len(got))
	for _, seq := range got {
		switch _, ok := want[seq]; {
		case seen[seq]:
			doubled = append(doubled, seq)
		case !ok:
			foreign = append(foreign, seq)
		}
		seen[seq] = true
		delete(want, seq)
	}
	switch {
	case len(want) > 0:
		return fmt.Sprintf("%d of %d are missing: %v", len(want), len(l.bySeq), clip(slices.Sorted(maps.Keys(want))))
	case len(doubled) > 0:
		return fmt.Sprintf("%d came twice: %v", len(doubled), clip(doubled))
	case len(foreign) > unknown:
		return fmt.Sprintf("%d were never acknowledged, and %d requests had no answer: %v", len(foreign), unknown, clip(foreign))
	case !slices.IsSorted(got):
		return "they are out of order"
	}
	return ""
}

func clip(seqs []uint64) []uint64 { return seqs[:min(len(seqs), 10)] }
