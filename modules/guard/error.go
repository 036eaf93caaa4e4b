package guard

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func init() { caddy.RegisterModule(new(Error)) }

// Error writes the error that a handler returned, in the shape of docs/api.md §3.
// It belongs into handle_errors.
type Error struct {
	// SupportContact is told to the client of an internal error; default null.
	SupportContact string `json:"support_contact,omitempty"`
	// ServiceName is what clients are told of an upstream that failed, where the
	// handler did not name it; default `upstream`.
	ServiceName string `json:"service_name,omitempty"`

	log     *zap.Logger
	sampled *zap.Logger // for errors that may be frequent
}

// CaddyModule returns the Caddy module information.
func (*Error) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_error", New: func() caddy.Module { return new(Error) }}
}

// Provision sets defaults.
func (e *Error) Provision(ctx caddy.Context) error {
	e.log = ctx.Logger()
	e.sampled = e.log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, sampleFirst, sampleThereafter)
	}))
	repl := caddy.NewReplacer()
	var errs []error
	for _, setting := range []struct {
		name  string
		value *string
	}{{"support_contact", &e.SupportContact}, {"service_name", &e.ServiceName}} {
		configured := *setting.value
		if *setting.value = repl.ReplaceAll(configured, ""); configured != "" && *setting.value == "" {
			errs = append(errs, fmt.Errorf("osa_error: %s is empty", osa.DescribeSetting(setting.name, configured)))
		}
	}
	if e.ServiceName == "" {
		e.ServiceName = "upstream"
	}
	return osa.ConfigErrors(ctx, errors.Join(errs...))
}

var errNoError = errors.New("osa_error was reached without an error; it belongs into handle_errors")

// ServeHTTP writes the error of the request as the response.
func (e *Error) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	err, ok := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	if !ok {
		return caddyhttp.Error(http.StatusInternalServerError, errNoError)
	}
	if committed, _ := caddyhttp.GetVar(r.Context(), varCommitted).(bool); committed {
		// A part of the response was sent. Closing the connection is the only way to tell
		// the client that it is incomplete.
		e.log.Debug("error after the response began", zap.Error(err), zap.String("request_id", osa.RequestID(r)))
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	requestID := osa.RequestID(r)
	if requestID == "" {
		// The error came before osa_guard, or there is none.
		if requestID = h.Get(keyRequestID); requestID == "" {
			requestID = identify(h, r.Header)
		}
	}
	p := e.complete(httpErrorOf(err), r)
	if p.Status >= 500 {
		e.report(p, err, requestID, r)
	}

	// These headers describe the response that is not sent.
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Range", "Etag", "Last-Modified", "Accept-Ranges"} {
		delete(h, name)
	}
	h[keyRequestID] = []string{requestID}
	if osa.RefuseStream(w, r, p, "") {
		return nil
	}
	for name, values := range p.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	h["Cache-Control"] = []string{"no-store"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	return write(w, r, p, requestID)
}

// Errors of upstreams and of overload are sampled: per second, the first sampleFirst and
// then one of sampleThereafter are logged. Logging each would be most of the cost of a
// refusal, under overload. The metrics count all of them.
const (
	sampleFirst      = 10
	sampleThereafter = 1000
)

// report logs the cause, which the client is not told. Errors of upstreams and of overload
// are warnings.
func (e *Error) report(p *httperror.Error, err error, requestID string, r *http.Request) {
	level, log := zapcore.ErrorLevel, e.log
	switch p.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		level, log = zapcore.WarnLevel, e.sampled
	}
	if c := log.Check(level, "request failed"); c != nil {
		fields := []zap.Field{
			zap.Int("status", p.Status), zap.String("code", p.Code), zap.Error(err), zap.String("request_id", requestID),
			zap.String("method", r.Method), zap.String("path", r.URL.Path),
		}
		if id, ok := p.Members["error_id"].(string); ok {
			fields = append(fields, zap.String("error_id", id))
		}
		c.Write(fields...)
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Error)(nil)
	_ caddyhttp.MiddlewareHandler = (*Error)(nil)
)
