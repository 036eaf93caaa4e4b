package badger

import (
	"context"
	"errors"
	"math/bits"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/storage"
)

// dedupFilter says of nearly every new dedup key that the log does not hold it,
// which is most of what a commit asks. What it lets through is looked up in the
// segments.
//
// It is a Bloom filter of 64-byte blocks, so that a question is one cache miss,
// over the seeded hash that the segments look keys up by. It is filled from them
// in the background, and made anew when it is too small or mostly holds what was
// pruned. Its size is bounded: what is far too full is not asked.
type dedupFilter struct {
	mu      sync.RWMutex // guards the pointers; the bits are atomic
	current *bloom       // nil: look every key up
	filling *bloom
	max     int // keys that the largest filter is made for
}

const (
	bloomBits = 16 // a key, when full: some 0.3 % false answers
	bloomMin  = 1 << 16
	// bloomUseless times its capacity, a filter is wrong about every third key.
	bloomUseless = 5
)

type bloom struct {
	words    []uint64 // blocks of eight
	keys     atomic.Int64
	capacity int
}

func newBloom(keys, most int) *bloom {
	capacity := bloomCapacity(keys, most)
	return &bloom{words: make([]uint64, capacity*bloomBits/64), capacity: capacity}
}

// probe is the block of a hash, and the six bits of nine that it has there.
func (b *bloom) probe(hash uint64) (block []uint64, bit uint64) {
	hi, _ := bits.Mul64(hash, uint64(len(b.words)/8))
	return b.words[8*hi : 8*hi+8 : 8*hi+8], hash * 0x9e3779b97f4a7c15
}

func (b *bloom) add(hash uint64) {
	block, bit := b.probe(hash)
	fresh := false
	for range 6 {
		mask := uint64(1) << (bit & 63)
		fresh = atomic.OrUint64(&block[bit>>6&7], mask)&mask == 0 || fresh
		bit >>= 9
	}
	if fresh { // else there is no telling that it is another one
		b.keys.Add(1)
	}
}

func (b *bloom) has(hash uint64) bool {
	block, bit := b.probe(hash)
	for range 6 {
		if atomic.LoadUint64(&block[bit>>6&7])&(1<<(bit&63)) == 0 {
			return false
		}
		bit >>= 9
	}
	return true
}

// maybe reports whether the log may hold the key.
func (f *dedupFilter) maybe(hash uint64) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.current == nil || f.current.keys.Load() > int64(bloomUseless*f.current.capacity) || f.current.has(hash)
}

// add enters a key that is about to be committed.
func (f *dedupFilter) add(hash uint64) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.current != nil {
		f.current.add(hash)
	}
	if f.filling != nil {
		f.filling.add(hash)
	}
}

// outgrown reports whether the filter should be made anew for a log of live keys.
func (f *dedupFilter) outgrown(live int) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.filling != nil {
		return false
	}
	if f.current == nil {
		return true
	}
	keys := f.current.keys.Load()
	return keys > int64(2*live+bloomMin) || keys > int64(f.current.capacity) && f.current.capacity < bloomCapacity(2*live, f.max)
}

// bloomCapacity is for how many keys a filter is made that should hold keys.
func bloomCapacity(keys, most int) int {
	capacity := bloomMin
	for capacity < keys && 2*capacity <= most {
		capacity *= 2
	}
	return capacity
}

// fillFilter begins to fill a filter unless the one there is will do. It is called
// by the committer, or before there are commits: every key is in the segments
// then, or is entered by its own commit.
func (s *Store) fillFilter() {
	b := s.log.Bounds()
	live := int(b.Last + 1 - b.First)
	if !s.filter.outgrown(live) || s.gate.enter(context.Background()) != nil {
		return
	}
	next := newBloom(2*live, s.filter.max)
	s.filter.mu.Lock()
	s.filter.filling = next
	s.filter.mu.Unlock()
	go func() {
		defer s.gate.leave()
		err := s.readKeys(next)
		s.filter.mu.Lock()
		defer s.filter.mu.Unlock()
		s.filter.filling = nil
		if err == nil {
			s.filter.current = next
		} else if !errors.Is(err, storage.ErrClosed) {
			s.logger.Warn("no filter of dedup keys: each is looked up", zap.Error(err))
		}
	}()
}

func (s *Store) readKeys(into *bloom) (err error) {
	n := 0
	kerr := s.log.Keys(func(hash uint64) bool {
		into.add(hash)
		if n++; n%4096 == 0 {
			err = s.interrupted(context.Background())
		}
		return err == nil
	})
	return errors.Join(err, kerr)
}
