package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// WebhookPath is where OPAL's webhooks go.
const WebhookPath = "/api/webhooks/opal-workflow"

// Client speaks to a gateway over HTTP.
type Client struct {
	URL  string
	HTTP *http.Client

	t     testing.TB
	creds *Credentials
	clock clock
}

func newClient(t testing.TB, base string, creds *Credentials) *Client {
	return &Client{URL: base, t: t, creds: creds, HTTP: &http.Client{
		Timeout: 60 * time.Second,
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 1024,
			DisableCompression:  true,
		},
	}}
}

// NewClient is a client of a gateway that was started otherwise.
func NewClient(t testing.TB, base string, creds *Credentials) *Client {
	return newClient(t, base, creds)
}

// Response is an answer that was read whole.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON decodes the body.
func (r *Response) JSON(t testing.TB, into any) {
	t.Helper()
	if err := json.Unmarshal(r.Body, into); err != nil {
		t.Fatalf("answer %d is not JSON: %v\n%.500s", r.Status, err, r.Body)
	}
}

// Error is the one shape of errors.
type Error struct {
	Error     string `json:"error"`
	Message   string `json:"message"`
	RequestID string `json:"request_id"`
	Timestamp string `json:"timestamp"`
}

// Do sends a request; header are name and value in turns.
func (c *Client) Do(method, path string, body []byte, header ...string) (*Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var rd io.Reader
	if body != nil {
		rd = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, rd)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: raw}, nil
}

