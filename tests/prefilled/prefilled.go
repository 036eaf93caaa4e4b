// Package prefilled fills stores with events of the past. The gateway keeps events
// for a day at least, so that nobody who fills one through its front door sees
// retention at work.
package prefilled

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/osa-edge/osa-gateway/event"
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
	// Batch is how many events are committed at once; default 64.
	Batch int
	// Ballast of the store in bytes; default the gateway's.
	Ballast int64
}

// Fill appends events to a store as the gateway does, save for the time. The
// gateway goes on from there as if it had run until now: what has expired is
// forgotten at its start.
func Fill(ctx context.Context, o Options) (err error) {
	if o.Batch == 0 {
		o.Batch = 64
	}
	o.Batch = min(o.Batch, storage.MaxBatchEvents)
	store, err := badger.Open(o.Dir, badger.Options{Ballast: o.Ballast})
	if err != nil {
		return fmt.Errorf("aged: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var batch []*event.Event
	bytes := 0
	for n := range o.Events {
		e, err := parse(o.Body(nil), o.First.Add(time.Duration(n)*o.Every), o.Workspace)
		if err != nil {
			return fmt.Errorf("aged: %w", err)
		}
		known, err := store.Prepare(ctx, e)
		if err == nil && known.Duplicate {
			err = fmt.Errorf("a body came twice; the first is %s", event.FormatID(known.Seq))
		}
		if err != nil {
			return fmt.Errorf("aged: %w", err)
		}
		if len(batch) == o.Batch || len(batch) > 0 && bytes+len(e.Body) > storage.MaxBatchBytes {
			if err := commit(ctx, store, batch); err != nil {
				return fmt.Errorf("aged: %w", err)
			}
			batch, bytes = nil, 0
		}
		batch, bytes = append(batch, e), bytes+len(e.Body)
	}
	if len(batch) > 0 {
		if err := commit(ctx, store, batch); err != nil {
			return fmt.Errorf("aged: %w", err)
		}
	}
	return confirm(ctx, store, time.Now())
}

// commit waits for an engine that has fallen behind.
func commit(ctx context.Context, store storage.Store, batch []*event.Event) error {
	for {
		_, err := store.CommitBatch(ctx, batch)
		if !errors.Is(err, storage.ErrBusy) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// confirm writes down the time that retention goes by, which a gateway would
// otherwise have only after an hour.
func confirm(ctx context.Context, store storage.Store, now time.Time) error {
	raw, err := json.Marshal(map[string]time.Time{"confirmed": now.UTC()})
	if err == nil {
		_, err = store.PutDocument(ctx, storage.Document{
			Collection: "log", Key: "retention_clock", Value: raw, Version: storage.AnyVersion,
		})
	}
	if err != nil {
		return fmt.Errorf("aged: the retention clock: %w", err)
	}
	return nil
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
		ReceivedAt: at.UTC(), LoggedAt: at.UTC(), WorkspaceID: workspace, Source: "opal", Type: b.Type, Kind: kind,
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
