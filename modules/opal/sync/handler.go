package sync

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/response"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/modules/osa/requestbody"
	"github.com/osa-edge/osa-gateway/storage"
)

// ServeHTTP implements caddyhttp.MiddlewareHandler. GET answers with the configuration and
// the current run, POST with the run that it starts or joins.
func (s *Sync) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return s.get(w, r)
	case http.MethodPost:
		return s.post(w, r)
	}
	return httperror.MethodNotAllowed("This path answers GET and POST", http.MethodGet, http.MethodHead, http.MethodPost).HandlerError()
}

func (s *Sync) get(w http.ResponseWriter, r *http.Request) error {
	principal, err := osa.Require(r, osa.PermOPALRead)
	if err != nil {
		return err
	}
	out := newGetResponse(s.settings.Report())
	// A run is shown to callers of its workspace only.
	if s.runner != nil && s.mayUse(principal) {
		switch run, err := s.current(r.Context()); {
		case err == nil:
			rep := newReport(run)
			out.Run = &rep
		case !errors.Is(err, storage.ErrNotFound):
			// The configuration is shown all the same: it is what operators look at then.
			out.RunError = "the event log is not available"
		}
	}
	return response.JSON(w, http.StatusOK, out)
}

// viewTimeout is how long GET waits for the run. It answers without it after that.
const viewTimeout = 2 * time.Second

func (s *Sync) current(ctx context.Context) (*Run, error) {
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	log, done, err := s.app.Log(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	entry, err := s.runner.View(ctx, log)
	if err != nil {
		return nil, err
	}
	return &entry.Value, nil
}

func (s *Sync) mayUse(p *osa.Principal) bool {
	workspace := p.Workspace()
	return workspace == "" || workspace == s.settings.Workspace
}

func (s *Sync) post(w http.ResponseWriter, r *http.Request) error {
	principal, err := osa.Require(r, osa.PermOPALTrigger)
	if err != nil {
		return err
	}
	if s.runner != nil && !s.mayUse(principal) {
		return httperror.AccessDenied([]string{osa.PermAllWorkspaces}, principal.Permissions).HandlerError()
	}
	body, err := requestbody.Read(r)
	if err != nil {
		return err
	}
	req, invalid, err := ParseRequest(body)
	if err != nil {
		return otherWorkflow(err).HandlerError()
	}
	if len(invalid) > 0 {
		return httperror.ValidationFailed(invalid...).HandlerError()
	}
	if rep := s.settings.Report(); !rep.Valid {
		return configurationError(rep.Problems).HandlerError()
	}
	log, done, err := s.app.Log(r.Context())
	if err != nil {
		return err
	}
	defer done()
	return s.start(w, r, log, StartOptions{
		Request: req, Settings: s.settings, CorrelationID: osa.CorrelationID(r), StartedBy: principal.ID,
		ReceivedAt: osa.ReceivedAt(r), RunTimeout: time.Duration(s.settings.RunTimeout),
	})
}

func (s *Sync) start(w http.ResponseWriter, r *http.Request, log *eventlog.Log, o StartOptions) error {
	d, err := s.runner.Start(r.Context(), log, o)
	switch {
	case errors.Is(err, errStopped):
		return httperror.Unavailable("The gateway is changing its configuration", time.Second).WithCause(err).HandlerError()
	case errors.Is(err, context.DeadlineExceeded):
		return httperror.Unavailable("The event log did not answer in time", 2*time.Second).WithCause(err).HandlerError()
	case err != nil:
		return osa.EventLogError(err).HandlerError()
	case d.NothingToRetry:
		return response.JSON(w, http.StatusOK, newPostResponse(&d.Run, true, "Nothing to retry: every agent of the last run completed"))
	case d.Joined:
		return response.JSON(w, http.StatusOK, newPostResponse(&d.Run, true, "A force sync is already in progress; this request joined it"))
	}
	timer := time.NewTimer(time.Duration(s.AnswerAfter))
	defer timer.Stop()
	select {
	case <-d.Called():
	case <-timer.C:
		return response.JSON(w, http.StatusOK, newPostResponse(&d.Run, false, startMessage(&d.Run)))
	case <-r.Context().Done():
		return r.Context().Err() // the client has left; the run goes on
	}
	run, err, replaced := d.Outcome()
	switch {
	case replaced:
		p := &httperror.Error{
			Status: http.StatusConflict, Code: httperror.CodeConflict, Err: err,
			Message: "The run was replaced by a forced restart",
			Members: map[string]any{"success": false, "sync_id": run.SyncID, "correlation_id": run.CorrelationID},
		}
		return p.HandlerError()
	case err != nil:
		return notAccepted(&run, err).HandlerError()
	}
	return response.JSON(w, http.StatusOK, newPostResponse(&run, false, startMessage(&run)))
}

func otherWorkflow(err error) *httperror.Error {
	return &httperror.Error{
		Status: http.StatusForbidden, Code: httperror.CodeAccessDenied, Err: err,
		Message: "ONLY " + WorkflowName + " is permitted",
		Members: map[string]any{"allowed_workflow": WorkflowName},
	}
}
