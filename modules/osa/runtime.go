package osa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/hub"
	"github.com/osa-edge/osa-gateway/internal/fair"
	"github.com/osa-edge/osa-gateway/internal/memory"
	"github.com/osa-edge/osa-gateway/storage"
)

// runtimes are the open logs of this process by store key, counted by the
// configurations that use them: reload starts the new configuration before it
// stops the old one, so the log stays open across it.
var runtimes = caddy.NewUsagePool()

// drainTimeout bounds how long a log that no configuration uses any more waits
// for requests in flight.
const drainTimeout = 30 * time.Second

func init() { caddy.OnExit(closeAtExit) }

// leaving are logs that are to be closed when the process has stopped serving.
var leaving struct {
	sync.Mutex
	runtimes []*Runtime
}

// Start opens the log, or joins the one that is open already.
func (a *App) Start() error {
	key, err := a.engine.StoreKey()
	if err != nil {
		return err
	}
	value, loaded, err := runtimes.LoadOrNew(key, func() (caddy.Destructor, error) { return a.openRuntime(key) })
	if err != nil {
		return explainOpen(err)
	}
	a.storeKey, a.acquired = key, true
	rt := value.(*Runtime)
	if loaded && rt.options != a.engine.StoreOptions() {
		// A failed start is not followed by Stop.
		return errors.Join(
			fmt.Errorf("the store %s is open with other options: storage options cannot change on a reload; restart the gateway to change them", key),
			a.release())
	}
	a.use = &use{a.settings()}
	if err := rt.join(a.use); err != nil {
		return errors.Join(err, a.release())
	}
	// Before a stream can be opened.
	a.auth.join()
	a.boundConnections()
	a.runtime.Store(rt)
	close(a.opened)
	return nil
}

// Stop lets go of the log. What it closes it closes later: requests of the old
// configuration may still be under way.
func (a *App) Stop() error { return a.release() }

// Cleanup also follows a start that failed in another app.
func (a *App) Cleanup() error { return a.release() }

func (a *App) release() error {
	if !a.acquired {
		return nil
	}
	a.acquired = false
	a.unboundConnections()
	var left error
	if rt := a.runtime.Load(); rt != nil {
		left = rt.leave(a.use)
		a.auth.leave()
	}
	_, err := runtimes.Delete(a.storeKey)
	return errors.Join(left, err)
}

// settings are the options that an open log takes while it runs.
func (a *App) settings() eventlog.Settings {
	return eventlog.Settings{Retention: time.Duration(a.Retention), QueueEvents: a.QueueEvents, QueueBytes: a.QueueBytes}
}

// use is one configuration's use of a log, with what it wants of it.
type use struct{ settings eventlog.Settings }

// join puts the settings of one more configuration in force.
func (rt *Runtime) join(u *use) error {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	rt.users = append(rt.users, u)
	return rt.settle()
}

// leave forgets a configuration. If it was the newest, as one is that did not
// start, the one before it is in force again.
func (rt *Runtime) leave(u *use) error {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	rt.users = slices.DeleteFunc(rt.users, func(other *use) bool { return other == u })
	return rt.settle()
}

// settle puts the newest configuration's settings in force. While another one is
// there, the new one may yet fail to start: then nothing may be gone that the
// other would have kept.
func (rt *Runtime) settle() error {
	if len(rt.users) == 0 || !rt.opened() {
		return nil // the log is about to be closed, or not open yet
	}
	s := rt.users[len(rt.users)-1].settings
	for _, u := range rt.users {
		s.Retention = max(s.Retention, u.settings.Retention)
	}
	return rt.Log.SetSettings(s)
}

// openRuntimes are all that are open.
func openRuntimes() (open []*Runtime) {
	runtimes.Range(func(_, value any) bool {
		if rt, ok := value.(*Runtime); ok && rt.opened() {
			open = append(open, rt)
		}
		return true
	})
	return open
}

