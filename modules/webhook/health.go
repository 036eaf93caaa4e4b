package webhook

import (
	"context"
	"net/http"
	"time"

	"github.com/osa-edge/osa-gateway/internal/response"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// healthTimeout is how long it is waited, after a start, for the last event's time.
const healthTimeout = time.Second

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
	// Scheme is null where no signature is checked.
	Scheme *string `json:"scheme"`
}

// schemeBefore is the scheme of the osa_signature that stands before, nil if there is
// none. It can be asked for once the configuration runs.
func (h *Handler) schemeBefore() *string {
	v := osa.VerifierBefore(h.ctx, h)
	if v == nil {
		return nil
	}
	name := v.SchemeName()
	return &name
}

func (h *Handler) health(w http.ResponseWriter, r *http.Request) error {
	// Anybody may send this, however often: no request asks the store.
	log, done, err := h.app.OpenLog()
	if err != nil {
		return err
	}
	defer done()
	answer := health{
		Status: "healthy", Source: h.Source, Methods: methods,
		Signature: signature{Required: true, Scheme: h.scheme()},
		Timestamp: time.Now().UTC().Truncate(time.Millisecond),
	}
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	if at := log.LastReceived(ctx, h.Source); !at.IsZero() {
		at = at.Truncate(time.Millisecond)
		answer.LastEventAt = &at
	}
	store, err := log.Store()
	if err == nil {
		err = store.Writable()
	}
	switch {
	case err != nil:
		answer.Status, answer.Message = "degraded", "events cannot be stored at the moment"
	case answer.Signature.Scheme == nil:
		answer.Status, answer.Message = "degraded", "no signature is checked here, so every event is refused"
	}
	return response.JSON(w, http.StatusOK, answer)
}
