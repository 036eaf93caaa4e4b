package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/osa-edge/osa-gateway/internal/httperror"
)

func TestWorkflow(t *testing.T) {
	receiver := newReceiver(t, nil)
	s := newSim(t)
	ended := s.run(map[string]any{
		"workflow_name": WorkflowName, "workflow_id": "strategy_workflow_77", "correlation_id": "force-sync-1-a",
		"callback_url": receiver.URL + "/cb", "sync_scope": "priority_platforms", "client_context": map[string]any{"a": 1},
		"metadata": map[string]any{"anything": true},
	})
	all := receiver.callbacks()
	if len(all) != 29 || ended.Delivered != 29 || ended.Undelivered != 0 || ended.Dropped != 0 || ended.Status != "ended" {
		t.Fatalf("%d callbacks came; %+v", len(all), ended)
	}
	times := make(map[string]bool)
	phases := map[string]int{}
	for _, a := range agents {
		phases[a.id] = a.phase
	}
	running, completed, phase := map[string]bool{}, map[string]bool{}, 1
	for i, c := range all {
		e := c.event
		if e.WorkflowID != "strategy_workflow_77" || e.WorkflowName != WorkflowName || c.correlation != "force-sync-1-a" {
			t.Errorf("callback %d is of another workflow: %s", i, c.raw)
		}
		if _, err := time.Parse(time.RFC3339, e.Timestamp); err != nil || times[e.Timestamp] {
			t.Errorf("callback %d cannot be told from another: %s", i, e.Timestamp)
		}
		times[e.Timestamp] = true
		switch d := e.Data; {
		case i == 0:
			if e.EventType != "started" || d.Scope != "priority_platforms" {
				t.Errorf("began with %s", c.raw)
			}
		case e.EventType == "agent_status_update" && d.Status.Current == "running":
			running[e.AgentID] = true
			if phases[e.AgentID] < phase {
				t.Errorf("%s ran in phase %d", e.AgentID, phase)
			}
			if phases[e.AgentID] > phase {
				if len(completed) != 3*phase {
					t.Errorf("phase %d began with %d agents completed", phases[e.AgentID], len(completed))
				}
				phase = phases[e.AgentID]
			}
		case e.EventType == "agent_status_update":
			completed[e.AgentID] = true
			if !running[e.AgentID] || d.Status.Current != "completed" || d.Status.Previous != "running" || d.Status.TookMS == nil ||
				*d.Status.Confidence <= 0.5 || *d.Status.Confidence > 1 || !*d.Status.Available ||
				len(d.Results.Insights) != 2 || len(d.Results.Recommendations) != 2 || strings.Contains(c.raw, "%!") {
				t.Errorf("not believable: %s", c.raw)
			}
		case e.EventType == "workflow_progress":
			if p := d.Progress; p["completed_agents"] != float64(len(completed)) || p["total_agents"] != 9.0 || p["current_phase"] != float64(phase) {
				t.Errorf("progress %v after %d agents in phase %d", p, len(completed), phase)
			}
		case i == len(all)-1:
			if p := d.Completion; e.EventType != "workflow_completion" || p["status"] != "completed" || p["successful_agents"] != 9.0 || p["failed_agents"] != 0.0 {
				t.Errorf("ended with %s", c.raw)
			}
		default:
			t.Errorf("callback %d is unexpected: %s", i, c.raw)
		}
	}
	if len(completed) != 9 || phase != 3 {
		t.Errorf("%d agents in %d phases", len(completed), phase)
	}
}

