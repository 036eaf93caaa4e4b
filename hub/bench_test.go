package hub

import (
	"fmt"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
)

// BenchmarkPublish is what an event costs that concerns one subscriber of many:
// it must not depend on how many there are, nor on whether its values are new.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		for name, fresh := range map[string]bool{"seen": false, "first-seen": true} {
			b.Run(fmt.Sprintf("1-of-%d/%s", n, name), func(b *testing.B) {
				w := newWorld(b, Options{})
				for i := range n {
					s := w.subscribe(SubscribeOptions{Filter: event.Filter{WorkspaceID: "ws", WorkflowIDs: []string{fmt.Sprint("wf-", i)}}})
					defer s.Close()
				}
				events := make([]*event.Event, 1)
				b.ReportAllocs()
				seq := uint64(0)
				for b.Loop() {
					seq++
					agent := "geo_audit"
					if fresh {
						agent = fmt.Sprint("agent-", seq)
					}
					events[0] = &event.Event{
						Seq: seq, WorkspaceID: "ws", WorkflowID: "wf-3", AgentID: agent, Type: "agent_status_update",
						Kind: event.KindAgentStatus, Source: "opal", ReceivedAt: time.Now(),
					}
					w.hub.publish(events)
				}
			})
		}
	}
}

// BenchmarkResume is a resume from the beginning of a long log.
func BenchmarkResume(b *testing.B) {
	w := newWorld(b, Options{})
	const n = 20_000
	w.publishN(n, "wf")
	w.settle()
	for b.Loop() {
		s := w.subscribe(SubscribeOptions{})
		if got := len(w.take(s)); got != n {
			b.Fatal(got)
		}
		s.Close()
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkAppendEvent(b *testing.B) {
	e := &event.Event{
		Seq: 12345, Kind: event.KindAgentStatus, WorkflowID: "strategy_workflow-1718000000-abcdef", WorkflowName: "strategy_workflow",
		AgentID: "personalization_idea_generator", Status: event.StatusCompleted, Details: event.Details{
			PreviousStatus: "running", CurrentStatus: "completed", ExecutionTimeMS: ptr(45230.0),
			ResultsAvailable: ptr(true), ConfidenceScore: ptr(0.87), Timestamp: "2024-11-13T14:32:15Z",
		},
	}
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendEvent(buf[:0], e)
	}
}
