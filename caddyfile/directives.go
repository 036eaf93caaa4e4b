// Package caddyfile registers every directive of OSA Gateway, and the order in
// which Caddy runs them, in one place.
package caddyfile

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/osa-edge/osa-gateway/modules/auth"
	"github.com/osa-edge/osa-gateway/modules/diagnostics"
	"github.com/osa-edge/osa-gateway/modules/guard"
	opalsync "github.com/osa-edge/osa-gateway/modules/opal/sync"
	"github.com/osa-edge/osa-gateway/modules/osa"
	_ "github.com/osa-edge/osa-gateway/modules/redact" // the log encoder osa_redact
	"github.com/osa-edge/osa-gateway/modules/signature"
	"github.com/osa-edge/osa-gateway/modules/simulator"
	"github.com/osa-edge/osa-gateway/modules/stream"
	"github.com/osa-edge/osa-gateway/modules/webhook"
)

// A directive and the one of Caddy's that it runs just before. Of several before
// the same one, the first in the list runs first.
type directive struct {
	name   string
	before string
	parse  httpcaddyfile.UnmarshalHandlerFunc
}

// directives is the order of docs/api.md §2.6: request id, size and content type →
// authentication → permission → limit → work. Within a `route` block the order
// is the one written.
var directives = []directive{
	// Before anything that could answer, `redir` being the first that does, so
	// that every response has its request id; after `request_body`, whose limit
	// then holds for what osa_guard reads.
	{"osa_guard", "redir", guard.ParseGuard},

	// Where Caddy's own authentication stands: after the path was rewritten,
	// before whatever works.
	{"osa_auth", "basicauth", auth.ParseCaddyfile},
	{"osa_signature", "basicauth", signature.ParseCaddyfile},
	{"osa_require", "basicauth", auth.ParseRequire},

	// Handlers that answer stand where `respond` does: after `handle` and `route`,
	// which choose among them, and after `error`, which refuses.
	{"osa_webhook", "respond", webhook.ParseCaddyfile},
	{"osa_events", "respond", diagnostics.ParseEvents},
	{"osa_diagnostics", "respond", diagnostics.ParseDiagnostics},
	{"osa_health", "respond", diagnostics.ParseHealth},
	{"osa_stream", "respond", stream.ParseCaddyfile},
	{"osa_sync", "respond", opalsync.ParseCaddyfile},
	{"osa_simulator", "respond", simulator.ParseCaddyfile},
	// In handle_errors, after everything that may want to answer an error itself.
	{"osa_error", "respond", guard.ParseError},
}

func init() {
	for _, d := range directives {
		httpcaddyfile.RegisterHandlerDirective(d.name, d.parse)
		httpcaddyfile.RegisterDirectiveOrder(d.name, httpcaddyfile.Before, d.before)
	}
	httpcaddyfile.RegisterGlobalOption("osa", osa.ParseGlobalOption)
}
