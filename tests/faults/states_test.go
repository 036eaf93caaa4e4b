package faults

import (
	"context"
	"errors"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger"
	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// compareStates compares the states of workflows and agents with a recount of
// the log: what was projected twice, or never, stays wrong for ever. The gateway
// shows them only in part, so its store is opened here, after its end.
func compareStates(v *verdict, dir string, records []gateway.Record) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	log, err := eventlog.Open(eventlog.Options{Open: func() (storage.Store, error) { return badger.Open(dir, badger.Options{}) }})
	if err != nil {
		v.add("opening the store: %v", err)
		return
	}
	defer func() {
		if err := log.Close(); err != nil {
			v.add("closing the store: %v", err)
		}
	}()
	type count struct {
		events, completed, failed int64
		last                      uint64
	}
	workflows, agents := make(map[string]count), make(map[string]count)
	for i := range records {
		r := &records[i]
		w := workflows[r.WorkflowID]
		w.events, w.last = w.events+1, r.Seq
		workflows[r.WorkflowID] = w
		if r.Kind != string(event.KindAgentStatus) {
			continue
		}
		a := agents[text(r.AgentID)]
		a.last = r.Seq
		switch text(r.Status) {
		case "completed":
			a.completed++
		case "failed":
			a.failed++
		}
		agents[text(r.AgentID)] = a
	}
	for id, want := range workflows {
		w, err := log.Workflow(ctx, gateway.Workspace, id)
		if err != nil {
			v.add("workflow %s: %v", id, err)
		} else if got := (count{events: w.Events, last: w.LastSeq}); got != want {
			v.add("workflow %s: the log says %+v, its state %+v", id, want, got)
		}
	}
	for id, want := range agents {
		a, err := log.Agent(ctx, gateway.Workspace, id)
		if err != nil {
			v.add("agent %s: %v", id, err)
		} else if got := (count{completed: a.Completed, failed: a.Failed, last: a.LastSeq}); got != want {
			v.add("agent %s: the log says %+v, its state %+v", id, want, got)
		}
	}
	if _, err := log.Workflow(ctx, gateway.Workspace, "never-sent"); !errors.Is(err, storage.ErrNotFound) {
		v.add("a workflow that was never sent: %v", err)
	}
}
