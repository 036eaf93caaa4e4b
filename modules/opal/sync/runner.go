package sync

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/modules/opal/client"
)

// Collection holds the runs, by workspace.
const Collection = "sync_runs"

// Timeouts of the runner's own work. It does not end with the request: a client that
// leaves must not leave an incomplete run.
const (
	startTimeout = 10 * time.Second
	writeTimeout = 30 * time.Second
	writeRetry   = 200 * time.Millisecond
)

// maxConflicts is how often a start is tried again because another node has written the
// document of the run.
const maxConflicts = 10

// errStopped means that no configuration has a Force Sync for the workspace.
var errStopped = errors.New("force sync is being stopped")

// Runner starts the runs of one workspace and follows them in the background: it calls OPAL
// and reads the log until the run ends. It outlives the configurations that use it.
type Runner struct {
	workspace string
	log       *zap.Logger
	client    *client.Client

	ctx    context.Context
	cancel context.CancelFunc
	// starting admits one request at a time to Start. Between nodes, the version of the
	// document decides.
	starting chan struct{}

	mu       sync.Mutex // guards what follows and wg.Add against Stop
	stopped  bool
	call     *call
	followed string            // sync id of the run that is followed
	aliases  map[string]string // OPAL's ids, by sync id, of the runs of this process
	wg       sync.WaitGroup
}

// call is a call to OPAL under way.
type call struct {
	syncID string
	cancel context.CancelFunc
	done   chan struct{} // closed when the fields below are set

	run      Run
	err      error // why OPAL did not accept it
	replaced bool  // by another run
}

// NewRunner returns a runner for the workspace.
func NewRunner(workspace string, client *client.Client, log *zap.Logger) *Runner {
	r := &Runner{
		workspace: workspace, client: client, log: log,
		starting: make(chan struct{}, 1), aliases: make(map[string]string),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Stop ends the work in the background. Runs do not end: the next process that opens the
// store follows them.
func (r *Runner) Stop() {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
}

// spawn runs f in the background. It returns false after Stop.
func (r *Runner) spawn(f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return false
	}
	r.wg.Go(f)
	return true
}
