// Package osa is the Caddy app `osa`. It opens the event log and the hub once,
// whatever the number of handlers and however often the configuration is
// reloaded, and holds the words that handlers share: the principal of a request,
// its body and ids, and the one shape of errors.
package osa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/hub"
	"github.com/osa-edge/osa-gateway/internal/fair"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/memory"
	"github.com/osa-edge/osa-gateway/storage"
)

func init() { caddy.RegisterModule(new(App)) }

// DefaultOpenTimeout is how long a request waits for a store that is not open
// yet, before it is answered with 503.
const DefaultOpenTimeout = 5 * time.Second

// Environments that OSA_ENV may name.
const (
	Production  = "production"
	Development = "development"
)

// App is the Caddy app that owns the event log and the hub.
type App struct {
	// StorageRaw is the engine that keeps the log; badger if none is named.
	StorageRaw json.RawMessage `json:"storage,omitempty" caddy:"namespace=osa.storage inline_key=engine"`
	// Retention is how long events are kept; default 30d, at least 24h.
	Retention caddy.Duration `json:"retention,omitempty"`
	// QueueEvents bounds how many events wait for a commit; default 16384. More
	// are refused with 503 and Retry-After.
	QueueEvents int `json:"queue_events,omitempty"`
	// QueueBytes bounds the bodies that wait for a commit; default 64 MiB, or
	// the bodies' share of the memory if that is less.
	QueueBytes int64 `json:"queue_bytes,omitempty"`
	// OpenTimeout is how long a request waits for a store that is not open yet;
	// default 5s.
	OpenTimeout caddy.Duration `json:"open_timeout,omitempty"`
	// MaxConnections bounds the open connections of all servers that have handlers
	// of this gateway. Default is what the file descriptors of the process leave to
	// connections, or what fits into a quarter of its memory at 16 KiB each,
	// whichever is less. More descriptors than there are it does not give.
	MaxConnections int `json:"max_connections,omitempty"`
	// Environment is `production` or `development`; default is the environment
	// variable OSA_ENV, then NODE_ENV, then production.
	Environment string `json:"environment,omitempty"`
	// BaseURLConfig is the URL by which OPAL and clients reach the gateway; default
	// {env.BASE_URL}.
	BaseURLConfig string `json:"base_url,omitempty"`
	// OPALConfig is where the OPAL platform is.
	OPALConfig *OPAL `json:"opal,omitempty"`
	// AuthRaw are the ways in, by names that routes use: modules in the namespace
	// osa.auth, such as `key` and `jwt`. A module's name is in its `provider`.
	AuthRaw map[string]json.RawMessage `json:"auth,omitempty" caddy:"namespace=osa.auth inline_key=provider"`

	auth         *authSet
	authProblems error
	// problems are all that Validate found, and told whether they were reported.
	problems error
	told     bool

	baseURL string
	opal    OPAL

	connections int // that are allowed

	engine   Engine
	ctx      caddy.Context
	log      *zap.Logger
	storeKey string
	acquired bool
	use      *use
	opened   chan struct{} // closed once runtime is set
	runtime  atomic.Pointer[Runtime]
}

// Engine is a guest module in the namespace osa.storage: it knows how to open
// one store.
type Engine interface {
	// StoreKey names the store itself, however it is written: two
	// configurations with the same key share one open store.
	StoreKey() (string, error)
	// StoreOptions are the options it is opened with, for comparison: they
	// cannot change while the store is open.
	StoreOptions() string
	// OpenStore opens it. poisoned says that it was closed because a write failed:
	// what that write was about is unknown. The engine outlives the configuration
	// that it came with, so it must not hold on to its context.
	OpenStore(logger *zap.Logger, poisoned bool) (storage.Store, error)
}

// Runtime is what stays open across reloads: the log and its hub.
type Runtime struct {
	Log *eventlog.Log
	Hub *hub.Hub
	// Bulk is what lists, histories, resumes and backups take turns by.
	Bulk *fair.Limiter

	key     string
	options string
	logger  *zap.Logger
	uses    atomic.Int64 // requests in flight
	done    func()       // ends one of them
	closing sync.Once

	opening opening

	mu    sync.Mutex
	users []*use // configurations, the newest last
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "osa", New: func() caddy.Module { return new(App) }}
}

// Provision sets defaults. It opens nothing: `caddy validate` provisions too,
// beside a running instance.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.log = ctx, ctx.Logger()
	a.opened = make(chan struct{})
	if a.StorageRaw == nil {
		a.StorageRaw = json.RawMessage(`{"engine":"badger"}`)
	}
	if a.Retention == 0 {
		a.Retention = caddy.Duration(eventlog.DefaultRetention)
	}
	if a.QueueEvents == 0 {
		a.QueueEvents = eventlog.DefaultQueueEvents
	}
	if a.QueueBytes == 0 {
		// What waits for a commit is a part of the bodies that are held.
		a.QueueBytes = min(eventlog.DefaultQueueBytes, memory.Process().Bodies)
	}
	if a.OpenTimeout == 0 {
		a.OpenTimeout = caddy.Duration(DefaultOpenTimeout)
	}
	if a.Environment == "" {
		a.Environment = environment()
	} else {
		a.Environment = caddy.NewReplacer().ReplaceKnown(a.Environment, "")
	}
	engine, err := ctx.LoadModule(a, "StorageRaw")
	if err != nil {
		return fmt.Errorf("loading the storage engine: %w", err)
	}
	a.engine = engine.(Engine)
	a.provisionOPAL(caddy.NewReplacer())
	a.loadAuth(ctx)
	return registerMetrics(ctx)
}

