package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/osa-edge/osa-gateway/signature"
)

const receiverPath = "/api/webhooks/opal-workflow"

func sendCommand() *cobra.Command {
	var (
		secret  secretFlags
		url     string
		repeat  int
		timeout time.Duration
		asJSON  bool
	)
	cmd := &cobra.Command{
		Use:   "send [FILE|-]",
		Short: "Signs a webhook and posts it",
		Long: `Signs a body, as ` + "`osa sign`" + ` does, posts it and prints the answer. Fails if the
gateway refuses it.

--url is a receiver, or the base URL of a gateway, whose OPAL receiver is meant.
With --repeat the same body is sent again, signed anew each time: all answers but
the first should say "duplicate".`,
		Example: `  source .osa-dev/dev.env
  osa-gateway osa send event.json
  echo '{"workflow_id":"wf_1","event_type":"started","timestamp":"2026-01-01T00:00:00Z"}' | osa-gateway osa send
  osa-gateway osa send --repeat 3 --json event.json | jq .body.status`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var wrong flagErrors
			target, err := receiverURL(url)
			if err != nil {
				wrong.add("%w", err)
			}
			key, err := secret.read()
			if err != nil {
				wrong.add("%w", err)
			}
			if repeat < 1 {
				wrong.add("--repeat is %d; it must be at least 1", repeat)
			}
			if timeout <= 0 {
				wrong.add("--timeout must be positive")
			}
			if err := wrong.err(); err != nil {
				return err
			}
			body, err := readBody(cmd, args)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			s := sender{url: target, key: key, client: &http.Client{Timeout: timeout}}
			return s.sendAll(ctx, cmd.OutOrStdout(), body, repeat, asJSON)
		},
	}
	secret.register(cmd, "secret", "OSA_WEBHOOK_SHARED_SECRET")
	fl := cmd.Flags()
	fl.StringVar(&url, "url", "", "receiver, or base URL of a gateway (default $BASE_URL, then "+defaultAddress+")")
	fl.IntVar(&repeat, "repeat", 1, "send the same body this many times")
	fl.DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait for each answer")
	fl.BoolVar(&asJSON, "json", false, "print one JSON object an answer")
	return cmd
}

// receiverURL returns the URL of the receiver. A URL without a path is a gateway's base URL.
func receiverURL(flag string) (string, error) {
	url, err := baseURL(flag)
	if err != nil {
		return "", err
	}
	if _, rest, _ := strings.Cut(url, "://"); !strings.Contains(rest, "/") {
		url += receiverPath
	}
	return url, nil
}

type sender struct {
	url, key string
	client   *http.Client
}

// answer is the response to one webhook.
type answer struct {
	Status     int             `json:"status"`
	DurationMS float64         `json:"duration_ms"`
	RequestID  string          `json:"request_id,omitempty"`
	Body       json.RawMessage `json:"body"`
}

func (s *sender) sendAll(ctx context.Context, out io.Writer, body []byte, times int, asJSON bool) error {
	p := painterFor(out)
	refused := 0
	var last error
	for range times {
		a, err := s.send(ctx, body)
		if err != nil {
			return err
		}
		if asJSON {
			err = encodeJSON(out, a)
		} else {
			status := p.green(fmt.Sprint(a.Status))
			if a.Status > 299 {
				status = p.red(fmt.Sprint(a.Status))
			}
			_, err = fmt.Fprintf(out, "%s  %s  %s\n", status, clean(string(a.Body)), p.dim(fmt.Sprintf("%.1f ms", a.DurationMS)))
		}
		if err != nil {
			return err
		}
		if a.Status > 299 {
			refused++
			last = refusal(a.Status, a.Body)
		}
	}
	if refused == 0 {
		return nil
	}
	if times == 1 {
		return last
	}
	return fmt.Errorf("%d of %d were refused; the last: %w", refused, times, last)
}

func (s *sender) send(ctx context.Context, body []byte) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	start := time.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-OSA-Signature", signature.Sign(s.key, body, start))
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	a := &answer{
		Status: resp.StatusCode, RequestID: resp.Header.Get("X-Request-Id"), Body: oneLine(b),
		DurationMS: float64(time.Since(start).Microseconds()) / 1000,
	}
	if len(b) == 0 && resp.StatusCode == http.StatusOK {
		return nil, errors.New("the answer is empty: this is no webhook receiver of an OSA Gateway")
	}
	return a, nil
}

// oneLine is JSON in one line, or the text as a JSON string.
func oneLine(b []byte) json.RawMessage {
	var compact bytes.Buffer
	if json.Compact(&compact, b) == nil {
		return compact.Bytes()
	}
	s, _ := json.Marshal(string(b)) // a string always marshals
	return s
}
