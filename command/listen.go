package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/osa-edge/osa-gateway/internal/strictjson"
)

const (
	streamPath = "/api/webhook-events/stream"
	// A gateway sends something every 15 s; silence of three times that is a
	// connection that died unnoticed.
	silenceLimit = 45 * time.Second
	firstRetry   = time.Second
	maxRetryWait = 30 * time.Second
)

type listener struct {
	url     string
	token   string
	lastID  string
	history int
	max     int
	client  *http.Client
	print   printer
	notice  func(format string, args ...any)
	seen    int
	// silence is how long a connection may say nothing.
	silence time.Duration
	// baseWait is the wait before the first attempt to reconnect, until the
	// server asks for another.
	baseWait time.Duration
}

type listenFlags struct {
	url, lastID, minPriority   string
	workflowIDs, agents, types []string
	history, max               int
	timeout                    time.Duration
	json                       bool
	token                      secretFlags
}

func listenCommand() *cobra.Command {
	var f listenFlags
	cmd := &cobra.Command{
		Use:   "listen",
		Short: "Follows the event stream",
		Long: `Follows the event stream of a gateway and prints one line an event, coloured
on a terminal. A connection that breaks is made again and goes on after the last
event that was seen, so that none is missed and none is printed twice.

The credential is read from OSA_API_KEY, or from the variable or file named.`,
		Example: `  source .osa-dev/dev.env
  osa-gateway osa listen
  osa-gateway osa listen --agent content_review --min-priority high
  osa-gateway osa listen --history 20 --json | jq .data.workflow_id
  osa-gateway osa listen --max 9 --timeout 30s      # for scripts: fails if fewer come`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runListen(cmd, &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.url, "url", "", "base URL of the gateway (default $BASE_URL, then "+defaultAddress+")")
	f.token.register(cmd, "token", "OSA_API_KEY")
	// Ids may hold commas: each is given by a flag of its own.
	fl.StringArrayVar(&f.workflowIDs, "workflow-id", nil, "only this workflow; may be repeated")
	fl.StringArrayVar(&f.agents, "agent", nil, "only this agent; may be repeated")
	fl.StringSliceVar(&f.types, "type", nil, "only these types, kinds or stream names")
	fl.StringVar(&f.minPriority, "min-priority", "", "only this priority and above: low, medium, high or critical")
	fl.IntVar(&f.history, "history", 0, "send this many recent events first, at most 1000")
	fl.StringVar(&f.lastID, "last-event-id", "", "go on after this event, such as evt_42")
	fl.IntVar(&f.max, "max", 0, "end after this many events of the log")
	fl.DurationVar(&f.timeout, "timeout", 0, "end after this time; with --max, fail if fewer events came")
	fl.BoolVar(&f.json, "json", false, "print one JSON object a line")
	return cmd
}

// query has the stream's parameters by their names in the API.
func (f *listenFlags) query() url.Values {
	q := url.Values{}
	for name, values := range map[string][]string{"workflow_id": f.workflowIDs, "agent_ids": f.agents, "event_types": f.types} {
		for _, v := range values {
			q.Add(name, v)
		}
	}
	if f.minPriority != "" {
		q.Set("min_priority", f.minPriority)
	}
	return q
}

func runListen(cmd *cobra.Command, f *listenFlags) error {
	var wrong flagErrors
	base, err := baseURL(f.url)
	if err != nil {
		wrong.add("%w", err)
	}
	token, err := f.token.read()
	if err != nil {
		wrong.add("%w", err)
	}
	if f.history < 0 || f.history > 1000 {
		wrong.add("--history is %d; it must be between 0 and 1000", f.history)
	}
	if f.max < 0 || f.timeout < 0 {
		wrong.add("--max and --timeout must not be negative")
	}
	if err := wrong.err(); err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	target := base + streamPath
	if q := f.query().Encode(); q != "" {
		target += "?" + q
	}
	stderr := cmd.ErrOrStderr()
	dim := painterFor(stderr)
	l := &listener{
		url: target, token: token, lastID: f.lastID, history: f.history, max: f.max,
		client: streamClient(), print: printerFor(cmd.OutOrStdout(), f.json),
		notice:  func(format string, args ...any) { fmt.Fprintln(stderr, dim.dim(clean(fmt.Sprintf(format, args...)))) },
		silence: silenceLimit, baseWait: firstRetry,
	}
	err = l.run(ctx)
	if errors.Is(err, context.DeadlineExceeded) && f.max > 0 {
		return fmt.Errorf("%d of %d events came in %v", l.seen, f.max, f.timeout)
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// streamClient waits for the head of an answer, not for its end.
func streamClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 20 * time.Second,
		ForceAttemptHTTP2:     true,
	}}
}

