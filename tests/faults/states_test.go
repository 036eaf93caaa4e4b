package faults

import (
	"context"
	"errors"
	"time"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger"
	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// compareStates compares the states of workflows with a recount of the log: what
// was projected twice, or never, stays wrong for ever. The gateway shows them only
// in part, so its store is opened here, after its end.
func compareStates(v *verdict, dir string, records []gateway.Record) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	log, err := eventlog.Open(eventlog.Options{Open: func(poisoned bool) (storage.Store, error) {
		return badger.Open(dir, badger.Options{Poisoned: poisoned})
	}})
	if err != nil {
		v.add("opening the store: %v", err)
		return
	}
	defer func() {
		if err := log.Close(); err != nil {
			v.add("closing the store: %v", err)
		}
	}()
	if err := log.WaitProjected(ctx, log.Head()); err != nil {
		v.add("projecting the log: %v", err)
		return
	}
	type count struct {
		events int64
		last   uint64
	}
	workflows := make(map[string]count)
	for i := range records {
		w := workflows[records[i].WorkflowID]
		workflows[records[i].WorkflowID] = count{w.events + 1, records[i].Seq}
	}
	for id, want := range workflows {
		w, err := log.Workflow(ctx, gateway.Workspace, id)
		if err != nil {
			v.add("workflow %s: %v", id, err)
		} else if got := (count{events: w.Events, last: w.LastSeq}); got != want {
			v.add("workflow %s: the log says %+v, its state %+v", id, want, got)
		}
	}
	if _, err := log.Workflow(ctx, gateway.Workspace, "never-sent"); !errors.Is(err, storage.ErrNotFound) {
		v.add("a workflow that was never sent: %v", err)
	}
}
