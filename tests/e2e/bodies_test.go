package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// limit is max_body of Caddyfile.example.
const limit = 10 << 20

func sized(n int) []byte {
	body := gateway.Event("wf-size", "geo_audit", stamp(), map[string]any{"pad": ""})
	return bytes.Replace(body, []byte(`"pad":""`), []byte(`"pad":"`+strings.Repeat("x", n-len(body))+`"`), 1)
}

// TestBodySizes: what is over the limit is refused however it is framed, and
// what is not whole is never stored.
func TestBodySizes(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	signed := func(body []byte, more ...string) []string {
		return append([]string{header(g.Sign(body, time.Now())), jsonType}, more...)
	}
	before := count(t, g)

	over := sized(limit + 1)
	huge := sized(3 * limit)
	small := gateway.Event("wf-size", "geo_audit", stamp(), nil)
	for name, tt := range map[string]struct {
		raw  gateway.Raw
		want []int // 0 is a connection that ends without an answer
	}{
		"a byte over":              {gateway.Raw{Header: signed(over), Body: over}, []int{413}},
		"three times over":         {gateway.Raw{Header: signed(huge), Body: huge}, []int{413, 0}},
		"over in chunks":           {gateway.Raw{Header: signed(over, "Transfer-Encoding: chunked"), Body: gateway.Chunked(over, 60_000), NoLength: true}, []int{413}},
		"far over in chunks":       {gateway.Raw{Header: signed(huge, "Transfer-Encoding: chunked"), Body: gateway.Chunked(huge, 60_000), NoLength: true}, []int{413, 0}},
		"says more than the limit": {gateway.Raw{Header: signed(small, fmt.Sprintf("Content-Length: %d", limit+1)), Body: small, NoLength: true}, []int{413}},
		"says 2^62":                {gateway.Raw{Header: signed(small, "Content-Length: 4611686018427387904"), Body: small, NoLength: true}, []int{413}},
		"says 20 digits":           {gateway.Raw{Header: signed(small, "Content-Length: 99999999999999999999"), Body: small, NoLength: true}, []int{400}},
		"says -1":                  {gateway.Raw{Header: signed(small, "Content-Length: -1"), Body: small, NoLength: true}, []int{400}},
		"two lengths":              {gateway.Raw{Header: signed(small, "Content-Length: 5", fmt.Sprintf("Content-Length: %d", len(small))), Body: small, NoLength: true}, []int{400}},
		"says less than it sends":  {gateway.Raw{Header: signed(small, fmt.Sprintf("Content-Length: %d", len(small)-10)), Body: small, NoLength: true}, []int{401}},
		"says more than it sends":  {gateway.Raw{Header: signed(small, fmt.Sprintf("Content-Length: %d", len(small)+10)), Body: small, NoLength: true, CloseEarly: true}, []int{400, 408, 0}},
		"ends within a chunk":      {gateway.Raw{Header: signed(small, "Transfer-Encoding: chunked"), Body: []byte("fffff\r\n" + string(small)), NoLength: true, CloseEarly: true}, []int{400, 0}},
		"a chunk that is none":     {gateway.Raw{Header: signed(small, "Transfer-Encoding: chunked"), Body: []byte("zz\r\n" + string(small)), NoLength: true, CloseEarly: true}, []int{400, 0}},
		"no last chunk":            {gateway.Raw{Header: signed(small, "Transfer-Encoding: chunked"), Body: bytes.TrimSuffix(gateway.Chunked(small, 50), []byte("0\r\n\r\n")), NoLength: true, CloseEarly: true}, []int{400, 0}},
		"an encoding":              {gateway.Raw{Header: signed(small, "Content-Encoding: gzip"), Body: small}, []int{415}},
		"another type":             {gateway.Raw{Header: []string{header(g.Sign(small, time.Now())), "Content-Type: text/plain"}, Body: small}, []int{415}},
		"a form":                   {gateway.Raw{Header: []string{header(g.Sign(small, time.Now())), "Content-Type: application/x-www-form-urlencoded"}, Body: small}, []int{415}},
		"no type":                  {gateway.Raw{Header: []string{header(g.Sign(small, time.Now()))}, Body: small}, []int{415}},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := tt.raw.Send(g.Addr)
			status := 0
			if err == nil {
				status = resp.Status
			}
			for _, want := range tt.want {
				if status == want {
					if status == http.StatusRequestEntityTooLarge {
						wantError(t, resp, status, "payload_too_large")
					}
					return
				}
			}
			t.Errorf("answered with %d (%v), want one of %v", status, err, tt.want)
		})
	}
	if after := count(t, g); after != before {
		t.Fatalf("the log had %d events and has %d", before, after)
	}

	// The largest that passes, with and without a length, comes back whole.
	for name, chunk := range map[string]int{"with its length": 0, "in chunks": 64_000, "in chunks of a byte": 1} {
		t.Run("the limit "+name, func(t *testing.T) {
			body := sized(limit)
			if chunk == 1 {
				body = gateway.Event("wf-size", "geo_audit", stamp(), nil)
			}
			raw := gateway.Raw{Header: signed(body), Body: body}
			if chunk > 0 {
				raw = gateway.Raw{Header: signed(body, "Transfer-Encoding: chunked"), Body: gateway.Chunked(body, chunk), NoLength: true}
			}
			stored(t, g, raw, body)
		})
	}
}

