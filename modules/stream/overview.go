package stream

import (
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/hub"
	"github.com/osa-edge/osa-gateway/modules/stream/reactor"
)

// summary is how all streams of the process stand, and what became of those
// before them.
type summary struct {
	Open          int               `json:"open"`
	TakenOver     int               `json:"taken_over"`
	Blocked       int               `json:"blocked"`
	CatchingUp    int               `json:"catching_up"`
	LagEvents     quantiles         `json:"lag_events"`
	HubLagEvents  uint64            `json:"hub_lag_events"`
	Filters       int               `json:"filters"`
	WindowBytes   int               `json:"window_bytes"`
	Opened        uint64            `json:"opened"`
	Deliveries    uint64            `json:"deliveries"`
	BytesSent     uint64            `json:"bytes_sent"`
	Resets        uint64            `json:"resets"`
	Gaps          uint64            `json:"gaps"`
	SkippedEvents uint64            `json:"skipped_events"`
	Closed        map[string]uint64 `json:"closed"`
	Refused       map[string]uint64 `json:"refused"`
}

type quantiles struct {
	P50 uint64 `json:"p50"`
	P99 uint64 `json:"p99"`
	Max uint64 `json:"max"`
}

// summary counts these streams and asks their hubs.
func (t *registry) summary(open []*stream) summary {
	out := summary{
		Open: len(open), Blocked: reactor.Blocked(), Opened: totals.opened.Load(), Deliveries: totals.deliveries.Load(),
		BytesSent: totals.bytes.Load(), Resets: totals.resets.Load(), Gaps: totals.gaps.Load(), SkippedEvents: totals.skipped.Load(),
		Closed: values(totals.closed), Refused: values(totals.refused),
	}
	lags := make([]uint64, 0, len(open))
	for _, s := range open {
		if s.detached.Load() {
			out.TakenOver++
		}
		lag, _ := s.lag()
		lags = append(lags, lag)
	}
	if n := len(lags); n > 0 {
		slices.Sort(lags)
		out.LagEvents = quantiles{lags[n/2], lags[n*99/100], lags[n-1]}
	}
	for _, h := range t.used() {
		s := h.Stats()
		out.HubLagEvents = max(out.HubLagEvents, s.Lag)
		out.CatchingUp += s.Behind
		out.Filters += s.Filters
		out.WindowBytes += s.WindowBytes
	}
	return out
}

func values(counters map[string]*atomic.Uint64) map[string]uint64 {
	out := make(map[string]uint64, len(counters))
	for name, n := range counters {
		out[name] = n.Load()
	}
	return out
}

// streams are those that are open, in no order.
func (t *registry) streams() []*stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.queue)
}

// client is who reads a stream, as far as may be shown.
type client struct {
	remote, ip, protocol string
}

func clientOf(r *http.Request) client {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return client{r.RemoteAddr, ip, r.Proto}
}

// openStream is what is told of one stream. Its principal is named by the id of
// its key or the subject of its token, never by a credential.
type openStream struct {
	ID            uint64     `json:"id"`
	Since         time.Time  `json:"since"`
	Principal     *string    `json:"principal"`    // null: anonymous
	WorkspaceID   *string    `json:"workspace_id"` // null: all of them
	ExpiresAt     *time.Time `json:"expires_at"`
	RemoteAddress string     `json:"remote_address"`
	ClientIP      string     `json:"client_ip"`
	Protocol      string     `json:"protocol"`
	RequestID     string     `json:"request_id"`
	Filter        filter     `json:"filter"`
	OnSlow        string     `json:"on_slow"`
	TakenOver     bool       `json:"taken_over"`
	Position      string     `json:"position"`
	LagEvents     uint64     `json:"lag_events"`
	// CatchingUp: what comes next is read from the log. The lag is then how far
	// it is to the head, of which not everything need match.
	CatchingUp bool   `json:"catching_up"`
	EventsSent uint64 `json:"events_sent"`
	BytesSent  uint64 `json:"bytes_sent"`
}

// filter is what the stream selects; null selects all.
type filter struct {
	WorkflowIDs []string `json:"workflow_ids"`
	AgentIDs    []string `json:"agent_ids"`
	EventTypes  []string `json:"event_types"`
	MinPriority *string  `json:"min_priority"`
}

func (s *stream) show() openStream {
	f := s.sub.Filter()
	out := openStream{
		ID: s.number, Since: s.start.UTC(), RemoteAddress: s.client.remote, ClientIP: s.client.ip, Protocol: s.client.protocol,
		RequestID: s.request, OnSlow: policyName(s.sub.Policy()), TakenOver: s.detached.Load(),
		Position: event.FormatID(s.position.Load()), EventsSent: s.events.Load(), BytesSent: s.bytes.Load(),
		Filter: filter{WorkflowIDs: slices.Clone(f.WorkflowIDs), AgentIDs: slices.Clone(f.AgentIDs), EventTypes: slices.Clone(f.Types)},
	}
	out.LagEvents, out.CatchingUp = s.lag()
	if f.MinPriority > 0 {
		name := f.MinPriority.String()
		out.Filter.MinPriority = &name
	}
	if s.workspace != "" {
		out.WorkspaceID = &s.workspace
	}
	if !s.principal.Anonymous() {
		out.Principal = &s.owner
		if !s.principal.ExpiresAt.IsZero() {
			at := s.principal.ExpiresAt.UTC()
			out.ExpiresAt = &at
		}
	}
	return out
}

func (s *stream) lag() (events uint64, beyond bool) { return s.sub.Lag(s.position.Load()) }

func policyName(p hub.Policy) string {
	for name, policy := range policies {
		if policy == p {
			return name
		}
	}
	return ""
}
