package docs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// drive asks a route for what its directives promise.
func (r *running) drive(t *testing.T, l leaf) {
	t.Helper()
	p := &probe{running: r, leaf: l, t: t}
	terminals := map[string]func(*probe){
		"reverse_proxy": (*probe).proxy, "osa_webhook": (*probe).webhook, "osa_diagnostics": (*probe).diagnostics,
		"osa_events": (*probe).events, "osa_health": (*probe).health,
		"osa_stream": (*probe).stream, "osa_sync": (*probe).sync, "osa_simulator": (*probe).simulator,
		"error": (*probe).status, "static_response": (*probe).status, "metrics": (*probe).metrics,
	}
	check, known := terminals[l.Handler]
	if !known {
		t.Fatalf("nobody here knows what %s promises: say it in this test", l.Handler)
	}
	check(p)
}

// probe is one route under test.
type probe struct {
	*running
	leaf
	t *testing.T
	n int
}

// url of the route; last is what stands for its asterisk.
func (p *probe) url(last string) string {
	path := p.path
	if path == "" {
		path = "/any"
	}
	return p.leaf.site + strings.ReplaceAll(path, "*", last)
}

// answer to a request, and the request's own name.
type answer struct {
	*http.Response
	body []byte
	id   string
}

// ask sends a request; header are name and value in turns.
func (p *probe) ask(method, url string, body []byte, header ...string) answer {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	p.n++
	id := p.t.Name() + "-" + strconv.Itoa(p.n)
	req.Header.Set("X-Test", id)
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, url, err)
	}
	if p.has("osa_guard") != nil && resp.Header.Get("X-Request-Id") == "" {
		p.t.Errorf("%s %s: %d without X-Request-ID, behind osa_guard", method, url, resp.StatusCode)
	}
	return answer{resp, raw, id}
}

// want checks the status, and the shape of an error.
func (p *probe) want(what string, a answer, statuses ...int) {
	p.t.Helper()
	if !slices.Contains(statuses, a.StatusCode) {
		p.t.Errorf("%s: %s %s is answered %d, want %v: %.200s", what, a.Request.Method, a.Request.URL.Path, a.StatusCode, statuses, a.body)
		return
	}
	var e gateway.Error
	if a.StatusCode >= 400 && p.shaped && a.Request.Method != http.MethodHead &&
		(json.Unmarshal(a.body, &e) != nil || e.Error == "" || e.Message == "" || e.RequestID == "") {
		p.t.Errorf("%s: an error that is not in the one shape: %.200s", what, a.body)
	}
}

func (p *probe) takes(method string) bool {
	return len(p.methods) == 0 || slices.Contains(p.methods, method)
}

// secret is the value that a placeholder of the configuration has.
func (p *probe) secret(value string) string {
	name, ok := strings.CutPrefix(strings.TrimSuffix(value, "}"), "{env.")
	switch {
	case !ok:
		return value
	case name == "OSA_WEBHOOK_SHARED_SECRET":
		return p.Secret
	}
	if p.env[name] == "" {
		p.t.Fatalf("nobody here knows the secret %s", value)
	}
	return p.env[name]
}

// signatures of a body: one that holds, and others.
func (p *probe) signatures(h *handler, body []byte) (good []string, bad map[string]string) {
	p.t.Helper()
	now := time.Now()
	bad = map[string]string{"no signature": "", "a wrong signature": fmt.Sprintf("t=%d,v1=%064d", now.Unix(), 0), "no header": "nonsense"}
	for _, s := range h.Secrets {
		sign := func(at time.Time) string {
			t := strconv.FormatInt(at.Unix(), 10)
			return "t=" + t + ",v1=" + gateway.MAC(p.secret(s.Value), t, body)
		}
		holds := true
		if at, err := time.Parse(time.RFC3339, s.NotBefore); err == nil && at.After(now) {
			holds = false
		}
		if at, err := time.Parse(time.RFC3339, s.NotAfter); err == nil && at.Before(now) {
			holds = false
		}
		if holds {
			good = append(good, sign(now))
			bad["an old signature"] = sign(now.Add(-time.Hour))
		} else {
			bad["a secret that does not hold now"] = sign(now)
		}
	}
	return good, bad
}

// asks are the permissions that the leaf itself asks for.
func (p *probe) asks() []string {
	switch p.Handler {
	case "osa_events", "osa_diagnostics", "osa_stream":
		return []string{"events:read"}
	case "osa_sync":
		return []string{"opal:read", "opal:trigger"}
	}
	return nil
}

