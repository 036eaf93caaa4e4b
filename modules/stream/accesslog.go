package stream

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// accessLine is the access log line of a stream whose handler has returned.
// Caddy would write it then, with nothing in it of what the stream became; it is
// kept back and written at the end, as Caddy writes it: same logger, same fields.
type accessLine struct {
	names       []string // of loggers; "" is the one without a name
	level       zapcore.Level
	credentials bool
	request     *http.Request // what is logged of it, and no more
	header      http.Header
	user        string
	start       time.Time
}

// keepAccessLine takes the line over from Caddy, or returns nil where there is to
// be none.
func keepAccessLine(r *http.Request, header http.Header) *accessLine {
	ctx := r.Context()
	srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || srv.Logs == nil {
		return nil
	}
	if skip, _ := caddyhttp.GetVar(ctx, caddyhttp.LogSkipVar).(bool); skip {
		return nil
	}
	caddyhttp.SetVar(ctx, caddyhttp.LogSkipVar, true)
	if !wantsLine(srv.Logs, r.Host) {
		return nil
	}
	line := &accessLine{
		names: loggerNames(srv.Logs, r), level: zap.InfoLevel, credentials: srv.Logs.ShouldLogCredentials,
		header: header,
	}
	if name, ok := caddyhttp.GetVar(ctx, caddyhttp.LogLevelVar).(string); ok {
		if level, err := zapcore.ParseLevel(name); err == nil && level >= zap.DebugLevel && level <= zap.ErrorLevel {
			line.level = level
		}
	}
	if repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		line.user, _ = repl.GetString("http.auth.user.id")
	}
	if line.start, ok = caddyhttp.GetVar(ctx, "start_time").(time.Time); !ok {
		line.start = time.Now()
	}
	// The request as it came, before anything was rewritten.
	seen, ok := ctx.Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok {
		seen = *r
	}
	vars := map[string]any{caddyhttp.ClientIPVarKey: caddyhttp.GetVar(ctx, caddyhttp.ClientIPVarKey)}
	kept := &http.Request{
		Method: seen.Method, Proto: r.Proto, Host: r.Host, RequestURI: seen.RequestURI, RemoteAddr: r.RemoteAddr,
		Header: r.Header.Clone(), TLS: shownTLS(r.TLS),
	}
	line.request = kept.WithContext(context.WithValue(context.Background(), caddyhttp.VarsCtxKey, vars))
	return line
}

// shownTLS is what the log shows of a TLS connection, without what hangs on it.
func shownTLS(state *tls.ConnectionState) *tls.ConnectionState {
	if state == nil {
		return nil
	}
	return &tls.ConnectionState{
		Version: state.Version, HandshakeComplete: state.HandshakeComplete, DidResume: state.DidResume, CipherSuite: state.CipherSuite,
		NegotiatedProtocol: state.NegotiatedProtocol, ServerName: state.ServerName, PeerCertificates: state.PeerCertificates,
		ECHAccepted: state.ECHAccepted,
	}
}

// write writes the line into the logs of the configuration that runs now.
func (l *accessLine) write(size uint64, err error) {
	if l == nil {
		return
	}
	log := caddy.Log().Named("http.log.access")
	var fields []zap.Field
	for _, name := range l.names {
		named := log
		if name != "" {
			named = log.Named(name)
		}
		c := named.Check(l.level, "handled request")
		if c == nil {
			continue
		}
		if fields == nil {
			fields = []zap.Field{
				zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: l.request, ShouldLogCredentials: l.credentials}),
				zap.Int("bytes_read", 0),
				zap.String("user_id", l.user),
				zap.Duration("duration", time.Since(l.start)),
				zap.Uint64("size", size),
				zap.Int("status", http.StatusOK),
				zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: l.header, ShouldLogCredentials: l.credentials}),
			}
			if err != nil {
				fields = append(fields, zap.NamedError("write_error", err))
			}
		}
		c.Write(fields...)
	}
}

// wantsLine tells whether requests to the host are logged, as Caddy decides it.
func wantsLine(logs *caddyhttp.ServerLogConfig, host string) bool {
	host = withoutPort(host)
	for name := range logs.LoggerNames {
		if certmagic.MatchWildcard(host, name) {
			return true
		}
	}
	for _, skipped := range logs.SkipHosts {
		if certmagic.MatchWildcard(host, skipped) {
			return false
		}
	}
	return !logs.SkipUnmappedHosts
}

// loggerNames are those of the access logs that the request goes to.
func loggerNames(logs *caddyhttp.ServerLogConfig, r *http.Request) []string {
	if chosen, ok := caddyhttp.GetVar(r.Context(), caddyhttp.AccessLoggerNameVarKey).([]any); ok {
		var names []string
		for _, name := range chosen {
			if s, ok := name.(string); ok {
				names = append(names, s)
			}
		}
		return names
	}
	host := strings.ToLower(withoutPort(r.Host))
	if names, ok := logs.LoggerNames[host]; ok {
		return slices.Clone(names)
	}
	labels := strings.Split(host, ".")
	for i := range labels {
		if labels[i] == "" {
			continue
		}
		labels[i] = "*"
		if names, ok := logs.LoggerNames[strings.Join(labels, ".")]; ok {
			return slices.Clone(names)
		}
	}
	return []string{logs.DefaultLoggerName}
}

func withoutPort(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return host
}
