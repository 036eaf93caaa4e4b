package opal

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/storage"
)

// ServeHTTP answers GET with the configuration and the current run, and POST with
// the run that it starts or joins.
func (s *Sync) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return s.get(w, r)
	case http.MethodPost:
		return s.post(w, r)
	}
	p := &osa.Problem{
		Status: http.StatusMethodNotAllowed, Code: osa.CodeMethodNotAllowed,
		Message: "This path answers GET and POST", Header: http.Header{"Allow": {"GET, HEAD, POST"}},
	}
	return p.Handler()
}

func (s *Sync) get(w http.ResponseWriter, r *http.Request) error {
	answer := newStatus(s.settings.Report())
	// The run belongs to the workspace: to everybody else there is none.
	if p := osa.PrincipalOf(r); s.runner != nil && p != nil && s.mayUse(p) {
		switch run, err := s.current(r.Context()); {
		case err == nil:
			rep := newReport(run)
			answer.Run = &rep
		case !errors.Is(err, storage.ErrNotFound):
			// The configuration is what one looks at when something is down.
			answer.RunError = "the event log is not available"
		}
	}
	return writeJSON(w, answer)
}

// viewTimeout bounds the look into the log: a GET has an answer without it.
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
	return workspace == "" || workspace == s.settings.WorkspaceID
}

func (s *Sync) post(w http.ResponseWriter, r *http.Request) error {
	principal := osa.PrincipalOf(r)
	if principal == nil {
		return osa.Unauthenticated(`Bearer realm="osa"`, "api_key", "jwt").Handler()
	}
	if s.runner != nil && !s.mayUse(principal) {
		return osa.AccessDenied([]string{osa.PermAllWorkspaces}, principal.Permissions).Handler()
	}
	body, err := osa.Body(r)
	if err != nil {
		return err
	}
	req, invalid, err := ParseRequest(body)
	if err != nil {
		return otherWorkflow(err).Handler()
	}
	if len(invalid) > 0 {
		return osa.ValidationFailed(invalid...).Handler()
	}
	if rep := s.settings.Report(); !rep.Valid {
		return configurationError(rep.Problems).Handler()
	}
	log, done, err := s.app.Log(r.Context())
	if err != nil {
		return err
	}
	defer done()
	return s.start(w, r, log, Order{
		Request: req, Settings: s.settings, CorrelationID: osa.CorrelationID(r), StartedBy: principal.ID,
		ReceivedAt: osa.ReceivedAt(r), RunTimeout: time.Duration(s.RunTimeout),
	})
}

func (s *Sync) start(w http.ResponseWriter, r *http.Request, log *eventlog.Log, o Order) error {
	d, err := s.runner.Start(r.Context(), log, o)
	switch {
	case errors.Is(err, errStopped):
		return osa.Unavailable("The gateway is changing its configuration", time.Second).Because(err).Handler()
	case errors.Is(err, context.DeadlineExceeded):
		return osa.Unavailable("The event log did not answer in time", 2*time.Second).Because(err).Handler()
	case err != nil:
		return osa.LogProblem(err).Handler()
	case d.Nothing:
		return writeJSON(w, newAnswer(&d.Run, true, "Nothing to retry: every agent of the last run completed"))
	case d.Joined:
		return writeJSON(w, newAnswer(&d.Run, true, "A force sync is already in progress; this request joined it"))
	}
	silence := time.NewTimer(time.Duration(s.AnswerAfter))
	defer silence.Stop()
	select {
	case <-d.Called():
	case <-silence.C:
		return writeJSON(w, newAnswer(&d.Run, false, started(&d.Run)))
	case <-r.Context().Done():
		return r.Context().Err() // nobody is left to be answered; the run goes on
	}
	run, err, replaced := d.Delivered()
	switch {
	case replaced:
		p := &osa.Problem{
			Status: http.StatusConflict, Code: osa.CodeConflict, Err: err,
			Message: "The run was replaced by a forced restart",
			Members: map[string]any{"success": false, "sync_id": run.SyncID, "correlation_id": run.CorrelationID},
		}
		return p.Handler()
	case err != nil:
		return notAccepted(&run, err).Handler()
	}
	return writeJSON(w, newAnswer(&run, false, started(&run)))
}

func otherWorkflow(err error) *osa.Problem {
	return &osa.Problem{
		Status: http.StatusForbidden, Code: osa.CodeAccessDenied, Err: err,
		Message: "ONLY " + WorkflowName + " is permitted",
		Members: map[string]any{"allowed_workflow": WorkflowName},
	}
}