func (a *App) openRuntime(key string) (*Runtime, error) {
	closeLeaving(func(rt *Runtime) bool { return rt.key == key })
	// The log outlives the configuration that opened it, and so its logger.
	logger := caddy.Log().Named("osa")
	// Nor does it hold on to the app, and with it to all that was configured when
	// it was opened.
	engine, settings := a.engine, a.settings()
	rt := &Runtime{key: key, options: engine.StoreOptions(), logger: logger}
	rt.done = func() { rt.uses.Add(-1) }
	open := func() error { return rt.open(engine, settings) }
	if c, ok := engine.(Converter); ok {
		conversion, err := c.Conversion(logger.Named("storage"))
		if err != nil {
			return nil, err
		}
		if conversion != nil {
			rt.convert(conversion, open)
			return rt, nil
		}
	}
	rt.opening.ready = make(chan struct{})
	close(rt.opening.ready)
	return rt, open()
}

// open opens the log and its hub.
func (rt *Runtime) open(engine Engine, settings eventlog.Settings) error {
	logger := rt.logger
	log, err := eventlog.Open(eventlog.Options{
		Open: func(poisoned bool) (storage.Store, error) {
			return engine.OpenStore(logger.Named("storage"), poisoned)
		},
		Settings:  settings,
		Admission: Admission(),
		Logger:    logger.Named("log"),
		Observer:  logObserver{},
	})
	if err != nil {
		return err
	}
	budget := memory.Process()
	logger.Info("memory is shared out, in bytes", budget.Fields()...)
	rt.Bulk = fair.NewLimiter(fair.Slots())
	rt.Log, rt.Hub = log, hub.New(log, hub.Options{
		Logger: logger.Named("hub"), WindowBytes: int(budget.Streams), Bulk: rt.Bulk, HistoryMemory: Answers(),
	})
	logger.Info("event log open", zap.Uint64("head", log.Head()))
	return nil
}

func explainOpen(err error) error {
	switch {
	case errors.Is(err, storage.ErrLocked):
		return fmt.Errorf("%w: stop the other gateway, or give this one its own storage path", err)
	case errors.Is(err, storage.ErrFormat):
		return fmt.Errorf("%w: it was written by another version of the gateway; start that version, or restore a backup into an empty path", err)
	}
	return fmt.Errorf("opening the event log: %w", err)
}

// Destruct is called when no configuration uses the log any more. It must not
// close what requests in flight still use: at exit it is closed once the servers
// have stopped, otherwise when the last request is done.
func (rt *Runtime) Destruct() error {
	leaving.Lock()
	leaving.runtimes = append(leaving.runtimes, rt)
	leaving.Unlock()
	if !caddy.Exiting() {
		// This goroutine ends with drainTimeout at the latest.
		go rt.drain()
	}
	return nil
}

func (rt *Runtime) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if rt.uses.Load() > 0 {
				continue
			}
		case <-ctx.Done():
			rt.logger.Warn("closing the event log with requests in flight", zap.Int64("requests", rt.uses.Load()))
		}
		closeLeaving(func(other *Runtime) bool { return other == rt })
		return
	}
}

func (rt *Runtime) close() {
	rt.closing.Do(func() {
		if rt.opening.cancel != nil {
			rt.opening.cancel()
		}
		<-rt.opening.ready
		if rt.Log == nil {
			return
		}
		rt.Hub.Close()
		if err := rt.Log.Close(); err != nil {
			rt.logger.Error("closing the event log", zap.Error(err))
			return
		}
		rt.logger.Info("event log closed", zap.Uint64("head", rt.Log.Head()))
	})
}

// closeAtExit runs after all apps have stopped.
func closeAtExit(context.Context) { closeLeaving(func(*Runtime) bool { return true }) }

// closeLeaving closes those of the logs that wait for requests in flight: all of
// them at exit, and the one that a new configuration is about to open again.
func closeLeaving(which func(*Runtime) bool) {
	leaving.Lock()
	defer leaving.Unlock()
	leaving.runtimes = slices.DeleteFunc(leaving.runtimes, func(rt *Runtime) bool {
		if !which(rt) {
			return false
		}
		rt.close()
		return true
	})
}