// credentials of the route: headers of those that are enough, and the status of
// those that are not.
func (p *probe) credentials() (good [][]string, bad map[string]int) {
	h := p.has("osa_auth")
	if h == nil {
		return [][]string{nil}, nil
	}
	required := p.asks()
	if r := p.has("osa_require"); r != nil {
		required = append(required, r.Permissions...)
	}
	good = append(good, []string{"Authorization", "Bearer " + p.Key})
	bad = map[string]int{"": http.StatusUnauthorized, "opal_prod_" + gateway.RandomText(): http.StatusUnauthorized}
	if len(required) > 0 {
		bad[p.NoKey] = http.StatusForbidden
	}
	for _, provider := range h.Providers {
		if provider == "jwt" {
			claims := gateway.Claims(strings.Join(required, " "))
			good = append(good, []string{"Authorization", "Bearer " + p.Token(claims)})
			bad[p.ConfusedToken(claims)] = http.StatusUnauthorized
		}
	}
	return good, bad
}

// event is a body that is new in every call.
func (p *probe) event() []byte {
	p.n++
	return gateway.Event("wf-"+gateway.RandomText(), "geo_audit", strconv.Itoa(p.n), map[string]any{"pad": strings.Repeat("é", 5000)})
}

// admitted sends a request in every way that is to be let in or not, and hands
// the answers to those that are.
func (p *probe) admitted(method, url string, body func() []byte, check func(a answer, body []byte)) {
	p.t.Helper()
	if !p.takes(method) {
		return
	}
	make1 := func() []byte {
		if body == nil {
			return nil
		}
		return body()
	}
	good, bad := p.credentials()
	for token, status := range bad {
		var header []string
		if token != "" {
			header = []string{"Authorization", "Bearer " + token}
		}
		p.want("a credential that is not enough", p.ask(method, url, make1(), header...), status)
	}
	signed := p.has("osa_signature")
	for _, header := range good {
		b := make1()
		if signed == nil || len(signed.only) > 0 && !slices.Contains(signed.only, method) {
			check(p.ask(method, url, b, header...), b)
			continue
		}
		holding, not := p.signatures(signed, b)
		if len(holding) == 0 {
			p.t.Error("no secret of this snippet holds today")
		}
		for what, signature := range not {
			p.want(what, p.ask(method, url, b, slices.Concat(header, []string{"X-OSA-Signature", signature})...), http.StatusUnauthorized)
		}
		for _, signature := range holding {
			check(p.ask(method, url, b, slices.Concat(header, []string{"X-OSA-Signature", signature})...), b)
			break // the body of another would be the same
		}
	}
}

// proxy: requests reach what stands behind, whole.
func (p *probe) proxy() {
	url := p.url("thing")
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		body := p.event
		if method == http.MethodGet || method == http.MethodDelete {
			body = nil
		}
		p.admitted(method, url, body, func(a answer, sent []byte) {
			p.want("let in", a, http.StatusOK)
			got, ok := p.upstream.got(a.id)
			switch {
			case !ok:
				p.t.Errorf("%s did not reach the upstream", method)
			case got.method != method || !bytes.Equal(got.body, sent):
				p.t.Errorf("%s with %d bytes reached the upstream as %s with %d bytes", method, len(sent), got.method, len(got.body))
			}
		})
	}
	g := p.has("osa_guard")
	if g == nil {
		return
	}
	limit := g.MaxBody
	if limit == 0 {
		limit = 10 << 20
	}
	// A body is refused for its size or type, or first for its credential.
	refused := []int{http.StatusRequestEntityTooLarge}
	if p.has("osa_auth") != nil || p.has("osa_signature") != nil {
		refused = append(refused, http.StatusUnauthorized)
	}
	p.want("a body beyond the bound", p.ask(http.MethodPost, url, bytes.Repeat([]byte(" "), int(limit)+1)), refused...)
	refused[0] = http.StatusUnsupportedMediaType
	p.want("a body of another type", p.ask(http.MethodPost, url, []byte("a=b"), "Content-Type", "application/x-unheard-of"), refused...)
}

// webhook: a signed event is kept once.
func (p *probe) webhook() {
	url := p.url("x")
	p.admitted(http.MethodPost, url, p.event, func(a answer, body []byte) {
		p.want("a signed event", a, http.StatusOK)
		if status := text(a.body, "status"); status != "processed" {
			p.t.Errorf("a new event is answered %.200s", a.body)
		}
		good, _ := p.signatures(p.has("osa_signature"), body)
		again := p.ask(http.MethodPost, url, body, "X-OSA-Signature", good[0])
		p.want("the same again", again, http.StatusOK)
		if text(again.body, "status") != "duplicate" || text(again.body, "webhook_id") != text(a.body, "webhook_id") {
			p.t.Errorf("the same event again is answered %.200s after %.200s", again.body, a.body)
		}
	})
	p.admitted(http.MethodGet, url, nil, func(a answer, _ []byte) {
		p.want("how the receiver is", a, http.StatusOK)
		if !json.Valid(a.body) {
			p.t.Errorf("GET is answered %.200s", a.body)
		}
	})
}

