package load

import (
	"math/rand/v2"
	"strconv"
	"time"
)

// DefaultBodySize is the size of every event's body.
const DefaultBodySize = 1024

// minBodySize leaves room for the longest event's own members.
const minBodySize = 640

// eventsPerRun is how many events one workflow has: each of the nine agents
// starts and ends, one progress report, one completion.
const eventsPerRun = 20

var agents = [...]string{
	"experiment_blueprinter", "audience_suggester", "content_review", "roadmap_generator", "integration_health",
	"personalization_idea_generator", "cmp_organizer", "customer_journey", "geo_audit",
}

// Events makes the bodies that OPAL would send: the API guide's
// agent_status_update, workflow_progress and workflow_completion, filled up with
// an agent's results. No two are alike. It is not safe for concurrent use.
type Events struct {
	size  int
	rng   *rand.Rand
	run   uint64
	step  int
	clock time.Time
	id    []byte // of the workflow
}

// NewEvents returns a source of bodies of size bytes each (0: DefaultBodySize,
// and not under 640). Another seed makes other workflows: events of two sources
// with different seeds are never duplicates of each other.
func NewEvents(size int, seed uint64) *Events {
	if size == 0 {
		size = DefaultBodySize
	}
	g := &Events{
		size: max(size, minBodySize), rng: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // believable, not secret
		clock: time.Now().UTC(), run: seed << 24,
	}
	g.next()
	return g
}

// next begins another workflow.
func (g *Events) next() {
	g.run++
	g.step = 0
	g.id = append(g.id[:0], "strategy_workflow-"...)
	g.id = strconv.AppendUint(g.id, g.run, 36)
}

// Append appends the next body to dst.
func (g *Events) Append(dst []byte) []byte {
	if g.step == eventsPerRun {
		g.next()
	}
	start := len(dst)
	g.clock = g.clock.Add(time.Microsecond)
	dst = append(dst, `{"event_type":"`...)
	switch g.step {
	case 9:
		dst = g.head(dst, "workflow_progress", "")
		dst = append(dst, `"workflow_progress":{"completed_agents":4,"total_agents":9,"current_phase":2,"estimated_completion":"`...)
		dst = g.clock.Add(90*time.Second).AppendFormat(dst, time.RFC3339)
		dst = append(dst, `"}`...)
	case eventsPerRun - 1:
		dst = g.head(dst, "workflow_completion", "")
		dst = append(dst, `"workflow_completion":{"status":"completed","total_execution_time_ms":`...)
		dst = strconv.AppendInt(dst, 60_000+g.rng.Int64N(60_000), 10)
		dst = append(dst, `,"successful_agents":9,"failed_agents":0,"results_available":true}`...)
	default:
		n := g.step
		if n > 9 {
			n--
		}
		dst = g.head(dst, "agent_status_update", agents[n/2])
		if n%2 == 0 {
			dst = append(dst, `"agent_status":{"previous_status":"starting","current_status":"running"}`...)
		} else {
			dst = append(dst, `"agent_status":{"previous_status":"running","current_status":"completed","execution_time_ms":`...)
			dst = strconv.AppendInt(dst, 2_000+g.rng.Int64N(20_000), 10)
			dst = append(dst, '}')
		}
	}
	g.step++
	return g.results(dst, start)
}

func (g *Events) head(dst []byte, eventType, agent string) []byte {
	dst = append(dst, eventType...)
	dst = append(dst, `","timestamp":"`...)
	dst = g.clock.AppendFormat(dst, "2006-01-02T15:04:05.000000Z07:00")
	dst = append(dst, `","workflow_id":"`...)
	dst = append(dst, g.id...)
	dst = append(dst, `",`...)
	if agent != "" {
		dst = append(dst, `"agent_id":"`...)
		dst = append(dst, agent...)
		dst = append(dst, `",`...)
	}
	return append(dst, `"data":{`...)
}

const tail = `"}}}`

var words = [...]string{
	"audience", "segment", "returning visitors", "conversion", "checkout", "hypothesis", "variation", "uplift",
	"campaign", "content gap", "landing page", "personalised", "journey stage", "retention", "experiment",
	"traffic allocation", "schema markup", "consent", "integration", "sample size", "priority", "owner", "quarter",
}

// results fills the body up to its size, as an agent's results would.
func (g *Events) results(dst []byte, start int) []byte {
	dst = append(dst, `,"results":{"confidence_score":0.`...)
	dst = strconv.AppendInt(dst, 50+g.rng.Int64N(50), 10)
	dst = append(dst, `,"recommendations":[`...)
	end := start + g.size - len(tail)
	for i := range 2 + g.rng.IntN(3) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"title":"`...)
		dst = append(dst, g.word()...)
		dst = append(dst, ' ')
		dst = append(dst, g.word()...)
		dst = append(dst, `","impact":`...)
		dst = strconv.AppendInt(dst, g.rng.Int64N(100), 10)
		dst = append(dst, '}')
	}
	dst = append(dst, `],"summary":"`...)
	for len(dst) < end {
		w := g.word()
		dst = append(dst, w[:min(len(w), end-len(dst))]...)
		if len(dst) < end {
			dst = append(dst, ' ')
		}
	}
	return append(dst, tail...)
}

func (g *Events) word() string { return words[g.rng.IntN(len(words))] }
