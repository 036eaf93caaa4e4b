// Package guard has the first and the last handler of a request: osa_guard gives it an id
// and limits its body, and osa_error writes all errors in the same form.
package guard

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/memory"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/modules/osa/requestbody"
)

func init() { caddy.RegisterModule(new(Guard)) }

// Guard is the first handler of a request (docs/api.md §2.6). It assigns the request id and
// checks the size and type of the body by the headers, before authentication. The handlers
// behind it read the body.
type Guard struct {
	// MaxBody is the largest body in bytes; default 10 MiB. More is 413.
	MaxBody int64 `json:"max_body,omitempty"`
	// ContentTypes are the types that a body may have. One `*` matches anything, as in
	// `text/*`. Default: application/json and application/*+json. Others are 415.
	ContentTypes []string `json:"content_types,omitempty"`
	// MaxInflight bounds the bytes of all bodies that are held at once, in this
	// process. Default is their share of the memory that the process may use: 48
	// MiB of 256, 256 MiB at most. Three quarters are for bodies whose sender is not
	// known yet, one is for authenticated callers. More is 503 with Retry-After.
	MaxInflight int64 `json:"max_inflight,omitempty"`
	// MinRate is how many bytes a second of a body have to arrive; default 4096.
	MinRate int64 `json:"min_rate,omitempty"`
	// Grace is how long a body may be behind its MinRate before it is ended with
	// 408; default 5s.
	Grace caddy.Duration `json:"grace,omitempty"`

	ctx      caddy.Context
	log      *zap.Logger
	limits   *requestbody.Limits
	types    mediaTypes
	typesErr error
}

// CaddyModule returns the Caddy module information.
func (*Guard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_guard", New: func() caddy.Module { return new(Guard) }}
}

// Provision sets defaults.
func (g *Guard) Provision(ctx caddy.Context) error {
	g.ctx, g.log = ctx, ctx.Logger()
	osa.UseServer(ctx)
	if g.MaxBody == 0 {
		g.MaxBody = requestbody.DefaultMaxSize
	}
	if g.MaxInflight == 0 {
		g.MaxInflight = max(memory.Process().Bodies, g.MaxBody)
	}
	if g.MinRate == 0 {
		g.MinRate = requestbody.DefaultMinRate
	}
	if g.Grace == 0 {
		g.Grace = caddy.Duration(requestbody.DefaultGrace)
	}
	g.limits = requestbody.NewLimits(g.MaxBody, g.MaxInflight, g.MinRate, time.Duration(g.Grace))
	if g.ContentTypes == nil {
		g.ContentTypes = []string{"application/json", "application/*+json"}
	}
	g.types, g.typesErr = parseMediaTypes(g.ContentTypes)
	return osa.RegisterAdmissionMetrics(ctx)
}

// Validate names everything that is wrong at once.
func (g *Guard) Validate() error {
	var errs []error
	if g.MaxBody < 0 {
		errs = append(errs, errors.New("max_body must be positive"))
	}
	if g.MinRate < 0 {
		errs = append(errs, errors.New("min_rate must be positive"))
	}
	if g.Grace < 0 {
		errs = append(errs, errors.New("the grace of min_rate must be positive"))
	}
	if g.MaxInflight < g.MaxBody {
		errs = append(errs, fmt.Errorf("max_inflight is %d and smaller than max_body, %d: the largest body could never be read",
			g.MaxInflight, g.MaxBody))
	}
	if err := errors.Join(append(errs, g.typesErr)...); err != nil {
		return osa.ConfigErrors(g.ctx, fmt.Errorf("osa_guard: %w", err))
	}
	return nil
}

// ServeHTTP gives the request its ids, checks size and type of the body by the
// headers, and bounds what later handlers read of it.
func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	osa.SetRequest(r, identify(w.Header(), r.Header), correlate(w.Header(), r.Header), time.Now())
	g.noteForwarded(r)
	gw := &writer{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	defer gw.finishBody()
	defer g.finish(gw, r, &err)
	if requestbody.Exists(r) {
		if err := g.limitBody(r, gw); err != nil {
			return err
		}
	}
	return next.ServeHTTP(gw, r)
}

// finish is deferred. It makes a panic a 500, in the form of all other errors.
func (g *Guard) finish(w *writer, r *http.Request, err *error) {
	if v := recover(); v != nil {
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v)
		}
		g.log.Error("handler panicked", zap.Any("panic", v), zap.String("request_id", osa.RequestID(r)),
			zap.ByteString("stack", debug.Stack()))
		*err = httperror.Internal(fmt.Errorf("panic: %v", v)).HandlerError()
	}
	if *err != nil && w.committed {
		caddyhttp.SetVar(r.Context(), varCommitted, true)
	}
}

// varCommitted is set if the response had begun before the error.
const varCommitted = "osa.committed"

// Interface guards
var (
	_ caddy.Provisioner           = (*Guard)(nil)
	_ caddy.Validator             = (*Guard)(nil)
	_ caddyhttp.MiddlewareHandler = (*Guard)(nil)
)