// events: the list, an event that there is not, and nothing below it.
func (p *probe) events() {
	root := p.leaf.site + strings.TrimSuffix(cmp.Or(p.PathPrefix, "/api/webhook-events"), "/")
	p.answers(root, "events")
	p.admitted(http.MethodGet, root+"/evt_99999", nil, func(a answer, _ []byte) { p.want("no such event", a, http.StatusNotFound) })
}

// diagnostics: last-webhook.
func (p *probe) diagnostics() {
	p.answers(p.leaf.site+cmp.Or(p.PathPrefix, "/api/diagnostics")+"/last-webhook", "events")
}

// health: its status.
func (p *probe) health() { p.answers(p.url("x"), "status") }

// answers checks that GET is answered with an object that has the member.
func (p *probe) answers(url, member string) {
	p.admitted(http.MethodGet, url, nil, func(a answer, _ []byte) {
		p.want(member, a, http.StatusOK)
		var all map[string]json.RawMessage
		if err := json.Unmarshal(a.body, &all); err != nil || all[member] == nil {
			p.t.Errorf("%s has no %s: %.200s", url, member, a.body)
		}
	})
	good, _ := p.credentials()
	for _, header := range good {
		p.want("another method", p.ask(http.MethodDelete, url, nil, header...), http.StatusMethodNotAllowed)
	}
}

// stream: it opens.
func (p *probe) stream() {
	good, bad := p.credentials()
	for token, status := range bad {
		p.want("a credential that is not enough", p.ask(http.MethodGet, p.url("x"), nil, "Authorization", "Bearer "+token), status)
	}
	for _, header := range good {
		ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url("x"), nil)
		if err != nil {
			p.t.Fatal(err)
		}
		if len(header) == 2 {
			req.Header.Set(header[0], header[1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			p.t.Fatal(err)
		}
		begin := make([]byte, len("retry:"))
		_, err = io.ReadFull(resp.Body, begin)
		if ct := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || ct != "text/event-stream" || err != nil || string(begin) != "retry:" {
			p.t.Errorf("the stream is answered %s, %s, %q, %v", resp.Status, ct, begin, err)
		}
		cancel()
		_ = resp.Body.Close()
	}
}

// sync: GET reports, POST runs.
func (p *probe) sync() {
	p.admitted(http.MethodGet, p.url("x"), nil, func(a answer, _ []byte) { p.want("the configuration", a, http.StatusOK) })
	p.admitted(http.MethodPost, p.url("x"), func() []byte { return []byte(`{}`) }, func(a answer, _ []byte) {
		p.want("Force Sync", a, http.StatusOK)
		if text(a.body, "sync_id") == "" {
			p.t.Errorf("Force Sync is answered %.200s", a.body)
		}
	})
}

// simulator: GET tells what runs, POST takes a trigger with the key.
func (p *probe) simulator() {
	p.want("what runs", p.ask(http.MethodGet, p.url("opal"), nil), http.StatusOK)
	trigger := []byte(`{"workflow_name":"strategy_workflow","callback_url":"` + p.upstream.URL + `/callback"}`)
	p.want("a trigger without the key", p.ask(http.MethodPost, p.url("opal"), trigger), http.StatusUnauthorized)
	a := p.ask(http.MethodPost, p.url("opal"), trigger, "Authorization", "Bearer "+p.env["OPAL_STRATEGY_WORKFLOW_AUTH_KEY"])
	p.want("a trigger", a, http.StatusOK, http.StatusAccepted)
}

// status: an answer that stands in the Caddyfile.
func (p *probe) status() {
	want, err := strconv.Atoi(strings.Trim(string(p.StatusCode), `"`))
	if err != nil {
		want = http.StatusInternalServerError
		if p.Handler == "static_response" {
			want = http.StatusOK
		}
	}
	p.want("what the Caddyfile says", p.ask(http.MethodGet, p.url("x"), nil), want)
}

func (p *probe) metrics() { p.want("metrics", p.ask(http.MethodGet, p.url("x"), nil), http.StatusOK) }

// text is a member of a JSON object.
func text(body []byte, name string) string {
	var m map[string]any
	_ = json.Unmarshal(body, &m)
	s, _ := m[name].(string)
	return s
}
