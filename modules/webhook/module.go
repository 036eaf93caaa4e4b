// Package webhook is the handler `osa_webhook`: it turns a webhook whose
// signature was verified into an event, makes it durable and answers. What a
// sender's bodies mean is said by a Mapping.
package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/modules/osa/requestbody"
)

func init() { caddy.RegisterModule(new(Handler)) }

// methods are what a receiver answers to.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost}

// Handler receives the webhooks of one source. It answers every request that
// reaches it, and refuses a POST that no osa_signature has verified.
type Handler struct {
	// Source is the sender's name: the source of the events that it stores.
	Source string `json:"source"`
	// MappingRaw is the mapping that reads the bodies: a module in the namespace
	// osa.mapping. Default is the one with the name of the source.
	MappingRaw json.RawMessage `json:"mapping,omitempty" caddy:"namespace=osa.mapping inline_key=name"`
	// DuplicateStatus is the status of the answer to an event that the log
	// already holds: 200, the default, or 409.
	DuplicateStatus int `json:"duplicate_status,omitempty"`

	ctx        caddy.Context
	app        *osa.App
	log        *zap.Logger
	mapping    Mapping
	mappingErr error
	metrics    sourceMetrics
	scheme     func() *string // of the osa_signature before, nil if there is none
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_webhook", New: func() caddy.Module { return new(Handler) }}
}

// Provision sets defaults.
func (h *Handler) Provision(ctx caddy.Context) (err error) {
	h.ctx, h.log = ctx, ctx.Logger()
	if h.app, err = osa.Of(ctx); err != nil {
		return err
	}
	if h.DuplicateStatus == 0 {
		h.DuplicateStatus = http.StatusOK
	}
	h.mappingErr = h.loadMapping(ctx)
	h.scheme = sync.OnceValue(h.schemeBefore)
	h.metrics = metricsOf(h.Source)
	return registerMetrics(ctx)
}

// loadMapping loads the mapping. Validate reports its error together with others.
func (h *Handler) loadMapping(ctx caddy.Context) error {
	if h.MappingRaw == nil {
		if _, err := caddy.GetModule("osa.mapping." + h.Source); err != nil {
			return fmt.Errorf("there is no mapping %q: name one of %s", h.Source, strings.Join(osa.GuestModules("osa.mapping"), ", "))
		}
		h.MappingRaw = caddyconfig.JSON(map[string]string{"name": h.Source}, nil)
	}
	mod, err := ctx.LoadModule(h, "MappingRaw")
	if err != nil {
		return fmt.Errorf("loading the mapping: %w", err)
	}
	mapping, ok := mod.(Mapping)
	if !ok {
		return fmt.Errorf("%T is not a mapping", mod)
	}
	h.mapping = mapping
	return nil
}

