package eventlog

import (
	"context"
	"errors"

	"github.com/osa-edge/osa-gateway/internal/admission"
)

// Refuses is why an event would be refused now, or nil: the store cannot be
// written, or too much waits. It costs next to nothing, so callers ask before they
// read what is sent.
func (l *Log) Refuses() error {
	err := l.refuses()
	if err != nil {
		l.opt.Observer.Refused(err)
	}
	return err
}

// Admit waits for a place among those who append, two seconds at most, for an
// event with a body of size bytes. Callers who have work to do before they append
// ask first: what cannot be kept is refused before anything more was spent on it.
// The place is a's until a is released.
func (l *Log) Admit(ctx context.Context, a *admission.Admission, size int) error {
	err := l.refuses()
	if err == nil {
		err = a.Enter(ctx, l.opt.Admission, int64(size), l.stop)
		if errors.Is(err, context.Canceled) && ctx.Err() == nil {
			err = ErrClosed
		}
	}
	if err != nil && ctx.Err() == nil {
		l.opt.Observer.Refused(err)
	}
	return err
}
