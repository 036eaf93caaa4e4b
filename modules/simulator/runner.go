package simulator

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Limits of a runner.
const (
	maxWorkflows = 16 // that run at the same time
	maxRecent    = 32 // that have ended and are shown
	// grace is how much longer than planned a workflow may take if the receiver is slow
	// or not available.
	grace = 5 * time.Minute
)

// Errors of Start.
var (
	errBusy    = errors.New("as many workflows as the simulator runs at once are running")
	errStopped = errors.New("the simulator is being stopped")
)

// Runner runs workflows in the background. It outlives the configurations that use it, so
// that workflows continue across a reload.
type Runner struct {
	log    *zap.Logger
	sender *sender
	ctx    context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	stopped   bool
	workflows []*workflow // oldest first
	wg        sync.WaitGroup
}

// workflow is one that runs or has run. Its Runner's mutex guards its counters.
type workflow struct {
	id      string
	spec    Spec
	started time.Time
	ended   time.Time
	plan    plan
	total   int
	sent    int
	lost    int
	err     error
}

// Workflow is a workflow as GET shows it.
type Workflow struct {
	WorkflowID    string     `json:"workflow_id"`
	CorrelationID string     `json:"correlation_id,omitempty"`
	Status        string     `json:"status"`
	Agents        []string   `json:"agents_scheduled"`
	StartedAt     time.Time  `json:"started_at"`
	EndedAt       *time.Time `json:"ended_at"`
	DurationMS    int64      `json:"duration_ms"`
	Faults        Faults     `json:"faults"`
	// Callbacks is the number of webhooks to send. Delivered were accepted, Undelivered
	// were refused or could not be sent, and Dropped were not sent because of Faults.
	Callbacks   int `json:"callbacks"`
	Delivered   int `json:"delivered"`
	Undelivered int `json:"undelivered"`
	Dropped     int `json:"dropped"`
}

// NewRunner returns a runner.
func NewRunner(log *zap.Logger) *Runner {
	r := &Runner{log: log, sender: newSender()}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Stop cancels the workflows and waits for their end.
func (r *Runner) Stop() {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
	r.sender.close()
}

// Start runs a workflow. Its webhooks are signed with the secret. A workflow whose id is
// known already is not run again.
func (r *Runner) Start(spec Spec, secret string) (Workflow, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return Workflow{}, errStopped
	}
	running := 0
	for _, w := range r.workflows {
		if w.id == spec.WorkflowID {
			return w.show(), nil
		}
		if w.ended.IsZero() {
			running++
		}
	}
	if running >= maxWorkflows {
		return Workflow{}, errBusy
	}
	w := &workflow{id: spec.WorkflowID, spec: spec, started: time.Now()}
	var err error
	if w.plan, err = newPlan(spec, w.started); err != nil {
		return Workflow{}, err
	}
	w.total = len(w.plan.deliveries)
	r.workflows = append(r.workflows, w)
	r.forget()
	r.wg.Go(func() { r.run(w, secret) })
	return w.show(), nil
}

// forget removes the oldest workflows that have ended.
func (r *Runner) forget() {
	for len(r.workflows) > maxRecent+maxWorkflows {
		i := slices.IndexFunc(r.workflows, func(w *workflow) bool { return !w.ended.IsZero() })
		r.workflows = slices.Delete(r.workflows, i, i+1)
	}
}

// run sends the webhooks of a workflow, each at its time.
func (r *Runner) run(w *workflow, secret string) {
	ctx, cancel := context.WithTimeout(r.ctx, w.spec.Duration+grace)
	defer cancel()
	log := r.log.With(zap.String("workflow_id", w.id), zap.String("correlation_id", w.spec.CorrelationID))
	log.Info("simulated workflow started", zap.Strings("agents", w.spec.Agents), zap.Duration("duration", w.spec.Duration))
	var err error
	for _, d := range w.plan.deliveries {
		if err = until(ctx, w.started.Add(d.at)); err != nil {
			break
		}
		failed := r.sender.send(ctx, w.spec.CallbackURL, secret, w.spec.CorrelationID, d.body)
		if failed != nil {
			log.Warn("callback not delivered", zap.Error(failed))
		}
		r.mu.Lock()
		if failed == nil {
			w.sent++
		} else {
			w.lost++
		}
		r.mu.Unlock()
	}
	r.mu.Lock()
	w.ended, w.err = time.Now(), err
	w.plan.deliveries, w.spec.ClientContext, w.spec.SyncScope = nil, nil, nil
	shown := w.show()
	r.mu.Unlock()
	log.Info("simulated workflow ended", zap.String("status", shown.Status), zap.Int("delivered", shown.Delivered), zap.Int("undelivered", shown.Undelivered), zap.Error(err))
}

func until(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// show returns the state of the workflow. The mutex is held.
func (w *workflow) show() Workflow {
	shown := Workflow{
		WorkflowID: w.id, CorrelationID: w.spec.CorrelationID, Status: "running", Agents: w.spec.Agents,
		StartedAt: w.started.UTC(), DurationMS: w.spec.Duration.Milliseconds(), Faults: w.spec.Faults,
		Callbacks: w.total, Delivered: w.sent, Undelivered: w.lost, Dropped: w.plan.dropped,
	}
	if !w.ended.IsZero() {
		at := w.ended.UTC()
		shown.EndedAt, shown.Status = &at, "ended"
		if w.err != nil {
			shown.Status = "abandoned"
		}
	}
	return shown
}

// Workflows returns those that run and the last that have ended, newest first.
func (r *Runner) Workflows() []Workflow {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Workflow, 0, len(r.workflows))
	for _, w := range r.workflows {
		all = append(all, w.show())
	}
	slices.SortStableFunc(all, func(a, b Workflow) int { return cmp.Compare(b.StartedAt.UnixNano(), a.StartedAt.UnixNano()) })
	return all
}
