package eventlog

import "github.com/osa-edge/osa-gateway/storage"

// Health lists the problems of a log that is still working.
type Health struct {
	storage.Health
	// Reopening means that the store closed itself after a failed write and is
	// not open again yet.
	Reopening bool
	// SetAside is how many events could not be projected since the start.
	SetAside int
}

// Health returns the log's problems.
func (l *Log) Health() Health {
	h := Health{SetAside: int(l.setAside.Load())}
	store := l.store.Load()
	if store == nil {
		h.Reopening = true
		return h
	}
	h.Health = store.Health()
	_ = store.Writable() // This makes the handle notice a closed store.
	h.Reopening = store.reportedClosed.Load()
	for _, f := range l.appliers {
		if p := f.progress(); p != nil {
			h.Rebuilding = append(h.Rebuilding, *p)
		}
	}
	return h
}
