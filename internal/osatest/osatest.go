// Package osatest runs the osa app over a store in memory, for tests of the
// handlers that stand on it.
package osatest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/storage"
)

func init() { caddy.RegisterModule(new(memory)) }

// memory is the engine osa.storage.memory: a store of this process by name.
type memory struct {
	Name string `json:"name"`
}

var stores sync.Map // name → *memstore.Store

func (*memory) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "osa.storage.memory", New: func() caddy.Module { return new(memory) }}
}

func (m *memory) StoreKey() (string, error) { return "memory:" + m.Name, nil }

func (m *memory) StoreOptions() string { return "memory" }

func (m *memory) OpenStore(*zap.Logger, bool) (storage.Store, error) {
	s, ok := stores.Load(m.Name)
	if !ok {
		return nil, fmt.Errorf("no store %q", m.Name)
	}
	return s.(*memstore.Store).Reopen(), nil
}

// Gateway is an osa app for one test.
type Gateway struct {
	App   *osa.App
	Store *memstore.Store

	t   testing.TB
	ctx caddy.Context
}

var count atomic.Int64

// New provisions and starts an app over an empty store; options are further
// members of its JSON, such as "environment".
func New(t testing.TB, options map[string]any) *Gateway {
	g := Stopped(t, memstore.New(), options)
	g.Start()
	return g
}

// Stopped provisions an app over the store without starting it.
func Stopped(t testing.TB, store *memstore.Store, options map[string]any) *Gateway {
	t.Helper()
	name := keep(t, store)
	config := map[string]any{"storage": map[string]any{"engine": "memory", "name": name}, "environment": osa.Production}
	for k, v := range options {
		config[k] = v
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	root, err := caddy.ProvisionContext(&caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true},
		AppsRaw: caddy.ModuleMap{"osa": raw},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(root)
	t.Cleanup(cancel)
	app, err := osa.Of(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &Gateway{App: app, Store: store, t: t, ctx: ctx}
}

// NewStore makes an empty store and returns its name, for a Caddyfile's
//
//	storage memory <name>
func NewStore(t testing.TB) (name string) { return keep(t, memstore.New()) }

func keep(t testing.TB, store *memstore.Store) (name string) {
	name = fmt.Sprintf("%s/%d", t.Name(), count.Add(1))
	stores.Store(name, store)
	t.Cleanup(func() { stores.Delete(name) })
	return name
}

// UnmarshalCaddyfile sets up the engine: its only argument is the name.
func (m *memory) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // engine name
	if !d.Args(&m.Name) || d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

// Start opens the log; it is closed at the end of the test.
func (g *Gateway) Start() {
	g.t.Helper()
	if err := g.App.Start(); err != nil {
		g.t.Fatal(err)
	}
	log := g.Log()
	g.t.Cleanup(func() {
		if err := errors.Join(log.Close(), g.App.Stop()); err != nil {
			g.t.Error(err)
		}
	})
}

// Log is the app's open log.
func (g *Gateway) Log() *eventlog.Log {
	g.t.Helper()
	log, done, err := g.App.Log(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	done()
	return log
}

// Load provisions and validates a handler module from its JSON.
func (g *Gateway) Load(id string, config any) (caddyhttp.MiddlewareHandler, error) {
	g.t.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		g.t.Fatal(err)
	}
	module, err := g.ctx.LoadModuleByID(id, raw)
	if err != nil {
		return nil, err
	}
	return module.(caddyhttp.MiddlewareHandler), nil
}

// MustLoad is Load of what must be right.
func (g *Gateway) MustLoad(id string, config any) caddyhttp.MiddlewareHandler {
	g.t.Helper()
	h, err := g.Load(id, config)
	if err != nil {
		g.t.Fatal(err)
	}
	return h
}

// Counter is the value of one series in the configuration's registry; labels are
// name and value in turn.
func (g *Gateway) Counter(name string, labels ...string) float64 {
	g.t.Helper()
	families, err := g.ctx.GetMetricsRegistry().Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			found := 0
			for _, l := range m.GetLabel() {
				for i := 0; i+1 < len(labels); i += 2 {
					if l.GetName() == labels[i] && l.GetValue() == labels[i+1] {
						found++
					}
				}
			}
			if found == len(labels)/2 {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// Response is what a handler wrote, or the problem that it returned.
type Response struct {
	*httptest.ResponseRecorder
	// Problem is nil unless the handler returned an error that is one.
	Problem *httperror.Error
	Err     error
}

// Status is the status that a client sees.
func (r Response) Status() int {
	var he caddyhttp.HandlerError
	if errors.As(r.Err, &he) {
		return he.StatusCode
	}
	if r.Err != nil {
		return http.StatusInternalServerError
	}
	return r.Code
}

// Serve has the handler answer one request. prepare does what handlers before it
// would, such as osa.SetPrincipal.
func Serve(h caddyhttp.MiddlewareHandler, r *http.Request, prepare ...func(*http.Request)) Response {
	w := httptest.NewRecorder()
	out := Response{ResponseRecorder: w}
	if out.Err = ServeTo(h, w, r, prepare...); out.Err != nil {
		errors.As(out.Err, &out.Problem)
	}
	return out
}

// ServeTo is Serve with a writer of the test's own.
func ServeTo(h caddyhttp.MiddlewareHandler, w http.ResponseWriter, r *http.Request, prepare ...func(*http.Request)) error {
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	for _, p := range prepare {
		p(r)
	}
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusTeapot) // for tests that nothing is handed on
		return nil
	})
	return h.ServeHTTP(w, r, next)
}
