package simulator

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/response"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/modules/osa/requestbody"
)

// maxTrigger is the largest body of a trigger.
const maxTrigger = 1 << 20

// accepted is the response to a trigger.
type accepted struct {
	WorkflowID          string    `json:"workflow_id"`
	WorkflowName        string    `json:"workflow_name"`
	Status              string    `json:"status"`
	AgentsScheduled     []string  `json:"agents_scheduled"`
	CorrelationID       string    `json:"correlation_id,omitempty"`
	EstimatedCompletion time.Time `json:"estimated_completion_time"`
	Simulated           bool      `json:"simulated"`
}

// about is the response to GET.
type about struct {
	Name         string     `json:"name"`
	Simulated    bool       `json:"simulated"`
	WorkflowName string     `json:"workflow_name"`
	Phases       [][]string `json:"phases"`
	DurationMS   int64      `json:"duration_ms"`
	Faults       Faults     `json:"faults"`
	Capacity     int        `json:"capacity"`
	Running      int        `json:"running"`
	Workflows    []Workflow `json:"workflows"`
}

// ServeHTTP implements caddyhttp.MiddlewareHandler. GET answers with the workflows, POST
// takes a trigger.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return response.JSON(w, http.StatusOK, s.about())
	case http.MethodPost:
		return s.trigger(w, r)
	}
	return httperror.MethodNotAllowed("This path answers GET and POST", http.MethodGet, http.MethodHead, http.MethodPost).HandlerError()
}

func (s *Simulator) about() about {
	a := about{
		Name: "OPAL simulator", Simulated: true, WorkflowName: WorkflowName, DurationMS: time.Duration(s.Duration).Milliseconds(),
		Faults: s.Faults, Capacity: maxWorkflows, Workflows: s.runner.Workflows(),
	}
	for _, w := range a.Workflows {
		if w.EndedAt == nil {
			a.Running++
		}
	}
	for _, agent := range agents {
		for len(a.Phases) < agent.phase {
			a.Phases = append(a.Phases, nil)
		}
		a.Phases[agent.phase-1] = append(a.Phases[agent.phase-1], agent.id)
	}
	return a
}

func (s *Simulator) trigger(w http.ResponseWriter, r *http.Request) error {
	if !s.authorized(r) {
		return httperror.Unauthenticated(`Bearer realm="opal-simulator"`, "bearer").HandlerError()
	}
	body, err := requestbody.Read(r)
	if err != nil {
		return err
	}
	if len(body) > maxTrigger {
		p := &httperror.Error{
			Status: http.StatusRequestEntityTooLarge, Code: httperror.CodePayloadTooLarge,
			Message: "The trigger is larger than the simulator accepts", Members: map[string]any{"max_bytes": maxTrigger},
		}
		return p.HandlerError()
	}
	spec, invalid := s.specOf(body, osa.CorrelationID(r))
	if len(invalid) > 0 {
		return httperror.ValidationFailed(invalid...).HandlerError()
	}
	running, err := s.runner.Start(spec, s.secret)
	switch {
	case errors.Is(err, errBusy):
		return httperror.Unavailable("The simulator runs as many workflows as it can", 5*time.Second).WithCause(err).HandlerError()
	case errors.Is(err, errStopped):
		return httperror.Unavailable("The simulator is being stopped", time.Second).WithCause(err).HandlerError()
	case err != nil:
		return httperror.Internal(err).HandlerError()
	}
	return response.JSON(w, http.StatusAccepted, accepted{
		WorkflowID: running.WorkflowID, WorkflowName: WorkflowName, Status: "initiated",
		AgentsScheduled: running.Agents, CorrelationID: running.CorrelationID,
		EstimatedCompletion: running.StartedAt.Add(time.Duration(running.DurationMS) * time.Millisecond), Simulated: true,
	})
}

// authorized compares digests, so that the time it takes reveals neither the key nor its
// length.
func (s *Simulator) authorized(r *http.Request) bool {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return false
	}
	scheme, key, ok := strings.Cut(values[0], " ")
	sent, want := sha256.Sum256([]byte(key)), sha256.Sum256([]byte(s.key))
	return ok && strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sent[:], want[:]) == 1
}
