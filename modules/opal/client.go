package opal

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

// Bounds of a call to OPAL.
const (
	callTimeout   = 30 * time.Second
	dialTimeout   = 5 * time.Second
	maxAttempts   = 3
	retryInterval = 150 * time.Millisecond
	maxRetryAfter = 5 * time.Second
	// maxAnswer bounds what is read of OPAL's answer.
	maxAnswer = 1 << 20
)

// Delivery is what is known of a trigger's way to OPAL.
type Delivery string

// The deliveries.
const (
	DeliveryPending     Delivery = "pending"     // OPAL has not answered yet
	DeliveryAccepted    Delivery = "accepted"    // 2xx
	DeliveryRefused     Delivery = "refused"     // any other answer
	DeliveryUnreachable Delivery = "unreachable" // nothing was sent
	DeliveryUnknown     Delivery = "unknown"     // sent, and the answer was lost
)

// Delivered is the end of a call.
type Delivered struct {
	Delivery Delivery
	// Status is OPAL's answer, 0 without one.
	Status int
	// WorkflowID and Agents are what OPAL's answer says, if it does.
	WorkflowID string
	Agents     []string
	// Attempts is how many times the trigger was sent or tried to be.
	Attempts int
	// Err is why it was not accepted. It contains neither the URL nor the key.
	Err error
}

// Client sends triggers to OPAL.
type Client struct {
	http *http.Client
}

// NewClient returns a client that follows no redirect: the key is for the
// configured host only. transport nil is one made for this purpose.
func NewClient(transport http.RoundTripper) *Client {
	if transport == nil {
		transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout:    dialTimeout,
			MaxResponseHeaderBytes: 64 << 10,
			// A sync is rare, and a connection kept idle is one that may be
			// found closed only after the request was written to it.
			DisableKeepAlives: true,
		}
	}
	return &Client{http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Trigger sends the trigger. It sends again only what certainly was not
// processed: no connection came about, or OPAL answered 429 or 503. A request
// that was written and whose answer was lost is never sent again.
func (c *Client) Trigger(ctx context.Context, target, key, correlationID string, body []byte) Delivered {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.Multiplier = retryInterval, 2
	for attempt := 1; ; attempt++ {
		d, wait, again := c.send(ctx, target, key, correlationID, body)
		d.Attempts = attempt
		if !again || attempt == maxAttempts {
			return d
		}
		pause := time.NewTimer(max(wait, pauses.NextBackOff()))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return d
		}
	}
}

func (c *Client) send(ctx context.Context, target, key, correlationID string, body []byte) (d Delivered, wait time.Duration, again bool) {
	var connected atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return Delivered{Delivery: DeliveryUnreachable, Err: errors.New("the URL of OPAL cannot be called")}, 0, false
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "osa-gateway")
	req.Header.Set("X-Correlation-ID", correlationID)
	resp, err := c.http.Do(req)
	if err != nil {
		var asked *url.Error
		if errors.As(err, &asked) {
			err = asked.Err // without the URL, whose path is nobody's business
		}
		if connected.Load() {
			return Delivered{Delivery: DeliveryUnknown, Err: fmt.Errorf("the answer of OPAL was lost: %w", err)}, 0, false
		}
		var op *net.OpError
		dialed := errors.As(err, &op) && op.Op == "dial"
		return Delivered{Delivery: DeliveryUnreachable, Err: fmt.Errorf("OPAL cannot be reached: %w", err)}, 0, dialed && ctx.Err() == nil
	}
	defer resp.Body.Close()
	d = Delivered{Status: resp.StatusCode}
	if resp.StatusCode/100 == 2 {
		d.Delivery = DeliveryAccepted
		d.WorkflowID, d.Agents = readAnswer(resp.Body)
		return d, 0, false
	}
	d.Delivery = DeliveryRefused
	d.Err = fmt.Errorf("OPAL answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return d, retryAfter(resp.Header), true
	}
	return d, 0, false
}

// readAnswer takes from an accepted trigger's answer what it says of the
// workflow. The trigger was accepted whatever the answer says, so what cannot be
// read is left out: the callbacks' correlation id tells the rest.
func readAnswer(body io.Reader) (workflowID string, agents []string) {
	raw, err := io.ReadAll(io.LimitReader(body, maxAnswer))
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
	if strictjson.Unmarshal(fields.WorkflowID, &workflowID) != nil || !isID(workflowID) {
		workflowID = ""
	}
	if strictjson.Unmarshal(fields.Agents, &agents) != nil || len(agents) > maxAgents {
		agents = nil
	}
	return workflowID, agents
}

func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
}
