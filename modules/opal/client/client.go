// Package client calls the OPAL platform. It knows how OPAL is called, when a call may
// be sent again and what can be said of its outcome. It knows nothing of what calls are
// about.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/osa-edge/osa-gateway/internal/strictjson"
)

// Limits of a call to OPAL.
const (
	callTimeout   = 30 * time.Second
	dialTimeout   = 5 * time.Second
	maxAttempts   = 3
	retryInterval = 150 * time.Millisecond
	maxRetryAfter = 5 * time.Second
	// maxResponse is how many bytes of a response are read.
	maxResponse = 1 << 20
	// maxAgents is how many agents a response may name.
	maxAgents = 256
)

// Delivery says whether OPAL got a trigger and accepted it.
type Delivery string

// The deliveries.
const (
	Pending     Delivery = "pending"     // the call goes on
	Accepted    Delivery = "accepted"    // OPAL answered with 2xx
	Refused     Delivery = "refused"     // OPAL answered with another status
	Unreachable Delivery = "unreachable" // the request was not sent
	Unknown     Delivery = "unknown"     // the request was sent and there was no response
)

// Trigger is a request to OPAL to run a workflow.
type Trigger struct {
	// URL is OPAL's webhook, and AuthKey the bearer key for it.
	URL     string
	AuthKey string
	// CorrelationID is sent as X-Correlation-ID.
	CorrelationID string
	// Body is the JSON that is sent.
	Body []byte
}

// Result is the outcome of a call.
type Result struct {
	Delivery Delivery
	// Status is the status of OPAL's response. It is 0 without one.
	Status int
	// WorkflowID and Agents are taken from OPAL's response. They are empty if it does
	// not name them.
	WorkflowID string
	Agents     []string
	// Attempts is how often the trigger was sent, or tried to be.
	Attempts int
	// Err is why the trigger was not accepted. It contains neither the URL nor the key.
	Err error
}

// Client calls OPAL. It is safe for concurrent use.
type Client struct {
	http *http.Client
}

// New returns a client. It follows no redirects, because the key is for the configured
// host only. A nil transport is replaced by one for calls to OPAL.
func New(transport http.RoundTripper) *Client {
	if transport == nil {
		transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout:    dialTimeout,
			MaxResponseHeaderBytes: 64 << 10,
			// Triggers are rare. That an idle connection was closed may show only after
			// the request was written to it, and then the outcome is not known.
			DisableKeepAlives: true,
		}
	}
	return &Client{http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Trigger sends the trigger. It retries only what OPAL did not process: if there was no
// connection, or if OPAL answered with 429 or 503. A request that was sent and got no
// response is not sent again.
func (c *Client) Trigger(ctx context.Context, t Trigger) Result {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.Multiplier = retryInterval, 2
	for attempt := 1; ; attempt++ {
		d, wait, retry := c.send(ctx, t)
		d.Attempts = attempt
		if !retry || attempt == maxAttempts {
			return d
		}
		timer := time.NewTimer(max(wait, delays.NextBackOff()))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return d
		}
	}
}

// send sends the trigger once. It reports whether it may be sent again, and how long OPAL
// asks to wait before that.
func (c *Client) send(ctx context.Context, t Trigger) (res Result, wait time.Duration, retry bool) {
	var connected atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, t.URL, bytes.NewReader(t.Body))
	if err != nil {
		return Result{Delivery: Unreachable, Err: errors.New("the URL of OPAL cannot be called")}, 0, false
	}
	req.Header.Set("Authorization", "Bearer "+t.AuthKey)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "osa-gateway")
	req.Header.Set("X-Correlation-ID", t.CorrelationID)
	resp, err := c.http.Do(req)
	if err != nil {
		var urlError *url.Error
		if errors.As(err, &urlError) {
			err = urlError.Err // without the URL, whose path may name accounts
		}
		if connected.Load() {
			return Result{Delivery: Unknown, Err: fmt.Errorf("OPAL did not respond: %w", err)}, 0, false
		}
		var op *net.OpError
		dialed := errors.As(err, &op) && op.Op == "dial"
		return Result{Delivery: Unreachable, Err: fmt.Errorf("OPAL cannot be reached: %w", err)}, 0, dialed && ctx.Err() == nil
	}
	defer resp.Body.Close()
	res = Result{Status: resp.StatusCode}
	if resp.StatusCode/100 == 2 {
		res.Delivery = Accepted
		res.WorkflowID, res.Agents = readResponse(resp.Body)
		return res, 0, false
	}
	res.Delivery = Refused
	res.Err = fmt.Errorf("OPAL answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return res, retryAfter(resp.Header), true
	}
	return res, 0, false
}

// readResponse reads the workflow's id and agents from the response to an accepted
// trigger. What cannot be read is left out: the trigger was accepted all the same, and
// the callbacks carry its correlation id.
func readResponse(body io.Reader) (workflowID string, agents []string) {
	raw, err := io.ReadAll(io.LimitReader(body, maxResponse))
	if err != nil {
		return "", nil
	}
	var fields struct {
		WorkflowID json.RawMessage `json:"workflow_id"`
		Agents     json.RawMessage `json:"agents_scheduled"`
	}
	if strictjson.Unmarshal(raw, &fields) != nil {
		return "", nil
	}
	if strictjson.Unmarshal(fields.WorkflowID, &workflowID) != nil || !IsID(workflowID) {
		workflowID = ""
	}
	if strictjson.Unmarshal(fields.Agents, &agents) != nil || len(agents) > maxAgents {
		agents = nil
	}
	return workflowID, agents
}

// retryAfter is the delay that a response asks for, up to maxRetryAfter.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
}