func TestFaults(t *testing.T) {
	count := func(all []got, eventType, status string) (n int) {
		for _, c := range all {
			if c.event.EventType == eventType && (status == "" || c.event.Data.Status.Current == status) {
				n++
			}
		}
		return n
	}
	ordered := func(all []got) bool {
		return slices.IsSortedFunc(all, func(a, b got) int { return strings.Compare(a.event.Timestamp, b.event.Timestamp) })
	}
	distinct := func(all []got) int {
		bodies := make(map[string]bool)
		for _, c := range all {
			bodies[c.raw] = true
		}
		return len(bodies)
	}
	tests := []struct {
		name     string
		config   map[string]any
		metadata map[string]any
		check    func(t *testing.T, all []got, w Workflow)
	}{
		{"fail", nil, map[string]any{"fail": []string{"Geo_Audit", "content_review"}}, func(t *testing.T, all []got, _ Workflow) {
			if count(all, "agent_status_update", "failed") != 2 || count(all, "agent_status_update", "completed") != 7 || count(all, "error_notification", "") != 2 {
				t.Error("not two failures")
			}
			for _, c := range all {
				if s := c.event.Data.Status; s.Current == "failed" && (s.Error["error_message"] == "" || s.Error == nil) {
					t.Errorf("no error details: %s", c.raw)
				}
				if e := c.event.Data.Error; e != nil && (e["severity"] != "high" || len(e["affected_agents"].([]any)) != 1) {
					t.Errorf("error notification %v", e)
				}
			}
			last := all[len(all)-1].event.Data.Completion
			if last["status"] != "completed" || last["completion_status"] != "partial" || last["failed_agents"] != 2.0 {
				t.Errorf("ended with %v", last)
			}
		}},
		{"fail all", map[string]any{"fail": []string{"geo_audit"}}, map[string]any{"agent_filter": []string{"GEO_AUDIT"}}, func(t *testing.T, all []got, _ Workflow) {
			if last := all[len(all)-1].event.Data.Completion; last["status"] != "failed" || last["results_available"] != false {
				t.Errorf("ended with %v", last)
			}
		}},
		{"agent filter", nil, map[string]any{"agent_filter": []string{"roadmap_generator", "geo_audit"}}, func(t *testing.T, all []got, w Workflow) {
			if count(all, "agent_status_update", "completed") != 2 || !slices.Equal(w.Agents, []string{"geo_audit", "roadmap_generator"}) {
				t.Errorf("ran %v", w.Agents)
			}
		}},
		{"repeat", nil, map[string]any{"repeat": 2}, func(t *testing.T, all []got, w Workflow) {
			if len(all) != 87 || distinct(all) != 29 || !ordered(all) {
				t.Errorf("%d callbacks, %d distinct", len(all), distinct(all))
			}
		}},
		{"reorder", map[string]any{"reorder": true}, nil, func(t *testing.T, all []got, _ Workflow) {
			if distinct(all) != 29 || ordered(all) {
				t.Errorf("%d callbacks, in order: %v", len(all), ordered(all))
			}
		}},
		{"configured, undone by the trigger", map[string]any{"reorder": true, "repeat": 3, "drop": 50, "fail": []string{"geo_audit"}}, map[string]any{"reorder": false, "repeat": 0, "drop": 0, "fail": []string{}}, func(t *testing.T, all []got, _ Workflow) {
			if len(all) != 29 || !ordered(all) {
				t.Errorf("%d callbacks", len(all))
			}
		}},
		{"drop some", nil, map[string]any{"drop": 40, "repeat": 1}, func(t *testing.T, all []got, w Workflow) {
			if len(all) == 0 || len(all) >= 58 || len(all) != w.Delivered || w.Dropped+w.Delivered != 58 {
				t.Errorf("%d callbacks, %+v", len(all), w)
			}
		}},
		{"drop all", map[string]any{"drop": 100}, nil, func(t *testing.T, all []got, w Workflow) {
			if len(all) != 0 || w.Dropped != 29 {
				t.Errorf("%d callbacks, %+v", len(all), w)
			}
		}},
		{"slow", map[string]any{"slow": 2}, map[string]any{"duration_ms": 25}, func(t *testing.T, all []got, w Workflow) {
			last := all[len(all)-1].event.Data.Completion
			if w.DurationMS != 50 || last["total_execution_time_ms"] != 50.0 {
				t.Errorf("took %v", last)
			}
		}},
		{"ids of its own", map[string]any{"own_ids": true}, nil, func(t *testing.T, all []got, w Workflow) {
			if w.WorkflowID == "given" || !strings.HasPrefix(w.WorkflowID, "strategy_workflow_") {
				t.Errorf("is called %s", w.WorkflowID)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			receiver := newReceiver(t, nil)
			s := newSim(t, func(config map[string]any) {
				for k, v := range tt.config {
					config[k] = v
				}
			})
			metadata := map[string]any{"simulator": tt.metadata}
			if filter, ok := tt.metadata["agent_filter"]; ok {
				metadata = map[string]any{"agent_filter": filter}
			}
			ended := s.run(map[string]any{"workflow_id": "given", "callback_url": receiver.URL, "metadata": metadata})
			tt.check(t, receiver.callbacks(), ended)
		})
	}
}

// A gateway that is away for a moment loses nothing; one that refuses is not
// pestered.
func TestDelivery(t *testing.T) {
	away := newReceiver(t, func(try int) int {
		if try <= 3 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	refusing := newReceiver(t, func(int) int { return http.StatusUnauthorized })
	s := newSim(t)
	if ended := s.run(map[string]any{"callback_url": away.URL}); ended.Delivered != 29 || away.tries != 32 {
		t.Errorf("%d tries, %+v", away.tries, ended)
	}
	if ended := s.run(map[string]any{"callback_url": refusing.URL}); ended.Undelivered != 29 || refusing.tries != 29 {
		t.Errorf("%d tries, %+v", refusing.tries, ended)
	}
}

func TestTriggerIsRefused(t *testing.T) {
	s := newSim(t)
	header := func(values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["Authorization"] = values }
	}
	for name, change := range map[string]func(*http.Request){
		"no key": header(), "empty": header(""), "another scheme": header("Basic " + testKey), "another key": header("Bearer x" + testKey),
		"part of the key": header("Bearer " + testKey[1:]), "two": header("Bearer "+testKey, "Bearer "+testKey),
	} {
		if resp := s.do("POST", `{"callback_url":"http://localhost/"}`, change); resp.Status() != http.StatusUnauthorized || resp.Problem.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: answered %d", name, resp.Status())
		}
	}
	trigger := func(more string) string { return `{"callback_url":"http://localhost/cb"` + more + `}` }
	for body, field := range map[string]string{
		`[]`: "body", `{`: "body", `{}`: "callback_url", `{"callback_url":7}`: "callback_url",
		`{"callback_url":"http://elsewhere.test/"}`:                  "callback_url",
		`{"callback_url":"http://gateway.test:9/"}`:                  "callback_url",
		`{"callback_url":"http://10.0.0.1/"}`:                        "callback_url",
		`{"callback_url":"http://u:p@localhost/"}`:                   "callback_url",
		`{"callback_url":"file:///etc/passwd"}`:                      "callback_url",
		trigger(`,"workflow_name":"other"`):                          "workflow_name",
		trigger(`,"workflow_id":"a\nb"`):                             "workflow_id",
		trigger(`,"correlation_id":"a\nb"`):                          "correlation_id",
		trigger(`,"metadata":{"agent_filter":["nemo"]}`):             "metadata.agent_filter",
		trigger(`,"metadata":{"simulator":{"fail":["nemo"]}}`):       "metadata.simulator",
		trigger(`,"metadata":{"simulator":{"fails":["geo_audit"]}}`): "metadata.simulator",
		trigger(`,"metadata":{"simulator":{"repeat":"twice"}}`):      "metadata.simulator",
		trigger(`,"metadata":{"simulator":{"drop":101}}`):            "metadata.simulator",
		trigger(`,"metadata":{"simulator":{"duration_ms":-1}}`):      "metadata.simulator",
	} {
		resp := s.do("POST", body)
		if resp.Status() != http.StatusBadRequest {
			t.Errorf("%s: answered %d", body, resp.Status())
			continue
		}
		if details := resp.Problem.Members["details"].([]httperror.Invalid); len(details) != 1 || details[0].Field != field {
			t.Errorf("%s: refused for %v", body, details)
		}
	}
	if resp := s.do("DELETE", ""); resp.Status() != http.StatusMethodNotAllowed {
		t.Errorf("DELETE is answered %d", resp.Status())
	}
	if resp := s.do("POST", trigger(`,"pad":"`+strings.Repeat("x", maxTrigger)+`"`)); resp.Status() != http.StatusRequestEntityTooLarge {
		t.Errorf("a huge trigger is answered %d", resp.Status())
	}
	if len(s.runner.Workflows()) != 0 {
		t.Error("something was run")
	}
}

func TestBounds(t *testing.T) {
	s := newSim(t, func(config map[string]any) { config["duration"] = caddy.Duration(19 * time.Second) })
	body := func(i int) string {
		return fmt.Sprintf(`{"callback_url":"http://gateway.test:3000/","workflow_id":"w%d","metadata":{"simulator":{"drop":100,"slow":10}}}`, i)
	}
	for i := range maxWorkflows {
		if resp := s.do("POST", body(i)); resp.Status() != http.StatusAccepted {
			t.Fatalf("workflow %d is answered %d", i, resp.Status())
		}
	}
	// Dropping everything, those end at once; these do not.
	for i := range maxWorkflows {
		s.ended(fmt.Sprintf("w%d", i))
		if resp := s.do("POST", strings.Replace(body(100+i), `"drop":100,`, ``, 1)); resp.Status() != http.StatusAccepted {
			t.Fatalf("workflow %d is answered %d", i, resp.Status())
		}
	}
	if resp := s.do("POST", body(200)); resp.Status() != http.StatusServiceUnavailable || resp.Problem.Header.Get("Retry-After") == "" {
		t.Errorf("one too many is answered %d", resp.Status())
	}
	if resp := s.do("POST", body(100)); resp.Status() != http.StatusAccepted {
		t.Errorf("a trigger that came before is answered %d", resp.Status())
	}
	var shown about
	if err := json.Unmarshal(s.do("GET", "").Body.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	if shown.Running != maxWorkflows || len(shown.Workflows) != 2*maxWorkflows || len(shown.Phases) != 3 || len(shown.Phases[2]) != 3 {
		t.Errorf("GET shows %+v", shown)
	}
	if err := s.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if resp := s.do("POST", body(300)); resp.Status() != http.StatusServiceUnavailable {
		t.Errorf("a simulator that was cleaned up answered %d", resp.Status())
	}
	for _, w := range s.runner.Workflows() {
		if w.Status == "running" {
			t.Errorf("%s still runs", w.WorkflowID)
		}
	}
}

// A reload provisions the new configuration, then cleans up the old one.
func TestReload(t *testing.T) {
	hold := make(chan struct{})
	receiver := newReceiver(t, func(try int) int {
		if try == 2 {
			<-hold
		}
		return http.StatusOK
	})
	old := newSim(t)
	if resp := old.do("POST", `{"workflow_id":"w","callback_url":"`+receiver.URL+`"}`); resp.Status() != http.StatusAccepted {
		t.Fatalf("answered %d", resp.Status())
	}
	fresh := newSim(t)
	if err := old.Cleanup(); err != nil {
		t.Fatal(err)
	}
	close(hold)
	if w := fresh.ended("w"); w.Delivered != 29 {
		t.Errorf("the reload cost callbacks: %+v", w)
	}
}

// What one trigger asks for is not the next one's.
func TestFaultsOfATriggerAreItsOwn(t *testing.T) {
	s := newSim(t, func(config map[string]any) { config["fail"] = []string{"geo_audit"} })
	if _, f, err := s.faultsFor(json.RawMessage(`{"fail":["cmp_organizer"]}`)); err != nil || !slices.Equal(f.Fail, []string{"cmp_organizer"}) {
		t.Errorf("%+v, %v", f, err)
	}
	if _, f, err := s.faultsFor(nil); err != nil || !slices.Equal(f.Fail, []string{"geo_audit"}) {
		t.Errorf("%+v, %v", f, err)
	}
}
