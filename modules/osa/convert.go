package osa

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/storage"
)

// Converter is an Engine whose stores may be of a format that has to be converted
// before they are opened.
type Converter interface {
	// Conversion returns what has to be done, or nil. It is quick.
	Conversion(*zap.Logger) (Conversion, error)
}

// Conversion converts one store. It holds the store until Run has returned.
type Conversion interface {
	Run(context.Context) error
	// Progress is how far it is, in events.
	Progress() storage.RebuildError
}

// opening is a log that is not open yet, because its store is being converted, or
// that is.
type opening struct {
	conversion Conversion // nil: there is none to be done
	cancel     context.CancelFunc
	ready      chan struct{} // closed at the end
	err        error         // why the log did not open; set before ready is closed
}

// convert runs a conversion in the background and opens the log behind it. Its
// goroutine ends with rt.close.
func (rt *Runtime) convert(c Conversion, open func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	rt.opening = opening{conversion: c, cancel: cancel, ready: make(chan struct{})}
	go func() {
		defer cancel()
		err := c.Run(ctx)
		if err == nil {
			err = open()
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			rt.logger.Error("the store cannot be used; restart the gateway when that is mended", zap.Error(err))
		}
		rt.mu.Lock()
		defer rt.mu.Unlock()
		rt.opening.err = err
		close(rt.opening.ready)
		if err == nil {
			// Settings may have changed since.
			if err := rt.settle(); err != nil {
				rt.logger.Error("settings of the event log", zap.Error(err))
			}
		}
	}()
}

// opened reports whether the log is open.
func (rt *Runtime) opened() bool {
	select {
	case <-rt.opening.ready:
		return rt.opening.err == nil
	default:
		return false
	}
}

// usable is nil once the log is open, or what a client hears.
func (rt *Runtime) usable() error {
	if rt.opened() {
		return nil
	}
	select {
	case <-rt.opening.ready:
		return httperror.Unavailable("The store could not be converted; the gateway's log says why", time.Minute).WithCause(rt.opening.err).HandlerError()
	default:
	}
	progress := rt.opening.conversion.Progress()
	p := httperror.Unavailable("The store of an older version is being converted", 5*time.Second).WithCause(&progress)
	p.Members = map[string]any{"details": rebuildDetails(&progress)}
	return p.HandlerError()
}

// rebuildDetails is what a client hears of the progress.
func rebuildDetails(r *storage.RebuildError) map[string]any {
	d := map[string]any{"part": r.Part, "done": r.Done, "total": r.Total}
	if r.Total == 0 {
		d["total"] = nil // not known
	}
	return d
}
