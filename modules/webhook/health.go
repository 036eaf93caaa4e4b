package webhook

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/storage"
)

// healthTimeout bounds the look into the log.
const healthTimeout = 5 * time.Second

// health is a receiver's answer to GET: open to all, so without anything of what
// was received.
type health struct {
	Status      string     `json:"status"`
	Source      string     `json:"source"`
	Methods     []string   `json:"methods"`
	Signature   signature  `json:"signature"`
	LastEventAt *time.Time `json:"last_event_at"`
	Message     string     `json:"message,omitempty"`
	Timestamp   time.Time  `json:"timestamp"`
}

type signature struct {
	Required bool `json:"required"`
	// Scheme is null where no signature is checked, or none could be.
	Scheme *string `json:"scheme"`
}

func (h *Handler) health(w http.ResponseWriter, r *http.Request) error {
	log, done, err := h.app.Log(r.Context())
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	answer := health{
		Status: "healthy", Source: h.Source, Methods: methods,
		Signature: signature{Required: h.Unsigned == ""},
		Timestamp: time.Now().UTC().Truncate(time.Millisecond),
	}
	if v := osa.VerifiedOf(r); v != nil && v.Scheme != "" {
		answer.Signature.Scheme = &v.Scheme
	}
	last, err := lastEvent(ctx, log, h.Source)
	if err != nil {
		if r.Context().Err() != nil {
			return nil // nobody is there to be answered
		}
		return osa.LogProblem(err).Handler()
	}
	if last != nil {
		at := last.ReceivedAt.Truncate(time.Millisecond)
		answer.LastEventAt = &at
	}
	store, err := log.Store()
	if err == nil {
		err = store.Writable()
	}
	switch {
	case err != nil:
		answer.Status, answer.Message = "degraded", "events cannot be stored at the moment"
	case answer.Signature.Required && answer.Signature.Scheme == nil:
		answer.Status, answer.Message = "degraded", "no signature is checked here, so every event is refused"
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return osa.Internal(err).Handler()
	}
	return writeJSON(w, http.StatusOK, body)
}

// lastEvent is the newest webhook of the source, of whatever workspace, or nil.
func lastEvent(ctx context.Context, log *eventlog.Log, source string) (*event.Event, error) {
	q := storage.Query{Filter: event.Filter{Sources: []string{source}, WebhooksOnly: true}, Limit: 1}
	for {
		page, err := log.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		if len(page.Events) > 0 {
			return page.Events[0], nil
		}
		if page.Next == 0 {
			return nil, nil
		}
		q.After = page.Next // the engine ended the page early; ctx bounds the rest
	}
}
