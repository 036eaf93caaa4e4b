package e2e

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// TestCredentialsNeverReachALog: whatever spelling a client uses, on every kind of
// route, in both formats, with debug lines.
func TestCredentialsNeverReachALog(t *testing.T) {
	for _, format := range []string{"json", "console"} {
		t.Run(format, func(t *testing.T) {
			g := gateway.Start(t, gateway.Options{Env: map[string]string{"OSA_LOG_FORMAT": format, "OSA_LOG_LEVEL": "DEBUG"}})
			secret := "hunter2" + gateway.RandomText()
			key := "opal_prod_" + secret
			token := "eyJhbGciOiJub25lIn0.eyJ4IjoxfQ." + secret
			suffixes := []string{
				"?token=" + secret, "?access_token=" + secret, "?api_key=" + secret, "?authorization=Bearer%20" + secret, "?Authorization=Bearer+" + secret,
				"?%74oken=" + secret, "?%2574oken=" + secret, "?ToKeN=" + secret, "?API-KEY=" + secret, "?a=1;token=" + secret, "?token=a;" + secret,
				"?token=1&token=" + secret, "?token[]=" + secret, "?a=%zz&b=" + secret, "?password=" + secret, "?key=" + secret, "?q=" + key, "?q=" + token,
				"?q=Bearer%20" + secret, "?next=" + url.QueryEscape("/x?token="+secret), "?u=" + url.QueryEscape("https://a:"+secret+"@h/"),
				"/" + key, "/" + token, "/token=" + secret, "/token/" + secret, "/Bearer%20" + secret, ";token=" + secret, "/opal%5Fprod%5F" + secret,
			}
			headers := [][]string{
				{"Referer", "https://h/x?token=" + secret}, {"X-Api-Key", secret}, {"X-Auth-Token", secret}, {"X-OSA-Signature", secret}, {"X-Hub-Signature-256", secret},
				{"Authorization", "Bearer " + secret}, {"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+secret))}, {"Proxy-Authorization", "Basic " + secret},
				{"Cookie", "session=" + secret}, {"X-Client-Secret", secret}, {"User-Agent", "curl Bearer " + secret}, {"X-Request-Id", key}, {"X-Correlation-Id", key},
				{"X-Forwarded-Uri", "/x?token=" + secret}, {"Last-Event-ID", key},
			}
			for _, path := range []string{
				"/api/health", "/api/webhook-events", "/api/webhook-events/evt_1", "/api/webhook-events/stream", "/api/webhooks/opal-workflow",
				"/api/diagnostics/last-webhook", "/api/opal/sync", "/nowhere", "/metrics", "/",
			} {
				for _, suffix := range suffixes {
					_, _ = gateway.Raw{Method: "GET", Path: path + suffix, Header: []string{"Connection: close"}}.Send(g.Addr)
				}
				for _, h := range headers {
					_, _ = gateway.Raw{Method: "POST", Path: path, Header: []string{"Connection: close", h[0] + ": " + h[1]}}.Send(g.Addr)
				}
			}
			stream := g.MustOpen("workflow_id="+key, "Referer", "https://h/?token="+secret)
			stream.Close()
			_, _ = gateway.Raw{Method: "GET", Path: "http://user:" + secret + "@" + g.Addr + "/api/health", Header: []string{"Connection: close"}}.Send(g.Addr)
			g.Terminate()
			log := g.RawLog()
			if n := strings.Count(log, "handled request"); n < 300 {
				t.Errorf("%d lines of the access log", n)
			}
			shown := 0
			for line := range strings.Lines(log) {
				encoded := base64.StdEncoding.EncodeToString([]byte("u:" + secret))
				if (strings.Contains(line, secret) || strings.Contains(line, encoded)) && shown < 10 {
					shown++
					t.Errorf("the log has the secret: %.700s", strings.ReplaceAll(line, secret, "<SECRET>"))
				}
			}
		})
	}
}

// TestEveryWayOutMasks: what a sender wrote into an error's text shows no credential
// in a list, on its own, in last-webhook or on a stream.
func TestEveryWayOutMasks(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	stream := g.MustOpen("")
	defer stream.Close()
	secret := "hunter2" + gateway.RandomText()
	var last gateway.Answer
	for _, text := range []string{"401 for Bearer " + secret, "GET https://u:" + secret + "@h/x", "refused: api_key=" + secret, `{\"token\":\"` + secret + `\"}`} {
		for _, kind := range []string{"error_notification", "agent_status_update", "workflow_completion"} {
			last = g.MustPost([]byte(`{"workflow_id":"w","agent_id":"a","event_type":"` + kind + `","status":"failed","error_message":"` + text + `","recovery_action":"` + text +
				`","session_id":"` + secret + `","headers":[{"name":"X-Api-Key","value":"` + secret + `"}],"timestamp":"2026-01-01T00:00:00Z","n":"` + gateway.RandomText() + `"}`))
		}
	}
	seq, err := event.ParseID(last.WebhookID)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.WaitSeq(seq, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	for _, m := range stream.Messages() {
		if strings.Contains(m.Data, secret) {
			t.Errorf("the stream shows it: %s", strings.ReplaceAll(m.Data, secret, "<SECRET>"))
		}
	}
	for _, path := range []string{"/api/webhook-events", "/api/webhook-events/" + last.WebhookID, "/api/diagnostics/last-webhook"} {
		r := g.Get(path)
		if r.Status != 200 || !strings.Contains(string(r.Body), "401 for Bearer ***") && path == "/api/webhook-events" {
			t.Errorf("%s: %d %s", path, r.Status, g.Redact(string(r.Body)))
		}
		if strings.Contains(string(r.Body), secret) {
			t.Errorf("%s shows it: %s", path, strings.ReplaceAll(string(r.Body), secret, "<SECRET>"))
		}
	}
}
