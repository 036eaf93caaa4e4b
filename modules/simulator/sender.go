package simulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/osa-edge/osa-gateway/signature"
)

// Limits of sending a webhook. The attempts take about 15 s, in which a gateway can reload
// or restart.
const (
	sendTries    = 8
	sendTimeout  = 10 * time.Second
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	maxReply     = 64 << 10
)

// sender sends signed webhooks.
type sender struct {
	client    *http.Client
	transport *http.Transport
}

func newSender() *sender {
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: sendTimeout}).DialContext,
		TLSHandshakeTimeout:   sendTimeout,
		ResponseHeaderTimeout: sendTimeout,
		MaxIdleConnsPerHost:   maxWorkflows,
		IdleConnTimeout:       sendTimeout,
	}
	return &sender{transport: transport, client: &http.Client{
		Transport: transport,
		Timeout:   sendTimeout,
		// The URL was checked when the trigger was received.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (s *sender) close() { s.transport.CloseIdleConnections() }

// send posts the body until the receiver accepts it, or refuses it with a status that a
// repetition does not change.
func (s *sender) send(ctx context.Context, target, secret, correlationID string, body []byte) error {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.Multiplier, pauses.MaxInterval = firstPause, 2, longestPause
	for try := 1; ; try++ {
		again, err := s.post(ctx, target, secret, correlationID, body)
		if err == nil || !again || try == sendTries {
			return err
		}
		pause := time.NewTimer(pauses.NextBackOff())
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return errors.Join(err, ctx.Err())
		}
	}
}

func (s *sender) post(ctx context.Context, target, secret, correlationID string, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("the callback URL cannot be called")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "osa-gateway-simulator")
	// Every try is signed anew: a signature is valid for minutes only.
	req.Header.Set(signature.HeaderSignature, signature.Sign(secret, body, time.Now()))
	if correlationID != "" {
		req.Header.Set("X-Correlation-ID", correlationID)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		var asked *url.Error
		if errors.As(err, &asked) {
			err = asked.Err
		}
		return ctx.Err() == nil, fmt.Errorf("sending a callback: %w", err)
	}
	defer resp.Body.Close()
	// Read to the end, or the connection cannot be used again.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxReply))
	if resp.StatusCode/100 == 2 {
		return false, nil
	}
	again = resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests
	return again, fmt.Errorf("a callback was answered %d", resp.StatusCode)
}
