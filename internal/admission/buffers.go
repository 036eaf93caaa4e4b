package admission

import (
	"math/bits"
	"sync"
)

const (
	// FirstBuffer is the smallest buffer that is kept for use again.
	FirstBuffer = 64 << 10
	// maxBufferSize and keptAll bound the buffers that wait to be used again.
	maxBufferSize = 2 << 20
	maxFreeBytes  = 4 << 20
)

// Buffers lends the buffers that bodies grow through. Each is used for a moment,
// until what it holds is copied into the next: as garbage they would cost more
// memory than the bodies. Those that are kept take 4 MiB at most. The zero value
// is ready to use.
type Buffers struct {
	mu        sync.Mutex
	free      [bits.UintSize][][]byte // by the power of two that their size is
	freeBytes int
}

// Get returns an empty buffer of that capacity.
func (p *Buffers) Get(size int) []byte {
	class := bits.Len(uint(size)) - 1
	if size == 1<<class {
		p.mu.Lock()
		if list := p.free[class]; len(list) > 0 {
			b := list[len(list)-1]
			list[len(list)-1] = nil
			p.free[class] = list[:len(list)-1]
			p.freeBytes -= size
			p.mu.Unlock()
			return b
		}
		p.mu.Unlock()
	}
	return make([]byte, 0, size)
}

// Put gives a buffer back that nobody else holds. Sizes that are no power of two
// are not kept.
func (p *Buffers) Put(b []byte) {
	size := cap(b)
	if size < FirstBuffer || size > maxBufferSize || size&(size-1) != 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.freeBytes+size > maxFreeBytes {
		return
	}
	p.freeBytes += size
	class := bits.Len(uint(size)) - 1
	p.free[class] = append(p.free[class], b[:0])
}
