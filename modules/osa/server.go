package osa

import (
	"runtime"
	"slices"
	"sync"
	"weak"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/internal/misdirected"
)

// servers are those that UseServer has prepared.
var servers = struct {
	sync.Mutex
	prepared map[weak.Pointer[caddyhttp.Server]]struct{}
}{prepared: make(map[weak.Pointer[caddyhttp.Server]]struct{})}

// UseServer prepares the HTTP server that a handler is a part of: its connections
// are counted and bounded, and a host that none of its sites serves is answered
// with 421. Every handler calls it in its Provision; Of does so too. Outside of a
// server it does nothing.
func UseServer(ctx caddy.Context) {
	if ctx.Context == nil || ctx.Value(collecting{}) != nil {
		return
	}
	srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || !prepare(srv) {
		return
	}
	srv.RegisterConnState(conns().State)
	// Routes that are compiled already, as when this is called by a handler of an
	// error route or of a named one, cannot be changed any more.
	if slices.ContainsFunc(srv.Routes, func(r caddyhttp.Route) bool { return len(r.HandlersRaw) > 0 }) {
		misdirected.Refuse(srv, handlerPrefix)
	}
}

// prepare reports whether the server is a new one.
func prepare(srv *caddyhttp.Server) bool {
	key := weak.Make(srv)
	servers.Lock()
	defer servers.Unlock()
	if _, known := servers.prepared[key]; known {
		return false
	}
	servers.prepared[key] = struct{}{}
	runtime.AddCleanup(srv, forget, key)
	return true
}

func forget(key weak.Pointer[caddyhttp.Server]) {
	servers.Lock()
	defer servers.Unlock()
	delete(servers.prepared, key)
}
