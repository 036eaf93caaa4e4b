package sync

import (
	"cmp"
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/modules/opal/client"
)

// callOPAL calls OPAL in the background. It returns nil after Stop.
func (r *Runner) callOPAL(log *eventlog.Log, run Run, s Settings, body []byte) *call {
	ctx, cancel := context.WithDeadline(r.ctx, run.Deadline)
	c := &call{syncID: run.SyncID, cancel: cancel, done: make(chan struct{}), run: run}
	r.mu.Lock()
	r.call = c
	r.mu.Unlock()
	ok := r.spawn(func() {
		defer close(c.done)
		defer cancel()
		d := r.client.Trigger(ctx, client.Trigger{URL: s.WebhookURL, AuthKey: s.AuthKey, CorrelationID: run.CorrelationID, Body: body})
		c.err = d.Err
		c.run, c.replaced = r.delivered(log, run, d)
	})
	if !ok {
		cancel()
		return nil
	}
	return c
}

// cancelCall cancels the call of a run that was replaced.
func (r *Runner) cancelCall(syncID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.call != nil && r.call.syncID == syncID {
		r.call.cancel()
	}
}

// delivered stores the result of the call.
func (r *Runner) delivered(log *eventlog.Log, run Run, d client.Result) (after Run, replaced bool) {
	fields := []zap.Field{
		zap.String("sync_id", run.SyncID), zap.String("delivery", string(d.Delivery)),
		zap.Int("status", d.Status), zap.Int("attempts", d.Attempts), zap.Error(d.Err),
	}
	if d.Err != nil {
		r.log.Warn("force sync was not accepted", fields...)
	} else {
		r.log.Info("force sync accepted", fields...)
	}
	if d.WorkflowID == run.SyncID {
		d.WorkflowID = ""
	}
	r.setAlias(run.SyncID, d.WorkflowID)
	change := func(run *Run) {
		run.Delivery, run.OPALStatus, run.Attempts = d.Delivery, d.Status, d.Attempts
		if len(d.Agents) > 0 {
			run.Scheduled = d.Agents
		}
		run.Alias = cmp.Or(d.WorkflowID, run.Alias)
		if !run.Active() {
			return // its webhooks came before the response
		}
		switch d.Delivery {
		case client.Accepted:
			run.Phase = PhaseInitiated
		case client.Refused, client.Unreachable:
			run.end(PhaseFailed, time.Now(), d.Err.Error())
		}
	}
	changed, err := r.change(log, run.SyncID, change)
	if err != nil {
		r.log.Error("writing down a force sync", append(fields, zap.NamedError("write_error", err))...)
	}
	if changed == nil {
		change(&run)
		return run, err == nil
	}
	if changed.Active() && changed.Alias != "" {
		// Webhooks that came before the id was known belong to the run too.
		if entry, err := r.Current(r.ctx, log); err == nil && entry.Value.SyncID == run.SyncID {
			return entry.Value, false
		}
	}
	return *changed, false
}
