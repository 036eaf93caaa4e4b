package sync

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func TestParseRequestRefuses(t *testing.T) {
	tests := map[string][]string{
		`[]`:                            {"body"},
		`null`:                          {"body"},
		`"text"`:                        {"body"},
		`{`:                             {"body"},
		`{} {}`:                         {"body"},
		strings.Repeat("[", 100_000):    {"body"},
		`{"sync_scope":1}`:              {"sync_scope"},
		`{"force_restart":"yes"}`:       {"force_restart"},
		`{"agent_filter":"geo_audit"}`:  {"agent_filter"},
		`{"agent_filter":["a",""]}`:     {"agent_filter[1]"},
		`{"agent_filter":["a\u0000"]}`:  {"agent_filter[0]"},
		`{"timeout_override":"10"}`:     {"timeout_override"},
		`{"timeout_override":0}`:        {"timeout_override"},
		`{"timeout_override":-5}`:       {"timeout_override"},
		`{"timeout_override":1e400}`:    {"timeout_override"},
		`{"timeout_override":90000000}`: {"timeout_override"},
		`{"workflow_name":5}`:           {"workflow_name"},
		`{"metadata":[],"client_context":"x","retry_failed_only":0}`: {"client_context", "metadata", "retry_failed_only"},
		`{"metadata":{"a":1},"a":2}`:                                 {"a"},
		`{"metadata":{"agent_filter":["a"]},"agent_filter":["b"]}`:   {"agent_filter"},
	}
	for body, want := range tests {
		_, invalid, err := ParseRequest([]byte(body))
		var got []string
		for _, i := range invalid {
			got = append(got, i.Field)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%.60s: refuses %v (%v), want %v", body, got, err, want)
		}
	}
	if _, _, err := ParseRequest([]byte(`{"workflow_name":"other"}`)); !errors.Is(err, ErrOtherWorkflow) {
		t.Errorf("another workflow: %v", err)
	}
}

func TestParseRequestAccepts(t *testing.T) {
	for _, body := range []string{"", " \n", "{}", `{"metadata":null,"agent_filter":null,"workflow_name":null,"timeout_override":null,"x":null}`, `{"agent_filter":[]}`} {
		req, invalid, err := ParseRequest([]byte(body))
		if err != nil || invalid != nil || req.Timeout != 0 || len(req.AgentFilter) != 0 || len(req.Metadata) != 0 {
			t.Errorf("%q: %+v, %v, %v", body, req, invalid, err)
		}
	}
	for number, want := range map[string]time.Duration{"1": time.Second, "86400": 24 * time.Hour, "86401": 86401 * time.Millisecond, "1.5": 1500 * time.Millisecond} {
		req, _, _ := ParseRequest([]byte(`{"timeout_override":` + number + `}`))
		if req == nil || req.Timeout != want || string(req.Metadata["timeout_override"]) != number {
			t.Errorf("timeout_override %s: %+v", number, req)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"sync_scope":"all","client_context":{"a":[1,2]},"metadata":{"b":null}}`,
		`{"agent_filter":["geo_audit","GEO_AUDIT"],"timeout_override":1e3,"force_restart":true,"retry_failed_only":false}`,
		`{"workflow_name":"strategy_workflow","extra":{"deep":[[[]]]}}`, `{"metadata":null,"x":"\ud800"}`, `{"a":1,"a":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		req, invalid, err := ParseRequest(body)
		if req == nil {
			if len(invalid) == 0 && err == nil {
				t.Fatal("refused without a reason")
			}
			return
		}
		run := newRun("w", 0, StartOptions{Request: req, RunTimeout: time.Minute})
		raw, err := json.Marshal(newTrigger(&run, req, "http://localhost/"))
		if err != nil || !json.Valid(raw) {
			t.Fatalf("cannot be sent on: %v", err)
		}
		if len(run.Scheduled) == 0 || !run.Deadline.After(run.StartedAt) {
			t.Fatalf("made the run %+v", run)
		}
	})
}

