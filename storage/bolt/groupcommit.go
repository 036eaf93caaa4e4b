package bolt

import (
	"context"
	"errors"
	"sync"

	"go.etcd.io/bbolt"
)

// Limits of one transaction that several writers share.
const (
	maxShared      = 256
	maxSharedBytes = 8 << 20
)

// groupCommit lets concurrent writers share transactions. A writer that finds
// none running commits. When it is done, the first waiting writer commits for
// all that wait.
type groupCommit struct {
	commit func([]*pendingWrite)

	mu      sync.Mutex
	busy    bool
	waiting []*pendingWrite
}

type pendingWrite struct {
	ctx   context.Context
	size  int
	apply func(*bbolt.Tx) error
	err   error
	done  chan bool // True: commit for all that wait. False: err is the result.
}

// do runs apply in a transaction and returns when that is synced or has failed.
// An apply that returns an error must have changed nothing.
func (ws *groupCommit) do(ctx context.Context, size int, apply func(*bbolt.Tx) error) error {
	w := &pendingWrite{ctx: ctx, size: size, apply: apply, done: make(chan bool, 1)}
	ws.mu.Lock()
	leads := !ws.busy
	ws.busy = true
	ws.waiting = append(ws.waiting, w)
	ws.mu.Unlock()
	if !leads {
		leads = <-w.done
	}
	if leads {
		ws.leadCommit()
	}
	return w.err
}

// leadCommit commits for the first waiting writers, one of which is the caller.
func (ws *groupCommit) leadCommit() {
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
		ws.waiting[0].done <- true
	}
	ws.mu.Unlock()
	for _, w := range batch[1:] {
		w.done <- false
	}
}

var errNothing = errors.New("nothing to commit")

// commit runs a batch in one transaction.
func (d *Documents) commit(batch []*pendingWrite) {
	err := d.f.update(func(tx *bbolt.Tx) error {
		applied := 0
		for _, w := range batch {
			// Skip writers that have stopped waiting. Beyond this point the write is
			// done.
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
