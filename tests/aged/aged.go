// Package aged fills stores with events of the past. The gateway keeps events
// for a day at least, so that nobody who fills one through its front door sees
// retention at work.
package aged

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger"
)

// Options of Fill.
type Options struct {
	// Dir is the store's directory, which no gateway has open.
	Dir string
	// Events is how many, the first received at First and each of the others
	// Every later.
	Events int
	First  time.Time
	Every  time.Duration
	// Body appends the next body: that of an OPAL webhook.
	Body func(dst []byte) []byte
	// Workspace that the events belong to.
	Workspace string
	// Writers append at once, which is about how large batches get; default 64.
	Writers int
	// Ballast of the store in bytes; default the gateway's.
	Ballast int64
}

// Fill appends events to a store as the gateway does, save for the time.
func Fill(ctx context.Context, o Options) (err error) {
	if o.Writers == 0 {
		o.Writers = 64
	}
	log, err := eventlog.Open(eventlog.Options{
		Open: func() (storage.Store, error) { return badger.Open(o.Dir, badger.Options{Ballast: o.Ballast}) },
		// Nothing goes before the gateway is there.
		Retention: math.MaxInt64,
	})
	if err != nil {
		return fmt.Errorf("aged: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	n := 0
	next := func() (*event.Event, error) {
		mu.Lock()
		at, more := o.First.Add(time.Duration(n)*o.Every), n < o.Events
		n++
		if !more {
			mu.Unlock()
			return nil, nil
		}
		body := o.Body(nil)
		mu.Unlock()
		return parse(body, at, o.Workspace)
	}
	var writers sync.WaitGroup
	for range o.Writers {
		writers.Go(func() {
			for ctx.Err() == nil {
				e, err := next()
				if err == nil && e == nil {
					return
				}
				var r eventlog.Result
				if err == nil {
					r, err = log.Append(ctx, e)
				}
				if err == nil && r.Duplicate {
					err = fmt.Errorf("a body came twice; the first is %s", event.FormatID(r.Seq))
				}
				if err != nil {
					cancel(fmt.Errorf("aged: %w", err))
				}
			}
		})
	}
	writers.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return log.WaitProjected(ctx, log.Head())
}

// parse makes of a body what the webhook's handler makes of it, as far as lists,
// streams and states need it.
func parse(body []byte, at time.Time, workspace string) (*event.Event, error) {
	var b struct {
		Type      string `json:"event_type"`
		Timestamp string
		Workflow  string `json:"workflow_id"`
		Agent     string `json:"agent_id"`
		Severity  string
		Data      struct {
			Agent struct {
				Previous string `json:"previous_status"`
				Current  string `json:"current_status"`
			} `json:"agent_status"`
			Completion struct{ Status string } `json:"workflow_completion"`
		}
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, err
	}
	kind, _ := event.KindOf(b.Type)
	e := &event.Event{
		ReceivedAt: at.UTC(), WorkspaceID: workspace, Source: "opal", Type: b.Type, Kind: kind,
		WorkflowID: b.Workflow, WorkflowName: "strategy_workflow", AgentID: b.Agent,
		Status: event.NormalizeStatus(b.Data.Agent.Current + b.Data.Completion.Status), Severity: b.Severity,
		BodyDigest: sha256.Sum256(body), Size: len(body), Body: body,
	}
	e.Details.PreviousStatus, e.Details.CurrentStatus = b.Data.Agent.Previous, b.Data.Agent.Current
	e.DedupKey = event.OPALDedupKey(token(b.Workflow), token(b.Agent), token(b.Timestamp), token(b.Type), e.BodyDigest)
	return e, nil
}

// token is a string's JSON, or "" for one that is absent.
func token(s string) string {
	if s == "" {
		return ""
	}
	return `"` + s + `"`
}
