package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// TestReload: open streams survive reloads and failed reloads under load, and
// miss and repeat nothing; `validate` beside the gateway disturbs nobody.
func TestReload(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	var streams []*gateway.Stream
	for i := range 10 {
		query := ""
		if i%2 == 1 {
			query = "agent_id=content_review" // all of them
		}
		streams = append(streams, g.MustOpen(query))
	}

	// Events come all the time, and each is answered, whatever happens.
	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	var mu sync.Mutex
	var sent []uint64
	var failed []string
	for sender := range 4 {
		load.Add(1)
		go func() {
			defer load.Done()
			for n := 0; ctx.Err() == nil; n++ {
				seq, err := deliver(g, gateway.Event("wf-reload", "content_review", fmt.Sprintf("sender-%d-%d", sender, n), nil))
				mu.Lock()
				if err != nil {
					failed = append(failed, err.Error())
				} else {
					sent = append(sent, seq)
				}
				mu.Unlock()
			}
		}()
	}
	so := func(more int) {
		t.Helper()
		mu.Lock()
		from := len(sent)
		mu.Unlock()
		gateway.Eventually(t, within, "events go on", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(sent) >= from+more
		})
	}
	generation := func(want string) {
		t.Helper()
		gateway.Eventually(t, within, "configuration "+want+" answers", func() bool {
			return g.MustDo("GET", "/api/health", nil).Header.Get("X-Config-Generation") == want
		})
	}

	so(30)
	if out, err := g.ReloadCommand(g.WriteConfig("Caddyfile.1", gateway.Generation(t, 1))); err != nil {
		t.Fatalf("reload: %v\n%s", err, out)
	}
	generation("1")
	so(30)
	for name, edit := range map[string]func(string) string{
		"syntax": func(s string) string { return s + "\n}" },
		"unknown": func(s string) string {
			return gateway.Replace(t, s, "\t\tosa_stream\n", "\t\tosa_stream {\n\t\t\tunknown 1\n\t\t}\n")
		},
		"validation": func(s string) string {
			return gateway.Replace(t, s, "\t\tosa_stream\n", "\t\tosa_stream {\n\t\t\theartbeat 5m\n\t\t}\n")
		},
		"other options of the open store": func(s string) string {
			return gateway.Replace(t, s, "\t\tstorage badger {\n", "\t\tstorage badger {\n\t\t\treserve 300MiB\n")
		},
		"a port that is taken": func(s string) string { return s + "\nhttp://127.0.0.1:1 {\n\tbind 192.0.2.1\n}\n" },
	} {
		out, err := g.ReloadCommand(g.WriteConfig("Caddyfile.bad", edit))
		if err == nil {
			t.Fatalf("%s: a bad configuration was loaded", name)
		}
		if strings.TrimSpace(out) == "" {
			t.Errorf("%s: nothing says what is wrong", name)
		}
		generation("1")
		so(10)
	}
	for range 3 {
		if out, err := g.Run("validate", "--config", g.WriteConfig("Caddyfile.2", gateway.Generation(t, 2)), "--adapter", "caddyfile"); err != nil {
			t.Fatalf("validate: %v\n%s", err, out)
		}
	}
	so(10)
	for n := 2; n < 6; n++ {
		if err := g.Reload(g.WriteConfig("Caddyfile.n", gateway.Generation(t, n))); err != nil {
			t.Fatal(err)
		}
		so(20)
	}
	generation("5")
	cancel()
	load.Wait()
	if len(failed) > 0 {
		t.Errorf("%d events were not taken, the first with %s", len(failed), failed[0])
	}
	slices.Sort(sent)
	for i, s := range streams {
		if err := s.WaitSeq(sent[len(sent)-1], within); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		if got := s.Seqs(); !slices.Equal(got, sent) {
			t.Errorf("stream %d has %d events, %d were sent", i, len(got), len(sent))
		}
		if ended, err := s.Ended(); ended {
			t.Errorf("stream %d ended: %v", i, err)
		}
	}
	if took := g.Terminate(); took > 5*time.Second {
		t.Errorf("SIGTERM took %v", took)
	}
	for i, s := range streams {
		if err := s.WaitEnd(within); err != nil {
			t.Errorf("stream %d, opened four configurations ago: %v", i, err)
		}
	}
}

