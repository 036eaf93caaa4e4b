package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/osa-edge/osa-gateway/internal/strictjson"
)

// printer prints one message of a stream.
type printer func(message) error

func printerFor(w io.Writer, asJSON bool) printer {
	if asJSON {
		return func(m message) error { return printJSON(w, m) }
	}
	p := painterFor(w)
	return func(m message) error {
		_, err := fmt.Fprintln(w, humanLine(p, m))
		return err
	}
}

// printJSON prints one object a line, whatever the data looks like.
func printJSON(w io.Writer, m message) error {
	out := struct {
		ID    string          `json:"id,omitempty"`
		Event string          `json:"event,omitempty"`
		Data  json.RawMessage `json:"data"`
	}{Event: m.event}
	if m.ownID {
		out.ID = m.id
	}
	out.Data = oneLine([]byte(m.data))
	b, err := json.Marshal(out)
	if err != nil {
		return err
	}
	_, err = w.Write(append(cleanJSON(b), '\n'))
	return err
}

// encodeJSON writes v as one line of JSON that a terminal can show.
func encodeJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(cleanJSON(b), '\n'))
	return err
}

// fields are what a line shows of an event's data.
type fields struct {
	Timestamp      string          `json:"timestamp"`
	WorkflowID     string          `json:"workflow_id"`
	AgentID        string          `json:"agent_id"`
	PreviousStatus string          `json:"previous_status"`
	CurrentStatus  string          `json:"current_status"`
	Status         string          `json:"status"`
	ExecutionMS    *float64        `json:"execution_time_ms"`
	Completed      *int            `json:"completed_agents"`
	Total          *int            `json:"total_agents"`
	Percentage     *float64        `json:"progress_percentage"`
	ErrorType      string          `json:"error_type"`
	Message        string          `json:"message"`
	Severity       string          `json:"severity"`
	Reason         string          `json:"reason"`
	Type           string          `json:"type"`
	UpdateType     string          `json:"updateType"`
	Data           json.RawMessage `json:"data"`
}

// humanLine formats an event in one line: time, name, agent, outcome, workflow.
func humanLine(p paint, m message) string {
	var f fields
	if strictjson.Unmarshal([]byte(m.data), &f) != nil {
		return clean(m.event + " " + m.data)
	}
	name := m.event
	if name == "" {
		name = f.UpdateType
		if name == "" {
			name = f.Type
		}
		// Unnamed messages carry what they are about one level down.
		// The copy is needed: f.Data is overwritten while it is read.
		_ = strictjson.Unmarshal(bytes.Clone(f.Data), &f)
	}
	when := "        "
	if t, err := time.Parse(time.RFC3339, f.Timestamp); err == nil {
		when = t.Local().Format("15:04:05")
	}
	parts := []string{
		p.dim(when),
		p.cyan(fmt.Sprintf("%-24s", clean(name))),
		p.bold(fmt.Sprintf("%-29s", clean(f.AgentID))),
		outcome(p, &f),
	}
	if f.WorkflowID != "" {
		parts = append(parts, p.dim(clean(f.WorkflowID)))
	}
	if m.ownID {
		parts = append(parts, p.dim(clean(m.id)))
	}
	return strings.TrimRight(strings.Join(parts, "  "), " ")
}

func outcome(p paint, f *fields) string {
	status := f.CurrentStatus
	if status == "" {
		status = f.Status
	}
	var out []string
	if status != "" {
		s := clean(status)
		if f.PreviousStatus != "" && f.PreviousStatus != status {
			s = clean(f.PreviousStatus) + " → " + s
		}
		out = append(out, colourOf(p, status)(s))
	}
	if f.Completed != nil && f.Total != nil {
		out = append(out, fmt.Sprintf("%d/%d agents", *f.Completed, *f.Total))
	}
	if f.Percentage != nil {
		out = append(out, fmt.Sprintf("%.0f %%", *f.Percentage))
	}
	if f.ExecutionMS != nil {
		out = append(out, fmt.Sprintf("%.1fs", *f.ExecutionMS/1000))
	}
	for _, s := range []string{f.Severity, f.ErrorType, f.Message, f.Reason} {
		if s != "" {
			out = append(out, p.red(clean(s)))
		}
	}
	return strings.Join(out, "  ")
}

func colourOf(p paint, status string) func(string) string {
	switch strings.ToLower(status) {
	case "completed", "success":
		return p.green
	case "failed", "failure", "timeout", "error":
		return p.red
	}
	return p.yellow
}

// printOutcome prints what a command did: a line for people, or one object.
func printOutcome(w io.Writer, asJSON bool, line string, object map[string]any) error {
	if !asJSON {
		_, err := fmt.Fprintln(w, clean(line))
		return err
	}
	return encodeJSON(w, object)
}
