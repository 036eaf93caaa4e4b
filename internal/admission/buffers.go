package admission

import (
	"math/bits"
	"sync"
)

const (
	// FirstBuffer is the smallest buffer that is kept for use again.
	FirstBuffer = 64 << 10
	// maxBufferSize limits the size of a buffer that is kept, and maxFreeBytes
	// the size of all of them.
	maxBufferSize = 2 << 20
	maxFreeBytes  = 4 << 20
)

// Buffers is a pool of the buffers that bodies grow through. Each is used only
// until its content is copied into the next one. Without reuse they would take
// more memory than the bodies. The pool keeps at most 4 MiB. The zero value is
// ready to use.
type Buffers struct {
	mu        sync.Mutex
	free      [bits.UintSize][][]byte // Indexed by the binary logarithm of their size.
	freeBytes int
}

// Get returns an empty buffer with the given capacity.
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

// Put returns a buffer that nobody else uses. Buffers whose size is not a power
// of two are not kept.
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