var sourceName = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,63}$`)

// Validate names everything that is wrong at once.
func (h *Handler) Validate() error { return osa.ConfigErrors(h.ctx, h.validate()) }

func (h *Handler) validate() error {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("osa_webhook %s: "+format, append([]any{h.Source}, args...)...))
	}
	switch {
	case !sourceName.MatchString(h.Source):
		wrong("the source must be a name of lower-case letters, digits, '_', '.' and '-', 64 at most")
	case h.Source == event.SourceGateway:
		wrong("the source %q is kept for events that the gateway makes itself", h.Source)
	case h.mappingErr != nil:
		wrong("%w", h.mappingErr)
	}
	if h.DuplicateStatus != http.StatusOK && h.DuplicateStatus != http.StatusConflict {
		wrong("duplicate_status is %d; it must be 200 or 409", h.DuplicateStatus)
	}
	return errors.Join(errs...)
}

// ServeHTTP answers a webhook, or tells the receiver's health.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	switch r.Method {
	case http.MethodPost:
		return h.receive(w, r)
	case http.MethodGet, http.MethodHead:
		return h.health(w, r)
	}
	return httperror.MethodNotAllowed("This endpoint answers to GET, HEAD and POST", methods...).HandlerError()
}

func (h *Handler) receive(w http.ResponseWriter, r *http.Request) error {
	received := osa.ReceivedAt(r)
	workspace := workspaceOf(r)
	if workspace == "" {
		h.reject(r, reasonUnsigned)
		return httperror.Unauthenticated(`HMAC realm="osa"`, "hmac").
			WithCause(errors.New("no verified signature: osa_signature must come before osa_webhook")).HandlerError()
	}
	log, done, err := h.app.Log(r.Context())
	if err != nil {
		h.reject(r, reasonUnavailable)
		return err
	}
	defer done()
	body, err := requestbody.Read(r)
	if err != nil {
		h.reject(r, reasonBody)
		return err
	}
	// More than can be committed is turned away before anything more is spent on it.
	if err := log.AcquireSlot(r.Context(), requestbody.AdmissionOf(r), len(body)); err != nil {
		return h.storeFailed(r, err)
	}
	defer requestbody.Release(r)
	if err := checkBody(body); err != nil {
		h.reject(r, reasonOf(err))
		return httperror.ValidationFailed(httperror.Invalid{Field: "body", Message: err.Error()}).HandlerError()
	}
	e := &event.Event{
		ReceivedAt:  received.UTC(), // keeps the monotonic reading
		WorkspaceID: workspace,
		Source:      h.Source,
		BodyDigest:  sha256.Sum256(body),
		Size:        len(body),
		Body:        body,
	}
	if bad := h.mapping.Map(body, e); len(bad) > 0 {
		h.reject(r, reasonFields)
		return httperror.ValidationFailed(bad...).HandlerError()
	}
	if e.CorrelationID == "" {
		e.CorrelationID = osa.CorrelationID(r)
	}
	return h.store(w, r, log, e, received)
}

// Writable implements osa.Receiver.
func (h *Handler) Writable() error {
	log, done, err := h.app.OpenLog()
	if err != nil {
		return nil //nolint:nilerr // receive waits for it
	}
	defer done()
	if err := log.Writable(); err != nil {
		h.metrics.rejected(reasonOf(err)).Inc()
		return osa.EventLogError(err).HandlerError()
	}
	return nil
}

// workspaceOf is the one that the event belongs to, "" if nothing vouches for it.
func workspaceOf(r *http.Request) string {
	if v := osa.VerifiedOf(r); v != nil && v.SecretID != "" {
		return v.WorkspaceID
	}
	return ""
}

// store makes the event durable and answers.
func (h *Handler) store(w http.ResponseWriter, r *http.Request, log *eventlog.Log, e *event.Event, received time.Time) error {
	result, err := log.Append(r.Context(), e)
	if err != nil {
		return h.storeFailed(r, err)
	}
	requestbody.Release(r) // the log has it
	took := time.Since(received)
	status, outcome := http.StatusOK, h.metrics.processed
	switch {
	case result.Duplicate:
		status, outcome = h.DuplicateStatus, h.metrics.duplicate
	case e.PayloadMismatch:
		outcome = h.metrics.mismatch
	}
	outcome.Inc()
	h.metrics.duration.Observe(took.Seconds())
	if c := h.log.Check(zap.DebugLevel, "webhook stored"); c != nil {
		c.Write(zap.String("source", h.Source), zap.String("id", event.FormatID(result.Seq)),
			zap.Bool("duplicate", result.Duplicate), zap.String("kind", string(e.Kind)), zap.Int("size", e.Size),
			zap.Duration("took", took), zap.String("request_id", osa.RequestID(r)))
	}
	return answer(w, status, result, e, took)
}

// statusClientClosed is what the access log says of a sender who did not wait.
const statusClientClosed = 499

func (h *Handler) storeFailed(r *http.Request, err error) error {
	switch {
	case r.Context().Err() != nil:
		// The sender left; the event may be in the log all the same.
		h.reject(r, reasonCanceled)
		return caddyhttp.Error(statusClientClosed, err)
	case errors.Is(err, context.DeadlineExceeded):
		// The disk hangs. A sender that is told 503 sends the event again, and if
		// it was written after all, learns its id.
		h.reject(r, reasonTimeout)
		return httperror.Unavailable("The event could not be confirmed in time; send it again", time.Second).WithCause(err).HandlerError()
	}
	h.reject(r, reasonOf(err))
	return osa.EventLogError(err).HandlerError()
}

// reject counts a request that left nothing in the log.
func (h *Handler) reject(r *http.Request, reason string) {
	h.metrics.rejected(reason).Inc()
	if c := h.log.Check(zap.DebugLevel, "webhook rejected"); c != nil {
		c.Write(zap.String("source", h.Source), zap.String("reason", reason), zap.String("request_id", osa.RequestID(r)))
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ osa.Receiver                = (*Handler)(nil)
)