func TestRefusals(t *testing.T) {
	opal := newOPAL(t, accept("w"))
	g := newGateway(t, opal.URL)
	foreign := &osa.Principal{ID: "k2", WorkspaceID: "ws_other", Permissions: []string{osa.PermOPALRead, osa.PermOPALTrigger}}
	reader := &osa.Principal{ID: "k4", WorkspaceID: testWorkspace, Permissions: []string{osa.PermOPALRead}}
	trigger := &osa.Principal{ID: "k5", WorkspaceID: testWorkspace, Permissions: []string{osa.PermOPALTrigger}}
	tests := []struct {
		name   string
		reply  reply
		status int
		code   string
	}{
		{"nobody", g.post("", as(nil)), 401, httperror.CodeUnauthenticated},
		{"nobody reads", g.do("GET", "", as(nil)), 401, httperror.CodeUnauthenticated},
		{"without opal:trigger", g.post("", as(reader)), 403, httperror.CodeAccessDenied},
		{"without opal:read", g.do("GET", "", as(trigger)), 403, httperror.CodeAccessDenied},
		{"another workspace", g.post("", as(foreign)), 403, httperror.CodeAccessDenied},
		{"another workflow", g.post(`{"workflow_name":"other"}`), 403, httperror.CodeAccessDenied},
		{"wrong types", g.post(`{"force_restart":1,"metadata":2}`), 400, httperror.CodeValidationFailed},
		{"another method", g.do("PUT", ""), 405, httperror.CodeMethodNotAllowed},
	}
	for _, tt := range tests {
		if tt.reply.status != tt.status || tt.reply.problem == nil || tt.reply.problem.Code != tt.code {
			t.Errorf("%s: answered %d %s", tt.name, tt.reply.status, tt.reply.raw)
		}
	}
	if details := g.post(`{"force_restart":1,"metadata":2}`).at("details").([]any); len(details) != 2 {
		t.Errorf("lists %v", details)
	}
	if len(opal.received()) != 0 {
		t.Error("OPAL was called")
	}
	operator := &osa.Principal{ID: "k3", WorkspaceID: "ws_other", Permissions: []string{osa.PermOPALTrigger, osa.PermAllWorkspaces}}
	if got := g.post("", as(operator)); got.status != 200 {
		t.Errorf("workspace:* is answered %d", got.status)
	}
	// Callers of another workspace see the configuration, and not the run.
	if got := g.do("GET", "", as(foreign)); got.status != 200 || got.at("run") != nil || got.at("workflow_security", "account_validation") != true {
		t.Errorf("another workspace: GET answers %s", got.raw)
	}
	if got := g.do("GET", ""); got.at("run", "sync_id") == nil {
		t.Errorf("GET answers %s", got.raw)
	}
}

func TestConfigurationProblems(t *testing.T) {
	const secret = "https://user:hunter2@opal.example.org/h"
	tests := []struct {
		name     string
		change   func(*Sync)
		dev      bool
		problems []string // one for each, a part of it
	}{
		{"all is well", func(*Sync) {}, false, nil},
		{"nothing is set", func(s *Sync) {
			s.settings.WebhookURL, s.settings.AuthKey, s.settings.Workspace, s.settings.BaseURL = "", "", "", ""
		}, false, []string{"webhook_url (OPAL_WEBHOOK_URL) is not set", "auth_key (OPAL_STRATEGY_WORKFLOW_AUTH_KEY) is not set", "workspace_id (OPAL_WORKSPACE_ID) is not set", "base_url (BASE_URL) is not set"}},
		{"short key", func(s *Sync) { s.settings.AuthKey = "short" }, false, []string{"shorter than 32"}},
		{"placeholder key", func(s *Sync) { s.settings.AuthKey = "your-32-character-auth-key-goes-here-now" }, false, []string{"example"}},
		{"key with a line break", func(s *Sync) { s.settings.AuthKey = testKey + "\nx" }, false, []string{"header"}},
		{"clear text in production", func(s *Sync) { s.settings.WebhookURL = "http://opal.example.org/h" }, false, []string{"must be https"}},
		{"clear text in development", func(s *Sync) { s.settings.WebhookURL = "http://opal.example.org/h" }, true, nil},
		{"clear text to loopback", func(s *Sync) { s.settings.WebhookURL = "http://[::1]:9/h" }, false, nil},
		{"not http", func(s *Sync) { s.settings.BaseURL = "ftp://x/" }, false, []string{"base_url"}},
		{"no host", func(s *Sync) { s.settings.BaseURL = "http:///x" }, false, []string{"no host"}},
		{"documents' placeholder", func(s *Sync) { s.settings.WebhookURL = "https://webhook.example.org/webhooks/<account>/<webhook>" }, false, []string{"placeholder"}},
		{"credentials in the URL", func(s *Sync) { s.settings.WebhookURL = secret }, false, []string{"credentials"}},
		{"placeholder workspace", func(s *Sync) { s.settings.Workspace = "your-workspace-id" }, false, []string{"workspace_id"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGateway(t, "http://127.0.0.1:1", tt.change)
			g.settings.Production = !tt.dev
			rep := g.do(http.MethodGet, "")
			problems, _ := rep.at("configuration", "problems").([]any)
			if len(problems) != len(tt.problems) || rep.at("workflow_security", "account_validation") != (len(tt.problems) == 0) {
				t.Fatalf("GET answers %s", rep.raw)
			}
			for i, want := range tt.problems {
				if !strings.Contains(problems[i].(string), want) {
					t.Errorf("problem %q, want %q", problems[i], want)
				}
			}
			if len(tt.problems) == 0 {
				return
			}
			got := g.post("")
			if got.status != 500 || got.problem.Code != "Configuration Error" || got.problem.Message != "Environment validation failed" ||
				got.at("success") != false || len(got.at("details").([]any)) != len(tt.problems) {
				t.Errorf("POST answers %s", got.raw)
			}
			if strings.Contains(rep.raw+got.raw, "hunter2") || strings.Contains(rep.raw+got.raw, testKey) {
				t.Error("a secret is shown")
			}
		})
	}
}
