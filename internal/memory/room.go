package memory

import "sync/atomic"

// Room is a share of the budget that is taken and given back.
type Room struct {
	size int64
	held atomic.Int64
}

// NewRoom returns an empty room of size bytes.
func NewRoom(size int64) *Room { return &Room{size: size} }

// Take takes n bytes and reports whether there was room for them. Who comes first
// gets whatever it is, so that nothing is too large for ever.
func (r *Room) Take(n int64) bool {
	if held := r.held.Add(n); held > r.size && held > n {
		r.held.Add(-n)
		return false
	}
	return true
}

// Release gives n bytes back.
func (r *Room) Release(n int64) { r.held.Add(-n) }

// Held is how many bytes are taken.
func (r *Room) Held() int64 { return r.held.Load() }
