package osa

import (
	"errors"
	"net/http"
	"time"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/storage"
)

// EventLogError returns the HTTP error for an error of the event log or its store. It
// is nearly always a 503, because the request can be sent again.
func EventLogError(err error) *httperror.Error {
	var rebuild *storage.RebuildError
	switch {
	case errors.As(err, &rebuild):
		p := httperror.Unavailable("What was asked for is being made anew from the event log", 5*time.Second).WithCause(err)
		p.Members = map[string]any{"details": rebuildDetails(rebuild)}
		return p
	case errors.Is(err, storage.ErrRebuilding):
		return httperror.Unavailable("What was asked for is being made anew from the event log", 5*time.Second).WithCause(err)
	case errors.Is(err, storage.ErrBusy):
		return httperror.Unavailable("The event log is catching up", 2*time.Second).WithCause(err)
	case errors.Is(err, storage.ErrNotFound):
		return httperror.NotFound("resource", "").WithCause(err)
	case errors.Is(err, storage.ErrConflict):
		return &httperror.Error{Status: http.StatusConflict, Code: httperror.CodeConflict, Message: "The resource was changed meanwhile", Err: err}
	case errors.Is(err, eventlog.ErrOverloaded):
		return httperror.Unavailable("The event log is overloaded", time.Second).WithCause(err)
	case errors.Is(err, storage.ErrNoSpace):
		return httperror.Unavailable("The event log has no free disk space left", 30*time.Second).WithCause(err)
	case errors.Is(err, eventlog.ErrOutcomeUnknown):
		return httperror.Unavailable("The event could not be confirmed; send it again", time.Second).WithCause(err)
	case errors.Is(err, eventlog.ErrUnavailable), errors.Is(err, eventlog.ErrClosed), errors.Is(err, storage.ErrClosed):
		return httperror.Unavailable("The event log is not available", 2*time.Second).WithCause(err)
	}
	return httperror.Internal(err)
}
