//go:build linux

package hostile

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// strangerTricks need no credentials.
var strangerTricks = []trick{
	{"connect-and-wait", 60, 0, connectAndWait},
	{"connect-beyond-descriptors", descriptors + 400, 0, connectAndWait},
	{"half-request-line", 30, 0, halfRequestLine},
	{"half-header", 30, 0, halfHeader},
	{"half-body-small", 30, 0, halfBodySmall},
	{"half-body-medium", 130, time.Second, halfBodyMedium},
	{"half-body-large", 40, time.Second, halfBodyLarge},
	{"half-body-chunked", 40, 0, halfBodyChunked},
	{"expect-continue", 30, 0, expectContinue},
	{"bad-signatures", 4, 10 * time.Millisecond, badSignatures},
	{"bad-signatures-large", 1, time.Second, badSignaturesLarge},
	{"bad-credentials", 4, 10 * time.Millisecond, badCredentials},
	{"open-reads", 2, 10 * time.Millisecond, openReads},
	{"read-nothing", 20, 0, readNothing},
	{"pipeline", 2, 100 * time.Millisecond, pipeline},
	{"unknown-hosts", 2, 10 * time.Millisecond, unknownHosts},
	{"reset", 4, 20 * time.Millisecond, reset},
	{"vanish", 40, 0, vanish},
	{"tls-half-handshake", 20, 0, tlsHalfHandshake},
	{"h2-reset-flood", 2, 50 * time.Millisecond, h2ResetFlood},
	{"h2-settings-flood", 2, 50 * time.Millisecond, h2SettingsFlood},
	{"h2-continuation", 4, 50 * time.Millisecond, h2Continuation},
	{"h2-half-body", 8, 0, h2HalfBody},
	{"h2-no-window", 4, 0, h2NoWindow},
}

// paths that a body may be sent to: with a signature, with a credential, open,
// and unknown.
var paths = []string{gateway.WebhookPath, "/api/opal/sync", "/api/webhook-events", "/api/health", "/nowhere"}

func (w *worker) path() string { return paths[w.rng.IntN(len(paths))] }

func connectAndWait(ctx context.Context, w *worker) {
	if conn, done, ok := w.dial(ctx, w.Addr); ok {
		defer done()
		w.untilCut(ctx, conn)
	}
}

func halfRequestLine(ctx context.Context, w *worker) {
	if conn, done, ok := w.dial(ctx, w.Addr); ok {
		defer done()
		if _, err := io.WriteString(conn, "POST "+w.path()[:4]); err == nil {
			w.untilCut(ctx, conn)
		}
	}
}

func halfHeader(ctx context.Context, w *worker) {
	if conn, done, ok := w.dial(ctx, w.Addr); ok {
		defer done()
		w.drip(ctx, conn, "GET "+w.path()+" HTTP/1.1\r\nHost: "+w.Addr+"\r\nX-Slow: ", 'a', 500*time.Millisecond)
	}
}

// head of a POST that somebody without credentials made up.
func (w *worker) head(length string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAuthorization: Bearer opal_prod_%s\r\n"+
		"X-OSA-Signature: t=%d,v1=%064x\r\n%s\r\n\r\n", w.path(), w.Addr, gateway.RandomText(), time.Now().Unix(), w.rng.Uint64(), length)
}

func halfBodySmall(ctx context.Context, w *worker) {
	if conn, done, ok := w.dial(ctx, w.Addr); ok {
		defer done()
		w.drip(ctx, conn, w.head("Content-Length: 2000")+`{"workflow_id":"`, 'a', time.Second)
	}
}

// halfBodyMedium are as large as what is still small to the gateway, which keeps
// room for those.
func halfBodyMedium(ctx context.Context, w *worker) {
	if conn, done, ok := w.dial(ctx, w.Addr); ok {
		defer done()
		w.drip(ctx, conn, w.head("Content-Length: 256000")+`{"workflow_id":"`+strings.Repeat("a", 250_000), 'a', time.Second)
	}
}

func halfBodyLarge(ctx context.Context, w *worker) {
	if conn, done, ok := w.dial(ctx, w.Addr); ok {
		defer done()
		w.drip(ctx, conn, w.head("Content-Length: 9000000")+`{"workflow_id":"`+strings.Repeat("a", 4_300_000), 'a', time.Second)
	}
}

func halfBodyChunked(ctx context.Context, w *worker) {
	size := 1 << (8 + w.rng.IntN(14))
	if conn, done, ok := w.dial(ctx, w.Addr); ok {
		defer done()
		chunk := fmt.Sprintf("%x\r\n%s\r\n%x\r\n{", size, strings.Repeat(" ", size), size)
		w.drip(ctx, conn, w.head("Transfer-Encoding: chunked")+chunk, 'a', time.Second)
	}
}

func expectContinue(ctx context.Context, w *worker) {
	if conn, done, ok := w.dial(ctx, w.Addr); ok {
		defer done()
		if _, err := io.WriteString(conn, w.head("Content-Length: 10000000\r\nExpect: 100-continue")); err == nil {
			w.untilCut(ctx, conn)
		}
	}
}

