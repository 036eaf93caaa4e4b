package stream

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
)

// TestSlowButSteady: a client that takes little, but takes it all the time, is
// not cut off, however much the kernel would hold for it.
func TestSlowButSteady(t *testing.T) {
	for name, way := range ways(t) {
		if name == "HTTP/3" || name == "HTTP/2" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(s *site) {
				s.stream["write_timeout"] = "1s"
				if way != nil {
					way(s)
				}
			})
			conn := s.stuck(t, "")
			big := strings.Repeat("x", 100_000)
			for range 400 {
				s.publish(&event.Event{WorkflowID: "w", Type: "error_notification", ErrorMessage: big})
			}
			// Half a megabyte a second for twice the timeout.
			tick := time.NewTicker(32 * time.Millisecond)
			defer tick.Stop()
			_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			for stop := time.Now().Add(2 * time.Second); time.Now().Before(stop); <-tick.C {
				if _, err := io.CopyN(io.Discard, conn, 16<<10); err != nil {
					t.Fatal(err)
				}
			}
			if the.count() != 1 {
				t.Error("the stream was closed")
			}
		})
	}
}
