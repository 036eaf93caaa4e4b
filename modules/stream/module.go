package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/osa-edge/osa-gateway/hub"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func init() {
	caddy.RegisterModule(new(Handler))
	// Streams may outlive the last configuration that had this handler.
	caddy.OnExit(func(ctx context.Context) { _ = serverStopped(ctx) })
}

// Defaults of a Handler.
const (
	DefaultHeartbeat              = 15 * time.Second
	DefaultWriteTimeout           = 30 * time.Second
	DefaultMaxStreams             = 10000
	DefaultMaxStreamsPerPrincipal = 100
)

// maxHeartbeat keeps well under the minute after which Caddy and most proxies
// take a silent connection for dead.
const maxHeartbeat = 50 * time.Second

// Handler streams the event log as Server-Sent Events.
type Handler struct {
	// Heartbeat is how often a comment goes out; default 15s, at most 50s.
	Heartbeat caddy.Duration `json:"heartbeat,omitempty"`
	// WriteTimeout closes a stream whose client takes nothing for so long;
	// default 30s.
	WriteTimeout caddy.Duration `json:"write_timeout,omitempty"`
	// MaxStreams bounds the open streams of the process; default 10000.
	MaxStreams int `json:"max_streams,omitempty"`
	// MaxStreamsPerPrincipal bounds those of one key, token or session, or of
	// one address where readers are anonymous; default 100.
	MaxStreamsPerPrincipal int `json:"max_streams_per_principal,omitempty"`
	// OnSlow is what becomes of a reader that falls behind: `catch_up` (it is
	// read from the log, the default), `latest` (it skips ahead and is told how
	// much) or `disconnect`.
	OnSlow string `json:"on_slow,omitempty"`
	// KeepConnections keeps a handler for each stream until it ends. Otherwise
	// HTTP/1.1 connections are taken over on Linux, with TLS or without, and the
	// handlers of HTTP/2 return once the stream is live, which costs a fraction of
	// the memory. The access log line is still written when the stream ends, but
	// Caddy's own metrics count the request as done before that: see
	// osa_stream_open for what is open.
	KeepConnections bool `json:"keep_connections,omitempty"`

	ctx      caddy.Context
	app      *osa.App
	log      *zap.Logger
	policy   hub.Policy
	refusals *zap.Logger // of which there may be floods
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_stream", New: func() caddy.Module { return new(Handler) }}
}

// Provision sets defaults and finds the app.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.ctx = ctx
	// Streams outlive the configuration, and so does what they log to.
	h.log = caddy.Log().Named("http.handlers.osa_stream")
	h.refusals = h.log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, 10, 1000)
	}))
	if h.Heartbeat == 0 {
		h.Heartbeat = caddy.Duration(DefaultHeartbeat)
	}
	if h.WriteTimeout == 0 {
		h.WriteTimeout = caddy.Duration(DefaultWriteTimeout)
	}
	if h.MaxStreams == 0 {
		h.MaxStreams = DefaultMaxStreams
	}
	if h.MaxStreamsPerPrincipal == 0 {
		h.MaxStreamsPerPrincipal = DefaultMaxStreamsPerPrincipal
	}
	if h.OnSlow == "" {
		h.OnSlow = "catch_up"
	}
	h.policy = policies[h.OnSlow]
	app, err := osa.Of(ctx)
	if err != nil {
		return err
	}
	h.app = app
	if srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		srv.RegisterOnShutdown(serverShutdown)
		srv.RegisterOnStop(serverStopped)
		srv.RegisterConnContext(withConn)
		if !h.KeepConnections {
			srv.RegisterConnContext(detachable)
		}
	}
	return osa.RegisterCollectors(ctx, collector{}, lasted)
}

// serverShutdown runs when a server stops: at a reload, which streams survive,
// and at exit, which waits for them.
func serverShutdown() {
	if caddy.Exiting() {
		the.drain()
	}
}

// serverStopped runs when a server has stopped. It did not wait for connections
// that were taken over, so that is done here.
func serverStopped(ctx context.Context) error {
	if caddy.Exiting() {
		the.drain()
		the.wait(ctx)
	}
	return nil
}

// Validate names everything that is wrong at once.
func (h *Handler) Validate() error {
	var errs []error
	if h.Heartbeat < 0 || time.Duration(h.Heartbeat) > maxHeartbeat {
		errs = append(errs, fmt.Errorf("heartbeat is %v; it must be positive and at most %v, or proxies take the stream for dead",
			time.Duration(h.Heartbeat), maxHeartbeat))
	}
	if h.WriteTimeout < 0 {
		errs = append(errs, errors.New("write_timeout must be positive"))
	}
	if h.MaxStreams < 0 {
		errs = append(errs, errors.New("max_streams must be positive"))
	}
	if h.MaxStreamsPerPrincipal < 0 {
		errs = append(errs, errors.New("max_streams_per_principal must be positive"))
	}
	if _, ok := policies[h.OnSlow]; !ok {
		errs = append(errs, fmt.Errorf("on_slow is %q; it must be catch_up, latest or disconnect", h.OnSlow))
	}
	if err := errors.Join(errs...); err != nil {
		return osa.ConfigErrors(h.ctx, fmt.Errorf("osa_stream: %w", err))
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