func environment() string {
	for _, name := range []string{"OSA_ENV", "NODE_ENV"} {
		if v, ok := os.LookupEnv(name); ok && v != "" {
			return v
		}
	}
	return Production
}

// Validate names everything that is wrong at once.
func (a *App) Validate() error {
	var errs []error
	if time.Duration(a.Retention) < eventlog.MinRetention {
		errs = append(errs, fmt.Errorf("retention is %v; it must be at least %v, or repeated events could not be recognised",
			time.Duration(a.Retention), eventlog.MinRetention))
	}
	if a.QueueEvents < 1 {
		errs = append(errs, fmt.Errorf("queue_events is %d; it must be positive", a.QueueEvents))
	}
	if a.QueueBytes < 1 {
		errs = append(errs, fmt.Errorf("queue_bytes is %d; it must be positive", a.QueueBytes))
	}
	if a.MaxConnections < 0 {
		errs = append(errs, fmt.Errorf("max_connections is %d; it must be positive", a.MaxConnections))
	}
	if a.OpenTimeout < 0 {
		errs = append(errs, errors.New("open_timeout must not be negative"))
	}
	if a.Environment != Production && a.Environment != Development {
		errs = append(errs, fmt.Errorf("environment is %q; it must be %q or %q (set OSA_ENV)", a.Environment, Production, Development))
	}
	return a.allProblems(errors.Join(append(errs, a.validateOPAL(), a.authProblems)...))
}

// Development reports whether the gateway runs in development.
func (a *App) Development() bool { return a.Environment == Development }

// Log returns the open event log, waiting for it no longer than OpenTimeout. Until
// done is called, the log is not closed because no configuration uses it any
// more. Errors are ready to be returned by a handler.
func (a *App) Log(ctx context.Context) (log *eventlog.Log, done func(), err error) {
	rt, err := a.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	rt.uses.Add(1)
	return rt.Log, rt.done, nil
}

// OpenLog is Log for callers who do not wait: an error says that it is not open now.
func (a *App) OpenLog() (log *eventlog.Log, done func(), err error) {
	rt := a.runtime.Load()
	if rt == nil {
		return nil, nil, notOpen()
	}
	if err := rt.usable(); err != nil {
		return nil, nil, err
	}
	rt.uses.Add(1)
	return rt.Log, rt.done, nil
}

func notOpen() error {
	return httperror.Unavailable("The event log is not open yet", 2*time.Second).HandlerError()
}

// Hub returns the open hub, waiting for it no longer than OpenTimeout. Streams do
// not keep it open: it sends them away when it closes.
func (a *App) Hub(ctx context.Context) (*hub.Hub, error) {
	rt, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	return rt.Hub, nil
}

// answers are what is encoded and waits for its reader, in this process.
var answers = sync.OnceValue(func() *memory.Quota { return memory.NewQuota(memory.Process().Responses) })

// Answers is the room for what is encoded and waits for its reader. Who finds
// none answers with 503.
func Answers() *memory.Quota { return answers() }

// Turn waits for a turn to read in bulk for a workspace: a few milliseconds of
// reading and encoding, never of writing to a client. release ends it and has to
// be called exactly once. The log has to be open. Errors are those of
// fair.Limiter.
func (a *App) Turn(ctx context.Context, workspace string) (release func(), err error) {
	rt, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	return rt.Bulk.Acquire(ctx, workspace)
}

// StoreKey names the store that the log is kept in, for what handlers share
// across configurations that use the same one.
func (a *App) StoreKey() (string, error) { return a.engine.StoreKey() }

// Ready reports whether the store is open.
func (a *App) Ready() bool {
	rt := a.runtime.Load()
	return rt != nil && rt.opened()
}

func (a *App) open(ctx context.Context) (*Runtime, error) {
	if rt := a.runtime.Load(); rt != nil {
		return rt, rt.usable()
	}
	timer := time.NewTimer(time.Duration(a.OpenTimeout))
	defer timer.Stop()
	select {
	case <-a.opened:
		if rt := a.runtime.Load(); rt != nil {
			return rt, rt.usable()
		}
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil, notOpen()
}

// Of returns the app for a handler that needs it.
func Of(ctx caddy.Context) (*App, error) {
	UseServer(ctx)
	app, err := ctx.App("osa")
	if err != nil {
		return nil, fmt.Errorf("loading the osa app: %w", err)
	}
	return app.(*App), nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.Validator    = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
