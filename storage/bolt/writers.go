package bolt

import (
	"context"
	"errors"
	"sync"

	"go.etcd.io/bbolt"
)

// What one transaction takes of those who wait.
const (
	maxShared      = 256
	maxSharedBytes = 8 << 20
)

// writers let those who come while a transaction is committed share the next one.
// Who finds nobody at work commits; when that is done the first of those who wait
// meanwhile does, for all of them.
type writers struct {
	commit func([]*writer)

	mu      sync.Mutex
	busy    bool
	waiting []*writer
}

type writer struct {
	ctx   context.Context
	size  int
	apply func(*bbolt.Tx) error
	err   error
	turn  chan bool // true: commit for those who wait; false: err says how it went
}

// do runs apply within a transaction and returns when it is synced, or not. An
// apply that returns an error has changed nothing.
func (ws *writers) do(ctx context.Context, size int, apply func(*bbolt.Tx) error) error {
	w := &writer{ctx: ctx, size: size, apply: apply, turn: make(chan bool, 1)}
	ws.mu.Lock()
	leads := !ws.busy
	ws.busy = true
	ws.waiting = append(ws.waiting, w)
	ws.mu.Unlock()
	if !leads {
		leads = <-w.turn
	}
	if leads {
		ws.lead()
	}
	return w.err
}

// lead commits for the first of those who wait, of whom the caller is one.
func (ws *writers) lead() {
	ws.mu.Lock()
	n, size := 0, 0
	for n < min(len(ws.waiting), maxShared) && (n == 0 || size+ws.waiting[n].size <= maxSharedBytes) {
		size += ws.waiting[n].size
		n++
	}
	batch := ws.waiting[:n:n]
	ws.waiting = ws.waiting[n:]
	ws.mu.Unlock()

	ws.commit(batch)

	ws.mu.Lock()
	ws.busy = len(ws.waiting) > 0
	if ws.busy {
		ws.waiting[0].turn <- true
	}
	ws.mu.Unlock()
	for _, w := range batch[1:] {
		w.turn <- false
	}
}

var errNothing = errors.New("nothing to commit")

// commit runs a batch in one transaction.
func (d *Documents) commit(batch []*writer) {
	err := d.f.update(func(tx *bbolt.Tx) error {
		applied := 0
		for _, w := range batch {
			// Who waits no more changes nothing; from here on it is done.
			if w.err = w.ctx.Err(); w.err == nil {
				w.err = w.apply(tx)
			}
			if w.err == nil {
				applied++
			}
		}
		if applied == 0 {
			return errNothing
		}
		return nil
	})
	if err == nil || errors.Is(err, errNothing) {
		return
	}
	for _, w := range batch {
		if w.err == nil {
			w.err = err
		}
	}
}
