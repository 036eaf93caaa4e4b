package osa

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/osa-edge/osa-gateway/internal/fair"
)

const (
	// backupStall is how long a reader of a backup may take nothing: the store
	// waits for it when it closes.
	backupStall = 10 * time.Second
	// backupChunk is how much of a backup is made in one turn.
	backupChunk = 1 << 20
	// backupWrite is what its reader has to take within backupStall.
	backupWrite = 256 << 10
	// backupKey is what backups take turns by.
	backupKey = "backup"
)

var errAnswers = errors.New("the answers' share of memory is taken")

// backupWriter sends a backup. The store makes it in turns with what else is read
// in bulk: it has one whenever it is not in Write. Nothing is sent during a turn,
// for as long as its reader may take for that.
type backupWriter struct {
	ctx     context.Context
	w       http.ResponseWriter
	c       *http.ResponseController
	bulk    *fair.Limiter
	buf     []byte
	release func() // nil between turns
}

// newBackupWriter begins the first turn; close it.
func newBackupWriter(ctx context.Context, w http.ResponseWriter, bulk *fair.Limiter) (*backupWriter, error) {
	if !Answers().Acquire(backupKey, backupChunk) {
		return nil, errAnswers
	}
	b := &backupWriter{ctx: ctx, w: w, c: http.NewResponseController(w), bulk: bulk}
	if err := b.turn(); err != nil {
		Answers().Release(backupKey, backupChunk)
		return nil, err
	}
	b.buf = make([]byte, 0, backupChunk)
	return b, nil
}

func (b *backupWriter) turn() (err error) {
	b.release, err = b.bulk.Acquire(b.ctx, backupKey)
	return err
}

// Write takes p and, where that makes a chunk, sends it and waits for the next
// turn.
func (b *backupWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		took := min(len(p), backupChunk-len(b.buf))
		b.buf = append(b.buf, p[:took]...)
		p, n = p[took:], n+took
		if len(b.buf) < backupChunk {
			break
		}
		if err := b.flush(); err != nil {
			return n, err
		}
		if err := b.turn(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// flush ends the turn and sends what there is.
func (b *backupWriter) flush() error {
	b.end()
	for p := b.buf; len(p) > 0; {
		part := p[:min(len(p), backupWrite)]
		if err := b.c.SetWriteDeadline(time.Now().Add(backupStall)); err != nil {
			return err
		}
		if _, err := b.w.Write(part); err != nil {
			return err
		}
		p = p[len(part):]
	}
	b.buf = b.buf[:0]
	return nil
}

func (b *backupWriter) end() {
	if b.release != nil {
		b.release()
		b.release = nil
	}
}

// close ends the turn and lifts the deadline: the connection may have other
// requests to come.
func (b *backupWriter) close() {
	b.end()
	Answers().Release(backupKey, backupChunk)
	_ = b.c.SetWriteDeadline(time.Time{})
}
