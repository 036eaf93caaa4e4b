package simulator

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/network"
	"github.com/osa-edge/osa-gateway/internal/strictjson"
)

const maxIDLen = 256

// trigger is what Force Sync sends (docs/api.md §2.20).
type trigger struct {
	WorkflowName  *string         `json:"workflow_name"`
	WorkflowID    *string         `json:"workflow_id"`
	CorrelationID *string         `json:"correlation_id"`
	CallbackURL   string          `json:"callback_url"`
	SyncScope     json.RawMessage `json:"sync_scope"`
	ClientContext json.RawMessage `json:"client_context"`
	Metadata      struct {
		AgentFilter []string        `json:"agent_filter"`
		Simulator   json.RawMessage `json:"simulator"`
	} `json:"metadata"`
}

// perTrigger is metadata.simulator: faults of this workflow in place of the
// configured ones.
type perTrigger struct {
	DurationMS *float64 `json:"duration_ms"`
	Faults
}

// specOf reads a trigger into the workflow to run.
func (s *Simulator) specOf(body []byte, correlationID string) (Spec, []httperror.Invalid) {
	var t trigger
	if err := strictjson.Unmarshal(body, &t); err != nil {
		if wrong, ok := errors.AsType[*strictjson.Error](err); ok && wrong.Path != "" {
			return Spec{}, []httperror.Invalid{{Field: wrong.Path, Message: string(wrong.Reason)}}
		}
		return Spec{}, []httperror.Invalid{{Field: "body", Message: "must be a JSON object"}}
	}
	var invalid []httperror.Invalid
	refuse := func(field string, err error) {
		if err != nil {
			invalid = append(invalid, httperror.Invalid{Field: field, Message: err.Error()})
		}
	}
	spec := Spec{CallbackURL: t.CallbackURL, CorrelationID: correlationID, SyncScope: t.SyncScope, ClientContext: t.ClientContext}
	if spec.CorrelationID == "" && t.CorrelationID != nil {
		spec.CorrelationID = *t.CorrelationID
	}
	refuse("correlation_id", checkHeaderText(spec.CorrelationID))
	if t.WorkflowName != nil && *t.WorkflowName != WorkflowName {
		refuse("workflow_name", fmt.Errorf("only %s can be run", WorkflowName))
	}
	refuse("callback_url", s.checkCallback(t.CallbackURL))
	var err error
	spec.Agents, err = selectAgents(t.Metadata.AgentFilter)
	refuse("metadata.agent_filter", err)
	spec.Duration, spec.Faults, err = s.faultsFor(t.Metadata.Simulator)
	refuse("metadata.simulator", err)
	spec.WorkflowID = WorkflowName + "_" + newID()
	if t.WorkflowID != nil && !spec.Faults.OwnIDs {
		refuse("workflow_id", checkHeaderText(*t.WorkflowID))
		if *t.WorkflowID != "" {
			spec.WorkflowID = *t.WorkflowID
		}
	}
	return spec, invalid
}

// faultsFor are the configured duration and faults with what one trigger asks for
// in their place.
func (s *Simulator) faultsFor(raw json.RawMessage) (time.Duration, Faults, error) {
	asked := perTrigger{Faults: s.clone()}
	if len(raw) > 0 && string(raw) != "null" { // which is absent, and not no faults
		if err := strictjson.UnmarshalKnown(raw, &asked); err != nil {
			return 0, Faults{}, fmt.Errorf("cannot be read: %w", err)
		}
	}
	duration := time.Duration(s.Duration)
	if ms := asked.DurationMS; ms != nil {
		if *ms < 0 || *ms > float64(maxDuration.Milliseconds()) {
			return 0, Faults{}, fmt.Errorf("duration_ms must be 0 to %d", maxDuration.Milliseconds())
		}
		duration = time.Duration(*ms * float64(time.Millisecond))
	}
	return asked.stretch(duration), asked.Faults, asked.Check()
}

// selectAgents are the agents of the filter in the order in which they run; an
// empty filter selects all.
func selectAgents(filter []string) ([]string, error) {
	for _, id := range filter {
		if _, ok := agentByID(id); !ok {
			return nil, fmt.Errorf("there is no agent %q", id)
		}
	}
	var ids []string
	for _, a := range agents {
		if len(filter) == 0 || containsFold(filter, a.id) {
			ids = append(ids, a.id)
		}
	}
	return ids, nil
}

// checkCallback accepts callback URLs on this machine and on the gateway's base URL
// only. Otherwise a trigger could have the simulator call any host.
func (s *Simulator) checkCallback(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil {
		return errors.New("must be an http or https URL without credentials")
	}
	if network.IsLoopback(u.Hostname()) || (s.baseHost != "" && strings.EqualFold(u.Host, s.baseHost)) {
		return nil
	}
	return errors.New("must be on this machine or on the gateway's own base URL")
}

// checkHeaderText takes what can stand in a header and in an event.
func checkHeaderText(s string) error {
	if len(s) > maxIDLen || !utf8.ValidString(s) {
		return fmt.Errorf("must be at most %d characters", maxIDLen)
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return errors.New("must be printable ASCII")
		}
	}
	return nil
}

func newID() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
