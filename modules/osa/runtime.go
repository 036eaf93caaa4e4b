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
	if loaded && rt.options != a.runtimeOptions() {
		// A failed start is not followed by Stop.
		return errors.Join(
			fmt.Errorf("the store %s is open with other options: storage, retention and queue options cannot change on a reload; restart the gateway to change them", key),
			a.release())
	}
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
	_, err := runtimes.Delete(a.storeKey)
	return err
}

// runtimeOptions are the options that an open log cannot change.
func (a *App) runtimeOptions() string {
	return fmt.Sprintf("%s retention=%d queue_events=%d queue_bytes=%d",
		a.engine.StoreOptions(), a.Retention, a.QueueEvents, a.QueueBytes)
}

// openRuntimes are all that are open.
func openRuntimes() (open []*Runtime) {
	runtimes.Range(func(_, value any) bool {
		if rt, ok := value.(*Runtime); ok {
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
	log, err := eventlog.Open(eventlog.Options{
		Open:        func() (storage.Store, error) { return a.engine.OpenStore(logger.Named("storage")) },
		Retention:   time.Duration(a.Retention),
		QueueEvents: a.QueueEvents,
		QueueBytes:  a.QueueBytes,
		Logger:      logger.Named("log"),
		Observer:    logObserver{},
	})
	if err != nil {
		return nil, err
	}
	budget := memory.Process()
	logger.Info("memory is shared out, in bytes", budget.Fields()...)
	bulk := fair.NewLimiter(fair.Slots())
	rt := &Runtime{
		Log: log, Bulk: bulk,
		Hub: hub.New(log, hub.Options{
			Logger: logger.Named("hub"), WindowBytes: int(budget.Streams), Bulk: bulk, Answers: Answers(),
		}),
		key: key, options: a.runtimeOptions(), logger: logger,
	}
	rt.done = func() { rt.uses.Add(-1) }
	logger.Info("event log open", zap.Uint64("head", log.Head()))
	return rt, nil
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
