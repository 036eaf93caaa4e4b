// Package dedupfilter answers for most new dedup keys that the log does not hold
// them, without reading the log. It is a Bloom filter over the hashes of the keys.
//
// It knows hashes only. Its owner adds the hash of every event that it commits,
// fills the filter from the log when it opens, and looks up what the filter cannot
// rule out.
package dedupfilter

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

const (
	// bitsPerKey is the size of a full filter: about 0.3 % of its answers are false.
	bitsPerKey  = 16
	minCapacity = 1 << 16
	// maxOverload times its capacity, a filter is wrong about every third key. A
	// filter with more keys is not asked.
	maxOverload = 5
)

// Filter is a Bloom filter that is replaced by another one when it has too few bits
// or holds mostly keys that were pruned. It is safe for concurrent use.
type Filter struct {
	mu          sync.RWMutex // Guards the pointers. The bits are atomic.
	current     *Bits        // nil: every key has to be looked up.
	next        *Bits        // The one that is being filled, or nil.
	maxCapacity int
}

// New returns a filter that takes maxBytes of memory at most. Until the first Build
// has ended it rules out nothing.
func New(maxBytes int64) *Filter {
	return &Filter{maxCapacity: int(maxBytes * 8 / bitsPerKey)}
}

// MayContain reports whether the log may hold the key. False is certain.
func (f *Filter) MayContain(hash uint64) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.current == nil || f.current.keys.Load() > int64(maxOverload*f.current.capacity) || f.current.Has(hash)
}

// Add adds a key that is about to be committed.
func (f *Filter) Add(hash uint64) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.current != nil {
		f.current.Add(hash)
	}
	if f.next != nil {
		f.next.Add(hash)
	}
}

// NeedsBuild reports whether the filter should be built again for a log of so many
// keys, and is not being built already.
func (f *Filter) NeedsBuild(keys int) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.next != nil {
		return false
	}
	if f.current == nil {
		return true
	}
	held := f.current.keys.Load()
	return held > int64(2*keys+minCapacity) || held > int64(f.current.capacity) && f.current.capacity < capacityFor(2*keys, f.maxCapacity)
}

// Ready reports whether the filter is built and no other one is being built.
func (f *Filter) Ready() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.current != nil && f.next == nil
}

// Begin begins to build a filter for a log of so many keys. From then on Add adds to
// it as well. The caller adds the keys that the log holds and calls End.
func (f *Filter) Begin(keys int) *Bits {
	next := newBits(2*keys, f.maxCapacity)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = next
	return next
}

// End ends a build. The filter that was built is used from then on if it is
// complete, and dropped otherwise.
func (f *Filter) End(complete bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if complete {
		f.current = f.next
	}
	f.next = nil
}

// Bits are the bits of a filter, in blocks of 64 bytes: a key's bits are all in one
// block, so that a lookup costs one cache miss.
type Bits struct {
	words    []uint64
	keys     atomic.Int64
	capacity int
}

func newBits(keys, most int) *Bits {
	capacity := capacityFor(keys, most)
	return &Bits{words: make([]uint64, capacity*bitsPerKey/64), capacity: capacity}
}

// capacityFor returns the number of keys that a filter for so many keys is made for.
func capacityFor(keys, most int) int {
	capacity := minCapacity
	for capacity < keys && 2*capacity <= most {
		capacity *= 2
	}
	return capacity
}

// probe returns the block of a hash, and six bit numbers of nine bits each.
func (b *Bits) probe(hash uint64) (block []uint64, bit uint64) {
	hi, _ := bits.Mul64(hash, uint64(len(b.words)/8))
	return b.words[8*hi : 8*hi+8 : 8*hi+8], hash * 0x9e3779b97f4a7c15
}

// Add adds a key.
func (b *Bits) Add(hash uint64) {
	block, bit := b.probe(hash)
	isNew := false
	for range 6 {
		mask := uint64(1) << (bit & 63)
		isNew = atomic.OrUint64(&block[bit>>6&7], mask)&mask == 0 || isNew
		bit >>= 9
	}
	if isNew { // A key whose bits were all set may be one that was added before.
		b.keys.Add(1)
	}
}

// Has reports whether the key may have been added.
func (b *Bits) Has(hash uint64) bool {
	block, bit := b.probe(hash)
	for range 6 {
		if atomic.LoadUint64(&block[bit>>6&7])&(1<<(bit&63)) == 0 {
			return false
		}
		bit >>= 9
	}
	return true
}