// deliver sends an event as a platform does: once more if the connection that it
// was sent on was just being closed for having been idle (RFC 9112 §9.5). Any
// answer but 200 is an error.
func deliver(g *gateway.Gateway, body []byte) (seq uint64, err error) {
	for range 3 {
		var resp *gateway.Response
		if resp, err = g.Post(body); err != nil {
			continue
		}
		var a gateway.Answer
		if resp.Status != http.StatusOK || json.Unmarshal(resp.Body, &a) != nil {
			return 0, fmt.Errorf("%d %s", resp.Status, resp.Body)
		}
		return gateway.Message{ID: a.WebhookID}.Seq(), nil
	}
	return 0, err
}

// TestTerminate: SIGTERM with 200 open streams is done in seconds, the streams
// are told when to come back, and nothing is lost.
func TestTerminate(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	var streams []*gateway.Stream
	for i := range 200 {
		claims := gateway.Claims("events:read")
		claims["sub"] = fmt.Sprintf("watcher-%d", i/50) // a principal may open a hundred
		s := g.MustOpen("", "Authorization", "Bearer "+g.Token(claims))
		streams = append(streams, s)
	}
	ids := post(t, g, "wf-exit", 20)
	// Some never read.
	stuck := 0
	for range 5 {
		stop, err := gateway.Stuck(g.Addr, "GET "+gateway.StreamPath+"?last_event_id=evt_0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+g.Key+"\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		stuck++
	}
	// One has sent nothing, one half a request.
	for _, request := range []string{"", "POST " + gateway.WebhookPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"} {
		stop, err := gateway.Stuck(g.Addr, request)
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	took := g.Terminate()
	t.Logf("SIGTERM with %d open streams took %v", len(streams)+stuck, took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("SIGTERM took %v", took)
	}
	retries := make(map[int]bool)
	for i, s := range streams {
		if err := s.WaitEnd(within); err != nil {
			t.Fatal(err)
		}
		if got := s.Seqs(); !slices.Equal(got, ids) {
			t.Errorf("stream %d has %v", i, got)
		}
		retries[s.Retry()] = true
	}
	if len(retries) < 10 {
		t.Errorf("200 streams were told to come back after %d different times: all at once", len(retries))
	}
	g.Start()
	if got := g.MustList("order=asc"); len(got) != len(ids) {
		t.Errorf("after the restart the log has %d events, want %d", len(got), len(ids))
	}
	if strings.Contains(g.Log(), "panic") {
		t.Error("something panicked")
	}
}

// TestStartsWithEverythingOrNot: what is missing is named at once.
func TestStartsWithEverythingOrNot(t *testing.T) {
	g := gateway.New(t, gateway.Options{Env: map[string]string{
		"OSA_WEBHOOK_SHARED_SECRET": "", "OSA_KEY_PEPPER": "", "OSA_KEYS_FILE": "", "OSA_JWT_PUBLIC_KEY": "",
	}})
	g.StartOnly()
	if err := g.WaitExit(); err == nil {
		t.Fatal("without any secret it starts")
	}
	for _, name := range []string{"OSA_WEBHOOK_SHARED_SECRET", "OSA_KEY_PEPPER", "OSA_KEYS_FILE", "OSA_JWT_PUBLIC_KEY"} {
		if !strings.Contains(g.Log(), name) {
			t.Errorf("%s is missing and not named:\n%s", name, g.LogTail(10))
		}
	}
	for name, value := range map[string]string{"short": "tooshort", "placeholder": "your-webhook-secret-your-webhook-secret"} {
		g := gateway.New(t, gateway.Options{Env: map[string]string{"OSA_WEBHOOK_SHARED_SECRET": value}})
		g.StartOnly()
		if err := g.WaitExit(); err == nil {
			t.Errorf("with a %s secret it starts", name)
		}
		if log := g.RawLog(); !strings.Contains(log, "OSA_WEBHOOK_SHARED_SECRET") || strings.Contains(log, value) {
			t.Errorf("with a %s secret it does not say so, or shows it", name)
		}
	}
}
