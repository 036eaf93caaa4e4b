package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
)

// The projector takes what has come since, up to projectMax events at once. A
// projection costs by the number of different terms and states it touches, so
// that many events at once are far cheaper than each on its own: unless somebody
// waits, it lets them gather for projectDelay.
const (
	projectMax   = 1024
	projectDelay = 100 * time.Millisecond
)

// projectRetry paces a projector whose store refuses (it is being reopened, or
// its disk is full).
const projectRetry = 200 * time.Millisecond

// How the removal of states is paced that nothing was heard of for longer than
// events are kept, which is a day at least. It looks at every state, a page with
// each projection: once soon after a start, and then every hour.
const (
	sweepDelay    = time.Minute
	sweepInterval = time.Hour
	sweepPage     = 256
)

type projector struct {
	l         *Log
	workflows *states[WorkflowState, *WorkflowState]
	agents    *states[AgentState, *AgentState]
	sweepAt   time.Time
	sweepKey  string
}

// projectLoop follows the log and keeps everything derived up to date, behind a
// cursor that moves in the same transaction.
func (l *Log) projectLoop() {
	defer l.finished.Done()
	p := &projector{
		l:         l,
		workflows: newStates[WorkflowState](workflowCollection),
		agents:    newStates[AgentState](agentCollection),
		sweepAt:   time.Now().Add(sweepDelay),
	}
	limit := projectMax
	for {
		head, err := l.awaitWork()
		if err != nil {
			return // the log is closing
		}
		err = p.step(head, limit)
		switch {
		case err == nil:
			limit = projectMax
			l.stalled.Store(false)
		case errors.Is(err, storage.ErrTooLarge) && limit > 1:
			limit /= 2
		case l.stopped.Err() != nil:
			return
		default:
			p.workflows.drop()
			p.agents.drop()
			switch {
			case l.stall(err), errors.Is(err, ErrUnavailable):
			case errors.Is(err, storage.ErrClosed):
				select {
				case l.doubt <- struct{}{}:
				default: // the committer knows already
				}
			default:
				l.log.Error("projecting", zap.Error(err))
			}
			if !l.pause(projectRetry) {
				return
			}
		}
	}
}

// stall tells readers not to wait for a projector that has no space to write
// with, and tells whether that is what err says. It says so in the log once.
func (l *Log) stall(err error) bool {
	if !errors.Is(err, storage.ErrNoSpace) {
		return false
	}
	if !l.stalled.Swap(true) {
		l.log.Warn("indexes stand still until there is disk space", zap.Error(err))
	}
	l.projected.nudge()
	return true
}

// starved tells whether the projector has no space to write with now. Once there
// is space again readers wait for it, though it has not tried again yet: what was
// acknowledged before a query is in its answer.
func (l *Log) starved() bool {
	if !l.stalled.Load() {
		return false
	}
	store, err := l.Store()
	return err != nil || store.Writable() != nil
}

// awaitWork returns the head once there is something to project and it has
// gathered, or somebody waits for it.
func (l *Log) awaitWork() (uint64, error) {
	projected := l.projected.load()
	head, err := l.head.wait(l.stopped, projected)
	if err != nil {
		return 0, err
	}
	if head-projected >= projectMax {
		return head, nil
	}
	gather := time.NewTimer(projectDelay)
	defer gather.Stop()
	select {
	case <-l.kick:
	case <-gather.C:
	case <-l.stop:
		return 0, ErrClosed
	}
	return l.head.load(), nil
}

func (l *Log) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.stop:
		return false
	}
}

// step projects up to limit events.
func (p *projector) step(head uint64, limit int) error {
	l, start := p.l, time.Now()
	ctx := l.stopped
	store, err := l.Store()
	if err != nil {
		return err
	}
	from, err := store.Projected(ctx)
	if err != nil {
		return err
	}
	l.projected.advance(from)
	events, err := l.Read(ctx, from, limit)
	if err != nil {
		return err
	}
	through := max(head, from)
	if n := len(events); n > 0 {
		through = events[n-1].Seq
	} else if head <= from {
		return nil
	}
	docs, err := p.fold(ctx, store, events)
	if err != nil {
		return err
	}
	if start.After(p.sweepAt) {
		stale, err := p.sweep(ctx, store)
		if err != nil {
			return err
		}
		docs = append(docs, stale...)
	}
	err = store.Project(ctx, storage.Projection{From: from, Through: through, Events: events, Documents: docs})
	if err != nil {
		p.workflows.drop()
		p.agents.drop()
		return err
	}
	p.workflows.keep()
	p.agents.keep()
	l.projected.advance(through)
	l.opt.Observer.Projected(len(events), time.Since(start), l.head.load()-through)
	return nil
}

// fold applies events to the states that they touch. Replays changed them when
// they first came.
func (p *projector) fold(ctx context.Context, store storage.Store, events []*event.Event) ([]storage.Document, error) {
	for _, e := range events {
		if e.ReplayOf != 0 || (e.Source == event.SourceGateway && e.Kind == event.KindOther) {
			continue
		}
		if err := p.workflows.apply(ctx, store, stateKey(e.WorkspaceID, e.WorkflowID), e); err != nil {
			return nil, err
		}
		if e.Kind != event.KindAgentStatus || e.AgentID == "" {
			continue
		}
		if err := p.agents.apply(ctx, store, stateKey(e.WorkspaceID, strings.ToLower(e.AgentID)), e); err != nil {
			return nil, err
		}
	}
	docs, err := p.workflows.documents(nil)
	if err != nil {
		return nil, err
	}
	return p.agents.documents(docs)
}

// sweep looks at the next page of workflow states and returns deletions for
// those that no kept event speaks of any more.
func (p *projector) sweep(ctx context.Context, store storage.Store) ([]storage.Document, error) {
	page, err := store.ListDocuments(ctx, workflowCollection, "", p.sweepKey, sweepPage)
	if err != nil {
		return nil, err
	}
	cutoff := time.Now().Add(-p.l.opt.Retention)
	var stale []storage.Document
	for _, d := range page {
		var w struct { // of WorkflowState; the rest costs ten times as much to read
			UpdatedAt time.Time `json:"updated_at"`
		}
		if err := json.Unmarshal(d.Value, &w); err != nil {
			return nil, err
		}
		if _, fresh := p.workflows.touched[d.Key]; !fresh && w.UpdatedAt.Before(cutoff) {
			stale = append(stale, storage.Document{Collection: workflowCollection, Key: d.Key})
			delete(p.workflows.recent, d.Key)
		}
	}
	if len(page) == sweepPage {
		p.sweepKey = page[len(page)-1].Key
	} else {
		p.sweepKey = ""
		p.sweepAt = time.Now().Add(sweepInterval)
	}
	return stale, nil
}