// client without credentials; it is new in every turn of many.
func (w *worker) client() (*http.Client, func()) {
	tr := transport(w.from)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}, tr.CloseIdleConnections
}

func (w *worker) post(ctx context.Context, path, body string, header ...string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL+path, strings.NewReader(body))
	if err != nil {
		panic(err) // every address here is good
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w.mark.sent.Add(int64(len(body)))
	return req
}

func (w *worker) get(ctx context.Context, path, key string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL+path, nil)
	if err != nil {
		panic(err) // every address here is good
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	return req
}

// signatures that do not hold.
func (w *worker) badSignature() string {
	now := time.Now().Unix()
	forms := []string{
		"", "t=,v1=", fmt.Sprintf("t=%d,v1=%064x", now, w.rng.Uint64()), fmt.Sprintf("t=%d,v1=%064x", now-400, w.rng.Uint64()),
		fmt.Sprintf("t=%d", now) + strings.Repeat(fmt.Sprintf(",v1=%064x", w.rng.Uint64()), 100), strings.Repeat("t=1,", 2000),
	}
	return forms[w.rng.IntN(len(forms))]
}

func badSignatures(ctx context.Context, w *worker) {
	client, done := w.client()
	defer done()
	for range 50 {
		body := `{"workflow_id":"` + strings.Repeat("a", 1<<w.rng.IntN(16)) + `","event_type":"started"}`
		w.ask(client, w.post(ctx, gateway.WebhookPath, body, "X-OSA-Signature", w.badSignature()))
		pause(ctx, 5*time.Millisecond)
	}
}

func badSignaturesLarge(ctx context.Context, w *worker) {
	client, done := w.client()
	defer done()
	w.ask(client, w.post(ctx, gateway.WebhookPath, strings.Repeat("a", 10_000_000), "X-OSA-Signature", w.badSignature()))
}

func badCredentials(ctx context.Context, w *worker) {
	client, done := w.client()
	defer done()
	for range 50 {
		token := []string{
			"opal_prod_" + gateway.RandomText(), "opal_prod_" + strings.Repeat("a", 8000), strings.Repeat("eyJh.", 1500),
			"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhIn0." + strings.Repeat("A", 342), "", strings.Repeat(".", 8000),
		}[w.rng.IntN(6)]
		path := []string{"/api/webhook-events?limit=1000", gateway.StreamPath, "/api/webhook-events/evt_1", "/api/opal/sync"}[w.rng.IntN(4)]
		w.ask(client, w.get(ctx, path, token))
		pause(ctx, 5*time.Millisecond)
	}
}

// openReads asks for what is open to everybody.
func openReads(ctx context.Context, w *worker) {
	client, done := w.client()
	defer done()
	for range 50 {
		w.ask(client, w.get(ctx, []string{gateway.WebhookPath, "/api/health", "/nowhere", "/metrics"}[w.rng.IntN(4)], ""))
		pause(ctx, 5*time.Millisecond)
	}
}

// readNothing sends requests for as long as the gateway takes them.
func readNothing(ctx context.Context, w *worker) {
	conn, done, ok := w.dial(ctx, w.Addr)
	if !ok {
		return
	}
	defer done()
	request := "GET " + []string{"/nowhere", "/api/health", gateway.WebhookPath, "/metrics"}[w.rng.IntN(4)] + " HTTP/1.1\r\nHost: " + w.Addr + "\r\n\r\n"
	w.stuff(ctx, conn, request)
}

// pipeline sends many requests at once, and reads the answers.
func pipeline(ctx context.Context, w *worker) {
	conn, done, ok := w.dial(ctx, w.Addr)
	if !ok {
		return
	}
	defer done()
	const n = 300
	go func() {
		_, _ = io.WriteString(conn, strings.Repeat("GET /nowhere HTTP/1.1\r\nHost: "+w.Addr+"\r\n\r\n", n)+
			"GET /nowhere HTTP/1.1\r\nHost: "+w.Addr+"\r\nConnection: close\r\n\r\n")
	}()
	w.untilCut(ctx, conn)
}

func unknownHosts(ctx context.Context, w *worker) {
	client, done := w.client()
	defer done()
	for range 50 {
		req := w.post(ctx, w.path(), `{}`)
		req.Host = []string{"example.com", "a." + strings.Repeat("a.", 100) + "test", "localhost", "127.0.0.1:1", "[::1]", gateway.RandomText()}[w.rng.IntN(6)]
		w.ask(client, req)
		pause(ctx, 5*time.Millisecond)
	}
}

func tlsHalfHandshake(ctx context.Context, w *worker) {
	conn, done, ok := w.dial(ctx, w.tlsAddr)
	if !ok {
		return
	}
	defer done()
	switch w.rng.IntN(3) {
	case 0: // nothing at all
	case 1: // the begin of a record that says to be as long as one may be
		_, _ = conn.Write([]byte{22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3})
	case 2: // a whole handshake, and then nothing
		c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the gateway's own certificate
		if err := c.HandshakeContext(ctx); err != nil {
			w.cutOff(ctx)
			return
		}
	}
	w.untilCut(ctx, conn)
}
