package eventlog

import "github.com/osa-edge/osa-gateway/storage"

// Health is what is wrong with a log that goes on nevertheless.
type Health struct {
	storage.Health
	// Reopening: the store has closed itself after a failed write, and is not open
	// again yet.
	Reopening bool
	// SetAside is how many events could not be projected since the start.
	SetAside int
}

// Health tells what is wrong with the log.
func (l *Log) Health() Health {
	h := Health{SetAside: int(l.aside.Load())}
	store := l.store.Load()
	if store == nil {
		h.Reopening = true
		return h
	}
	h.Health = store.Health()
	_ = store.Writable() // which is checked
	h.Reopening = store.closed.Load()
	for _, f := range l.followers {
		if p := f.progress(); p != nil {
			h.Rebuilding = append(h.Rebuilding, *p)
		}
	}
	return h
}