// stored sends a request that must be taken and compares what was kept.
func stored(t *testing.T, g *gateway.Gateway, raw gateway.Raw, body []byte) {
	t.Helper()
	resp, err := raw.Send(g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Status != http.StatusOK {
		t.Fatalf("answered with %d: %.300s", resp.Status, resp.Body)
	}
	var a gateway.Answer
	resp.JSON(t, &a)
	got, err := gateway.Payload(g.Get("/api/webhook-events/" + a.WebhookID).Body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, bytes.TrimSpace(body)) {
		t.Errorf("%d bytes were sent, the payload has %d: %.200q", len(body), len(got), got)
	}
}

// TestStrangeBodies: what is signed and is strange JSON, or none, is a clear 400
// or is kept as it came, and never a panic or 500.
func TestStrangeBodies(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	object := func(more string) string {
		return fmt.Sprintf(`{"workflow_id":"wf-strange","event_type":"agent_status_update","agent_id":"geo_audit","timestamp":%q%s}`, stamp(), more)
	}
	const refused, kept, either = 400, 200, 0
	for name, tt := range map[string]struct {
		body string
		want int
	}{
		"empty":                      {"", refused},
		"null":                       {"null", refused},
		"a number":                   {"1", refused},
		"a string":                   {`"x"`, refused},
		"an array":                   {"[" + object("") + "]", refused},
		"no JSON":                    {"hello", refused},
		"two objects":                {object("") + object(""), refused},
		"cut off":                    {strings.TrimSuffix(object(""), "}"), refused},
		"a comma at the end":         {strings.TrimSuffix(object(""), "}") + ",}", refused},
		"single quotes":              {`{'workflow_id':'x','event_type':'y'}`, refused},
		"a comment":                  {"/* */" + object(""), refused},
		"NaN":                        {object(`,"x":NaN`), refused},
		"byte order mark":            {"\ufeff" + object(""), refused},
		"NUL":                        {object(",\"x\":\"\x00\""), refused},
		"NUL after it":               {object("") + "\x00", refused},
		"invalid UTF-8":              {object(",\"x\":\"\xff\xfe\""), refused},
		"an overlong slash":          {object(",\"x\":\"\xc0\xaf\""), refused},
		"depth 100,000":              {object(`,"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)), refused},
		"depth 100,000 of objects":   {object(`,"x":` + strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)), refused},
		"depth 100 ":                 {object(`,"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100)), kept},
		"ten million brackets":       {strings.Repeat("[", limit), refused},
		"ten million braces":         {strings.Repeat(`{"`, limit/2-1), refused},
		"ten million quotes":         {`{"a` + strings.Repeat(`\"`, limit/2-4), refused},
		"1e400":                      {object(`,"execution_time_ms":1e400,"data":{"agent_status":{"execution_time_ms":-1e999}}`), either},
		"a number of 100,000 places": {object(`,"execution_time_ms":` + strings.Repeat("9", 100_000)), either},
		"lone surrogate in a text":   {object(`,"x":"\ud800"`), kept},
		"lone surrogate in the id":   {`{"workflow_id":"wf-\ud800","event_type":"x"}`, refused},
		"an escaped NUL in a text":   {object(`,"x":"\u0000"`), kept},
		"an escaped NUL in the id":   {`{"workflow_id":"wf-\u0000","event_type":"x"}`, refused},
		"a line break in the id":     {`{"workflow_id":"wf\ndata: x","event_type":"x"}`, refused},
		"a line break in the type":   {`{"workflow_id":"wf","event_type":"x\n\nid: evt_1"}`, refused},
		"duplicate keys":             {object(`,"workflow_id":"wf-second"`), either},
		"a duplicate, escaped":       {object(`,"workflow\u005fid":"wf-second"`), either},
		"ten thousand keys":          {object("," + strings.TrimSuffix(strings.Repeat(`"k":1,`, 10_000), ",")), kept},
		"an empty key":               {object(`,"":1`), kept},
		"a key like a path":          {object(`,"data.agent_status":{"current_status":"failed"},"a|b":1,"#":2,"@this":3`), kept},
		"white space":                {" \n\t\r" + object("") + "\r\n ", kept},
		"big numbers":                {object(`,"x":123456789012345678901234567890,"y":0.1000000000000000055511151231257827,"z":-0`), kept},
		"escapes":                    {object(`,"x":"\u0041\/\u2028<>&\ud83d\ude00"`), kept},
		"HTML":                       {object(`,"x":"</script><script>alert(1)</script>"`), kept},
		"no workflow_id":             {`{"event_type":"x"}`, refused},
		"no event_type":              {`{"workflow_id":"x"}`, refused},
		"workflow_id null":           {`{"workflow_id":null,"event_type":"x"}`, refused},
		"workflow_id empty":          {`{"workflow_id":"","event_type":"x"}`, refused},
		"workflow_id a number":       {`{"workflow_id":7,"event_type":"x"}`, refused},
		"workflow_id an object":      {`{"workflow_id":{},"event_type":"x"}`, refused},
		"workflow_id too long":       {`{"workflow_id":"` + strings.Repeat("w", 257) + `","event_type":"x"}`, refused},
		"workflow_id of 256":         {`{"workflow_id":"` + strings.Repeat("é", 256) + `","event_type":"x"}`, kept},
		"nulls":                      {object(`,"data":null,"correlation_id":null,"workflow_name":null,"status":null`), kept},
		"all of the wrong type":      {object(`,"data":[1],"status":{},"severity":7,"error_message":[],"execution_time_ms":"x"`), either},
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(tt.body)
			raw := gateway.Raw{Header: []string{header(g.Sign(body, time.Now())), jsonType}, Body: body}
			resp, err := raw.Send(g.Addr)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if want == either && (resp.Status == refused || resp.Status == kept) {
				want = resp.Status
			}
			switch {
			case resp.Status != want:
				t.Fatalf("answered with %d, want %d: %.300s", resp.Status, want, resp.Body)
			case want == refused:
				if members := wantError(t, resp, refused, "validation_failed"); fmt.Sprint(members["details"]) == "[]" {
					t.Errorf("nothing says what is wrong: %s", resp.Body)
				}
			default:
				stored(t, g, raw, body) // a duplicate by now
			}
		})
	}
	// And it goes on, over the stream as well.
	seqs := post(t, g, "wf-strange", 1)
	s := g.MustOpen("last_event_id=evt_0")
	if err := s.WaitSeq(seqs[0], within); err != nil {
		t.Fatal(err)
	}
	for _, m := range s.Messages() {
		if _, err := m.JSON(); err != nil {
			t.Errorf("%s carries what is no JSON: %v: %.200s", m.ID, err, m.Data)
		}
	}
	if log := g.Log(); strings.Contains(log, "panic") {
		t.Errorf("something panicked:\n%s", g.LogTail(40))
	}
}
