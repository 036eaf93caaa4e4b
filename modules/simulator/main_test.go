package simulator

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/goleak"

	"github.com/osa-edge/osa-gateway/internal/osatest"
	"github.com/osa-edge/osa-gateway/signature"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Both are made up.
const (
	testKey    = "k7Qw2zR9vT4nB8mX1cL6pJ3hG5fD0sAyUe"
	testSecret = "9fK3xW7bQ1mZ5rT8vN2cJ6hL4pD0gSaYuE"
)

// got is one callback that a receiver took.
type got struct {
	raw         string
	signature   string
	correlation string
	event       struct {
		EventType    string `json:"event_type"`
		Timestamp    string `json:"timestamp"`
		WorkflowID   string `json:"workflow_id"`
		WorkflowName string `json:"workflow_name"`
		AgentID      string `json:"agent_id"`
		Data         struct {
			Status struct {
				Previous   string         `json:"previous_status"`
				Current    string         `json:"current_status"`
				TookMS     *float64       `json:"execution_time_ms"`
				Confidence *float64       `json:"confidence_score"`
				Available  *bool          `json:"results_available"`
				Error      map[string]any `json:"error_details"`
			} `json:"agent_status"`
			Results    *results       `json:"results"`
			Progress   map[string]any `json:"workflow_progress"`
			Completion map[string]any `json:"workflow_completion"`
			Error      map[string]any `json:"error_notification"`
			Scope      any            `json:"sync_scope"`
		} `json:"data"`
	}
}

// receiver is a gateway that checks signatures and keeps what it takes.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	taken []got
	// answer decides on the status; nil is always 200.
	answer func(try int) int
	tries  int
}

func newReceiver(t *testing.T, answer func(try int) int) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	scheme := signature.NewOSA(0)
	secrets := []*signature.Secret{signature.NewSecret("main", []byte(testSecret), time.Time{}, time.Time{})}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if _, err := scheme.Verify(req.Header, body, secrets, time.Now()); err != nil {
			t.Errorf("the signature does not hold: %v", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.tries++
		if r.answer != nil {
			if status := r.answer(r.tries); status != http.StatusOK {
				w.WriteHeader(status)
				return
			}
		}
		g := got{raw: string(body), signature: req.Header.Get(signature.HeaderSignature), correlation: req.Header.Get("X-Correlation-ID")}
		if err := json.Unmarshal(body, &g.event); err != nil {
			t.Errorf("a callback is not JSON: %v", err)
		}
		r.taken = append(r.taken, g)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) callbacks() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]got(nil), r.taken...)
}

// sim is a simulator as Caddy makes it.
type sim struct {
	*Simulator
	t *testing.T
}

func newSim(t *testing.T, change ...func(map[string]any)) *sim {
	t.Helper()
	config := map[string]any{
		"auth_key": testKey, "secret": testSecret, "duration": caddy.Duration(30 * time.Millisecond),
	}
	for _, f := range change {
		f(config)
	}
	gateway := osatest.New(t, map[string]any{"environment": "development", "base_url": "http://gateway.test:3000"})
	return &sim{gateway.MustLoad("http.handlers.osa_simulator", config).(*Simulator), t}
}

func (s *sim) do(method, body string, change ...func(*http.Request)) osatest.Response {
	s.t.Helper()
	r := httptest.NewRequest(method, "/simulator/opal", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+testKey)
	for _, f := range change {
		f(r)
	}
	return osatest.Serve(s, r)
}

// run triggers a workflow and returns it when it has ended.
func (s *sim) run(fields map[string]any, change ...func(*http.Request)) Workflow {
	s.t.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		s.t.Fatal(err)
	}
	resp := s.do("POST", string(body), change...)
	if resp.Status() != http.StatusAccepted {
		s.t.Fatalf("the trigger was answered %d: %v", resp.Status(), resp.Err)
	}
	var answer accepted
	if err := json.Unmarshal(resp.Body.Bytes(), &answer); err != nil {
		s.t.Fatal(err)
	}
	return s.ended(answer.WorkflowID)
}

func (s *sim) ended(id string) Workflow {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		for _, w := range s.runner.Workflows() {
			if w.WorkflowID == id && w.EndedAt != nil {
				return w
			}
		}
	}
	s.t.Fatalf("workflow %s does not end: %+v", id, s.runner.Workflows())
	return Workflow{}
}
