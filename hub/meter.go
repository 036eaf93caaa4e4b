package hub

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/osa-edge/osa-gateway/event"
)

// The period that a meter covers.
const (
	meterSeconds = 60
	meterSamples = 128
	meterIdle    = 10 * time.Minute
)

// meters measure the event rate of each workspace, so that a workspace does not
// see another's traffic. "" is all workspaces.
type meters struct {
	start       time.Time
	byWorkspace map[string]*meter
	prunedAt    time.Time
	samples     []float64 // Scratch space.
}

type meter struct {
	last      time.Time
	seconds   [2*meterSeconds + 8]struct{ second, n int64 }
	durations [meterSamples]struct {
		second int64
		d      time.Duration
	}
	next int

	cached       []byte // The last result of Metrics, and the second it was made in.
	cachedSecond int64
}

func (m *meters) count(e *event.Event, now time.Time) {
	if !e.IsWebhook() {
		return
	}
	m.of("").count(e, now)
	if e.WorkspaceID != "" {
		m.of(e.WorkspaceID).count(e, now)
	}
	if now.Sub(m.prunedAt) > meterIdle {
		m.prunedAt = now
		for name, one := range m.byWorkspace {
			if name != "" && now.Sub(one.last) > meterIdle {
				delete(m.byWorkspace, name)
			}
		}
	}
}

func (m *meters) of(workspace string) *meter {
	one := m.byWorkspace[workspace]
	if one == nil {
		if m.byWorkspace == nil {
			m.byWorkspace = make(map[string]*meter)
		}
		one = new(meter)
		m.byWorkspace[workspace] = one
	}
	return one
}

func (m *meter) count(e *event.Event, now time.Time) {
	m.last = now
	second := now.Unix()
	slot := &m.seconds[int(second)%len(m.seconds)]
	if slot.second != second {
		slot.second, slot.n = second, 0
	}
	slot.n++
	sample := &m.durations[m.next]
	sample.second, sample.d = second, e.ProcessingTime
	m.next = (m.next + 1) % len(m.durations)
}

// sum counts the events of the seconds in [from, to).
func (m *meter) sum(from, to int64) (n float64) {
	for _, s := range m.seconds {
		if s.second >= from && s.second < to {
			n += float64(s.n)
		}
	}
	return n
}

// median returns the median processing time in [from, to), in milliseconds.
func (m *meter) median(scratch []float64, from, to int64) (ms float64, ok bool, _ []float64) {
	scratch = scratch[:0]
	for _, s := range m.durations {
		if s.second != 0 && s.second >= from && s.second < to {
			scratch = append(scratch, event.Milliseconds(s.d))
		}
	}
	if len(scratch) == 0 {
		return 0, false, scratch
	}
	slices.Sort(scratch)
	return scratch[len(scratch)/2], true, scratch
}

// Metrics returns performance_metric_update events for a workspace ("" for
// all), measured over the last minute: webhooks per minute, and the processing
// time of a webhook before the disk write. They are made at most once a second
// and shared.
func (h *Hub) Metrics(workspace string) []byte {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.meters.of(workspace)
	m.last = now
	if m.cached == nil || m.cachedSecond != now.Unix() {
		m.cached, m.cachedSecond = h.meters.appendMetrics(nil, m, now), now.Unix()
	}
	return m.cached
}

func (m *meters) appendMetrics(dst []byte, one *meter, now time.Time) []byte {
	to := now.Unix() + 1
	observed := min(meterSeconds, max(1, now.Sub(m.start).Seconds()))
	rate := round(one.sum(to-meterSeconds, to) * 60 / observed)
	var before *float64
	if earlier := now.Sub(m.start).Seconds() - meterSeconds; earlier >= 1 {
		v := round(one.sum(to-2*meterSeconds, to-meterSeconds) * 60 / min(meterSeconds, earlier))
		before = &v
	}
	dst = appendMetric(dst, "webhooks_per_minute", "per_minute", rate, before, "normal", now)

	took, ok, scratch := one.median(m.samples, to-meterSeconds, to)
	if ok {
		before = nil
		earlier, ok, _ := one.median(scratch[len(scratch):], to-2*meterSeconds, to-meterSeconds)
		if ok {
			before = &earlier
		}
		dst = appendMetric(dst, "webhook_processing_time", "ms", took, before, processingStatus(took), now)
	}
	m.samples = scratch
	return dst
}

// processingStatus rates the median processing time of a webhook.
func processingStatus(ms float64) string {
	switch {
	case ms > 1000:
		return "critical"
	case ms > 250:
		return "warning"
	}
	return "normal"
}

func appendMetric(dst []byte, name, unit string, current float64, previous *float64, status string, now time.Time) []byte {
	o := object{append(dst, "event: "+event.StreamPerformanceMetricUpdate+"\ndata: "...)}
	o.open()
	o.string("metric_name", name)
	o.float("current_value", &current)
	o.float("previous_value", previous)
	trend := "stable"
	if previous != nil && current > *previous {
		trend = "up"
	} else if previous != nil && current < *previous {
		trend = "down"
	}
	o.string("trend", trend)
	o.string("threshold_status", status)
	o.string("unit", unit)
	o.key("window_seconds")
	o.b = strconv.AppendInt(o.b, meterSeconds, 10)
	o.time("timestamp", now)
	o.close()
	return append(o.b, '\n', '\n')
}

func round(f float64) float64 { return math.Round(f*100) / 100 }
