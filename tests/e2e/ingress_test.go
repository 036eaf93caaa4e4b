package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// TestSignatureBeforeAnUpstream: osa_signature without osa_guard, before
// reverse_proxy, hands the body on as it was signed.
func TestSignatureBeforeAnUpstream(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.ContentLength != int64(len(b)) {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = w.Write(b)
	}))
	defer upstream.Close()
	for name, first := range map[string]string{"alone": "", "behind osa_guard": "osa_guard\n"} {
		t.Run(name, func(t *testing.T) {
			g := gateway.Start(t, gateway.Options{Edit: func(text string) string {
				return gateway.Replace(t, text, "\tosa_guard\n", "\thandle "+gateway.WebhookPath+"/proxied {\n"+first+
					"osa_signature osa {env.OSA_WEBHOOK_SHARED_SECRET}\nreverse_proxy "+
					upstream.Listener.Addr().String()+"\n}\n\tosa_guard\n")
			}})
			for _, size := range []int{300, 100_000, 3 << 20} {
				body := sized(size)
				resp, err := g.Do("POST", gateway.WebhookPath+"/proxied", body,
					"Content-Type", "application/json", "X-OSA-Signature", g.Sign(body, time.Now()))
				if err != nil || resp.Status != 200 || string(resp.Body) != string(body) {
					t.Errorf("%d bytes: %v %+.300v", size, err, resp)
				}
			}
			resp, err := g.Do("POST", gateway.WebhookPath+"/proxied", []byte("{}"), "Content-Type", "application/json")
			if err != nil || resp.Status != 401 {
				t.Errorf("unsigned: %v %+.300v", err, resp)
			}
		})
	}
}

// TestSlowSenders: senders without credentials that send a part of a large body and
// then nothing, on whatever path, keep no webhook out. Where the path does not
// exist they are answered at once; where a signature is awaited they get 408.
func TestSlowSenders(t *testing.T) {
	g := gateway.Start(t, gateway.Options{Edit: func(text string) string {
		return gateway.Replace(t, text, "\tosa_guard\n", "\tosa_guard {\n\t\tmax_inflight 16MiB\n\t\tmin_rate 4KiB 2s\n\t}\n")
	}})
	signed := g.Sign([]byte("{}"), time.Now())
	part := strings.Repeat("x", 4_300_000)
	for path, want := range map[string]int{"/nothing/here": 404, "/api/nothing/here": 401, gateway.WebhookPath: 408} {
		t.Run(path, func(t *testing.T) {
			const senders = 12
			answers := make(chan string, senders)
			for range senders {
				conn, err := net.Dial("tcp", g.Addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(within))
				go func() {
					_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nX-OSA-Signature: %s\r\n"+
						"Content-Length: 9000000\r\n\r\n", path, g.Addr, signed)
					go func() { _, _ = io.WriteString(conn, part) }()
					line := make([]byte, 12)
					_, _ = io.ReadFull(conn, line)
					answers <- strings.TrimPrefix(string(line), "HTTP/1.1 ")
				}()
			}
			for range 20 {
				post(t, g, "wf-meanwhile", 1)
			}
			got := map[string]int{}
			for range senders {
				got[<-answers]++
			}
			// Those that found no room were told so before.
			if n := got[fmt.Sprint(want)]; n == 0 || n+got["503"] != senders {
				t.Errorf("answers: %v, want %d", got, want)
			}
			post(t, g, "wf-after", 3)
		})
	}
}
