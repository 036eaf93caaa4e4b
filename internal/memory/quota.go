package memory

import "sync"

// Quota is a share of the budget that owners take parts of and give back.
//
// An owner may hold seven times what it leaves free: alone that is nearly
// everything, and yet whoever comes next finds room at once.
type Quota struct {
	size int64

	mu     sync.Mutex
	held   int64
	owners map[string]int64
	large  int64 // what one has that is too large to share the room
}

// shareFactor is how many times what it leaves free an owner may hold.
const shareFactor = 7

// NewQuota returns an empty room of size bytes.
func NewQuota(size int64) *Quota { return &Quota{size: size, owners: make(map[string]int64)} }

// Acquire takes n bytes for an owner and reports whether there was room for them. Who
// comes first gets whatever it is, so that nothing is too large for ever.
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

// Release gives back n bytes of an owner's.
func (r *Quota) Release(owner string, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held -= n
	if r.owners[owner] -= n; r.owners[owner] == 0 {
		delete(r.owners, owner)
	}
}

// AcquireLarge is Take for what may be larger than all the room. More than half of it
// is taken beside the room, by one at a time, so that everything else finds its own.
// release gives it back.
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

// Held is how many bytes are taken.
func (r *Quota) Held() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held + r.large
}