// errDone ends the stream when enough events have come.
var errDone = errors.New("enough events have come")

// permanent is an error that another attempt would meet again.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// refused is a stream that the gateway refuses for now, and says so in the stream.
type refused struct{ reason string }

func (r refused) Error() string { return "the gateway refuses the stream for now: " + r.reason }

// run follows the stream until the context ends, enough events came, or the
// gateway says something that trying again would not change.
func (l *listener) run(ctx context.Context) error {
	wait := l.baseWait
	for {
		asked, heard, err := l.follow(ctx)
		var p permanent
		switch {
		case errors.Is(err, errDone):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &p):
			return p.error
		}
		if asked > 0 {
			l.baseWait = asked
		}
		if heard {
			wait = l.baseWait
		}
		// Half to one and a half: a gateway that restarts is not met by all of
		// its listeners in the same moment.
		pause := time.Duration((0.5 + rand.Float64()) * float64(min(wait, maxRetryWait)))
		l.notice("the stream ended (%v); trying again in %.1fs", err, pause.Seconds())
		wait *= 2
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follow reads one connection to its end. asked is the reconnection time the
// server asked for; heard tells whether the connection came to life at all.
func (l *listener) follow(parent context.Context) (asked time.Duration, heard bool, err error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	resp, err := l.connect(ctx)
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()

	// The watchdog ends a connection that says nothing, heartbeats included.
	watchdog := time.AfterFunc(l.silence, func() { cancel(fmt.Errorf("silent for %v", l.silence)) })
	defer watchdog.Stop()
	r := newSSEReader(alive{resp.Body, func() { watchdog.Reset(l.silence) }}, l.lastID)
	for {
		m, err := r.next()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil && parent.Err() == nil {
				err = cause
			}
			return r.retry, true, err
		}
		if err := l.take(m); err != nil {
			_, refused := errors.AsType[refused](err)
			return r.retry, !refused, err
		}
		l.lastID = r.lastID
	}
}

// take prints a message and knows when it was the last.
func (l *listener) take(m message) error {
	if err := l.print(m); err != nil {
		return permanent{fmt.Errorf("printing: %w", err)}
	}
	if m.event == "stream_end" {
		var end struct {
			Reason string `json:"reason"`
		}
		_ = strictjson.Unmarshal([]byte(m.data), &end) // without a reason it is asked again
		switch end.Reason {
		case "credential_expired", "credential_revoked":
			return permanent{fmt.Errorf("the gateway ended the stream: %s", clean(end.Reason))}
		case "unavailable", "too_many_streams", "rate_limited":
			return refused{end.Reason}
		}
	}
	// What speaks of the stream itself carries an id, and is no event of the log.
	if m.ownID && m.event != "stream_reset" && m.event != "gap" {
		if l.seen++; l.max > 0 && l.seen >= l.max {
			return errDone
		}
	}
	return nil
}

func (l *listener) connect(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url, nil)
	if err != nil {
		return nil, permanent{err}
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+l.token)
	if l.lastID != "" {
		req.Header.Set("Last-Event-ID", l.lastID)
	} else if l.history > 0 {
		// Only until the first event came: afterwards it would repeat them.
		q := req.URL.Query()
		q.Set("include_historical", "true")
		q.Set("history", strconv.Itoa(l.history))
		req.URL.RawQuery = q.Encode()
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	err = refusal(resp.StatusCode, body)
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return nil, err
	}
	return nil, permanent{err}
}

// refusal words an answer in the gateway's one shape of errors.
func refusal(status int, body []byte) error {
	var problem struct {
		Error   string `json:"error"`
		Message string `json:"message"`
		Details []struct {
			Field   string `json:"field"`
			Message string `json:"message"`
		} `json:"details"`
	}
	if strictjson.Unmarshal(body, &problem) != nil || problem.Error == "" {
		return fmt.Errorf("the gateway answered %d %s", status, http.StatusText(status))
	}
	err := fmt.Errorf("the gateway answered %d %s: %s", status, clean(problem.Error), clean(problem.Message))
	for _, d := range problem.Details {
		err = fmt.Errorf("%w\n  %s: %s", err, clean(d.Field), clean(d.Message))
	}
	return err
}

// alive calls back for every read that brought something.
type alive struct {
	r    io.Reader
	tick func()
}

func (a alive) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if n > 0 {
		a.tick()
	}
	return n, err
}
