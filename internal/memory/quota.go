package memory

import "sync"

// Quota is a limited amount of memory that is shared by owners.
//
// An owner may hold seven times what is free. A single owner can so use nearly
// all of it, and the next one still finds free memory at once.
type Quota struct {
	size int64

	mu     sync.Mutex
	held   int64
	owners map[string]int64
	large  int64 // The bytes of the one that is larger than the quota permits.
}

// An owner may hold shareFactor times what is free.
const shareFactor = 7

// NewQuota returns a quota of size bytes.
func NewQuota(size int64) *Quota { return &Quota{size: size, owners: make(map[string]int64)} }

// Acquire acquires n bytes for an owner and reports whether that was possible.
// If nothing is held, any size is granted, so that nothing is too large
// forever.
func (r *Quota) Acquire(owner string, n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	free := r.size - r.held - n
	if r.held > 0 && (free < 0 || r.owners[owner]+n > shareFactor*free) {
		return false
	}
	r.held += n
	r.owners[owner] += n
	return true
}

// Release releases n bytes of an owner.
func (r *Quota) Release(owner string, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held -= n
	if r.owners[owner] -= n; r.owners[owner] == 0 {
		delete(r.owners, owner)
	}
}

// AcquireLarge is Acquire for amounts that may exceed the quota. More than half
// of the quota is granted outside of it, to one caller at a time, so that it
// does not block the others. The caller calls release.
func (r *Quota) AcquireLarge(owner string, n int64) (release func(), ok bool) {
	if n <= r.size/2 {
		return func() { r.Release(owner, n) }, r.Acquire(owner, n)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.large > 0 {
		return nil, false
	}
	r.large = n
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.large = 0
	}, true
}

// Held returns how many bytes are held.
func (r *Quota) Held() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held + r.large
}
