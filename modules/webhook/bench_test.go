package webhook

import (
	"crypto/sha256"
	"testing"

	"github.com/osa-edge/osa-gateway/event"
)

var sample = []byte(`{"event_type":"agent_status_update","timestamp":"2026-11-22T05:00:00.000001Z","workflow_id":"strategy_workflow-1abcd",` +
	`"agent_id":"content_review","data":{"agent_status":{"previous_status":"running","current_status":"completed","execution_time_ms":12345},` +
	`"results":{"confidence_score":0.87,"recommendations":[{"title":"audience uplift","impact":12},{"title":"schema markup","impact":40}],"summary":"` +
	`audience segment returning visitors conversion checkout hypothesis variation uplift campaign content gap landing page personalised journey ` +
	`stage retention experiment traffic allocation schema markup consent integration sample size priority owner quarter audience segment ` +
	`returning visitors conversion checkout hypothesis variation uplift campaign content gap landing page personalised journey stage retention ` +
	`experiment traffic allocation schema markup consent integration"}}}`)

// What becomes of a body between its signature and the log.
func BenchmarkBody(b *testing.B) {
	m := newOPAL(OPAL{})
	b.SetBytes(int64(len(sample)))
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := checkBody(sample); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("digest", func(b *testing.B) {
		for b.Loop() {
			_ = sha256.Sum256(sample)
		}
	})
	b.Run("map", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e := &event.Event{BodyDigest: event.Digest{1}}
			if bad := m.Map(sample, e); len(bad) > 0 {
				b.Fatal(bad)
			}
		}
	})
}
