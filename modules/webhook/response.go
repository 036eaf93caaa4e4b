package webhook

import (
	"net/http"
	"strconv"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/response"
)

// answer writes the API guide's WebhookProcessingResponse. It is put together by
// hand: none of its strings needs escaping.
func answer(w http.ResponseWriter, status int, result eventlog.Result, e *event.Event, took time.Duration) error {
	buf := make([]byte, 0, 192)
	buf = append(buf, `{"status":"`...)
	if result.Duplicate {
		buf = append(buf, "duplicate"...)
	} else {
		buf = append(buf, "processed"...)
	}
	buf = append(buf, `","webhook_id":"`...)
	buf = event.AppendID(buf, result.Seq)
	buf = append(buf, `","processing_time_ms":`...)
	buf = strconv.AppendFloat(buf, event.Milliseconds(took), 'f', -1, 64)
	buf = append(buf, `,"events_triggered":[`...)
	if !result.Duplicate {
		name := e.StreamName()
		if name == "" {
			name = "webhook_processed" // the type of unnamed messages
		}
		buf = append(buf, '"')
		buf = append(buf, name...)
		buf = append(buf, '"')
	}
	buf = append(buf, `]}`...)
	response.WriteSmall(w, status, buf)
	return nil
}