// MustDo is Do that must get an answer.
func (c *Client) MustDo(method, path string, body []byte, header ...string) *Response {
	c.t.Helper()
	resp, err := c.Do(method, path, body, header...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp
}

// Get asks with the API key.
func (c *Client) Get(path string) *Response {
	c.t.Helper()
	return c.MustDo(http.MethodGet, path, nil, "Authorization", "Bearer "+c.creds.Key)
}

// GetJSON asks with the API key for what must be a 200.
func (c *Client) GetJSON(path string, into any) {
	c.t.Helper()
	resp := c.Get(path)
	if resp.Status != http.StatusOK {
		c.t.Fatalf("GET %s: %d %.500s", path, resp.Status, resp.Body)
	}
	resp.JSON(c.t, into)
}

// Answer to a webhook.
type Answer struct {
	Status           string   `json:"status"`
	WebhookID        string   `json:"webhook_id"`
	ProcessingTimeMS *float64 `json:"processing_time_ms"`
	EventsTriggered  []string `json:"events_triggered"`
}

// Post signs a webhook and sends it.
func (c *Client) Post(body []byte) (*Response, error) {
	return c.Do(http.MethodPost, WebhookPath, body,
		"Content-Type", "application/json", "X-OSA-Signature", c.creds.Sign(body, c.clock.now()))
}

// MustPost is Post of an event that must be taken. As OPAL does, it sends again
// what got no answer: after a reload the server before it may still accept a
// connection, only to close it.
func (c *Client) MustPost(body []byte) Answer {
	c.t.Helper()
	resp, err := c.Post(body)
	for range 3 {
		if err == nil {
			break
		}
		resp, err = c.Post(body)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.Status != http.StatusOK {
		c.t.Fatalf("webhook: %d %.500s", resp.Status, resp.Body)
	}
	var a Answer
	resp.JSON(c.t, &a)
	return a
}

// Record is an event as the API lists it.
type Record struct {
	ID              string          `json:"id"`
	Seq             uint64          `json:"seq"`
	ReceivedAt      time.Time       `json:"received_at"`
	WorkspaceID     string          `json:"workspace_id"`
	Source          string          `json:"source"`
	EventType       *string         `json:"event_type"`
	Kind            string          `json:"kind"`
	WorkflowID      string          `json:"workflow_id"`
	WorkflowName    *string         `json:"workflow_name"`
	AgentID         *string         `json:"agent_id"`
	Status          *string         `json:"status"`
	Severity        *string         `json:"severity"`
	CorrelationID   *string         `json:"correlation_id"`
	DedupHash       string          `json:"dedup_hash"`
	PayloadMismatch bool            `json:"payload_mismatch"`
	Size            int             `json:"size"`
	Payload         json.RawMessage `json:"payload"`
}

// Page of the list of events.
type Page struct {
	Events     []Record `json:"events"`
	NextCursor *string  `json:"next_cursor"`
}

// ListPage asks for one page of events with the API key.
func (c *Client) ListPage(query url.Values) (*Page, error) {
	resp, err := c.Do(http.MethodGet, "/api/webhook-events?"+query.Encode(), nil, "Authorization", "Bearer "+c.creds.Key)
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, fmt.Errorf("list: %d %.300s", resp.Status, resp.Body)
	}
	p := new(Page)
	if err := json.Unmarshal(resp.Body, p); err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	return p, nil
}

// List follows the cursors to the end.
func (c *Client) List(query string) ([]Record, error) {
	q, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	if !q.Has("limit") {
		q.Set("limit", "1000")
	}
	var all []Record
	for pages := 0; ; pages++ {
		if pages > 100_000 {
			return nil, fmt.Errorf("list: the cursors do not come to an end")
		}
		p, err := c.ListPage(q)
		if err != nil {
			return nil, err
		}
		all = append(all, p.Events...)
		if p.NextCursor == nil {
			return all, nil
		}
		q.Set("cursor", *p.NextCursor)
	}
}

// ListSeqs is List for those who want to know only which events, at a tenth of
// the price.
func (c *Client) ListSeqs(query url.Values) ([]uint64, error) {
	query.Set("limit", "1000")
	var seqs []uint64
	for pages := 0; pages <= 100_000; pages++ {
		resp, err := c.Do(http.MethodGet, "/api/webhook-events?"+query.Encode(), nil, "Authorization", "Bearer "+c.creds.Key)
		if err != nil {
			return nil, err
		}
		if resp.Status != http.StatusOK || !gjson.ValidBytes(resp.Body) {
			return nil, fmt.Errorf("list: %d %.300s", resp.Status, resp.Body)
		}
		for _, seq := range gjson.GetBytes(resp.Body, "events.#.seq").Array() {
			seqs = append(seqs, seq.Uint())
		}
		cursor := gjson.GetBytes(resp.Body, "next_cursor")
		if cursor.Type != gjson.String {
			return seqs, nil
		}
		query.Set("cursor", cursor.String())
	}
	return nil, fmt.Errorf("list: the cursors do not come to an end")
}

// MustList is List that must succeed.
func (c *Client) MustList(query string) []Record {
	c.t.Helper()
	all, err := c.List(query)
	if err != nil {
		c.t.Fatal(err)
	}
	return all
}

// Payload is the raw body of the event that GET /api/webhook-events/{id} answered.
func Payload(answer []byte) ([]byte, error) {
	payload := gjson.GetBytes(answer, "payload")
	if !payload.Exists() {
		return nil, fmt.Errorf("the answer has no payload: %.200s", answer)
	}
	return []byte(payload.Raw), nil
}

// Event is the body of a webhook: an agent's completion, unless fields say else.
// Fields of value nil are left out.
func Event(workflow, agent, timestamp string, fields map[string]any) []byte {
	m := map[string]any{
		"workflow_id": workflow, "agent_id": agent, "timestamp": timestamp,
		"event_type": "agent_status_update", "data": map[string]any{"agent_status": map[string]any{"current_status": "completed"}},
	}
	for k, v := range fields {
		if v == nil {
			delete(m, k)
		} else {
			m[k] = v
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // test data always encodes
	}
	return b
}

// Eventually polls cond until it is true.
func Eventually(t testing.TB, within time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Redact takes the secrets out of a text.
func (c *Credentials) Redact(text string) string {
	for _, s := range c.secrets() {
		text = strings.ReplaceAll(text, s, "[secret]")
	}
	return text
}
