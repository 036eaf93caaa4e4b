// Package chaintest runs handlers in a real Caddy inside a test, with a
// Caddyfile, a socket and a log file. Only one Caddy can run in a process at a
// time.
package chaintest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/requestbody"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/logging"
)

func init() {
	caddy.RegisterModule(new(probe))
	Register("probe", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		p := new(probe)
		h.Next()
		h.Args(&p.Name)
		return p, nil
	})
}

// Register makes a directive known to the Caddyfiles of this test binary.
func Register(name string, parse httpcaddyfile.UnmarshalHandlerFunc) {
	httpcaddyfile.RegisterHandlerDirective(name, parse)
	httpcaddyfile.RegisterDirectiveOrder(name, httpcaddyfile.Before, "respond")
}

// probe is the directive `probe <name>`. The function that was passed to Handle
// answers its requests.
type probe struct {
	Name string `json:"name"`
}

var probes sync.Map // name → caddyhttp.HandlerFunc

func (*probe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.probe", New: func() caddy.Module { return new(probe) }}
}

func (p *probe) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	f, ok := probes.Load(p.Name)
	if !ok {
		return fmt.Errorf("no probe %q", p.Name)
	}
	return f.(caddyhttp.HandlerFunc)(w, r)
}

// Handle sets the function that answers where the Caddyfile has `probe <name>`.
func Handle(name string, f caddyhttp.HandlerFunc) { probes.Store(name, f) }

// Server is a running Caddy.
type Server struct {
	*http.Client
	// URL is the base URL of requests.
	URL string

	t       testing.TB
	socket  string
	logPath string
}

// Load adapts and runs a site, and returns the error if Caddy refuses it.
func Load(t testing.TB, site string) (*Server, error) {
	t.Helper()
	return LoadWith(t, "", site)
}

// LoadWith is Load with additional global options.
func LoadWith(t testing.TB, global, site string) (*Server, error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "chain") // The path of t.TempDir is too long for a socket.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{URL: "http://gateway.test", t: t, socket: filepath.Join(dir, "s"), logPath: filepath.Join(dir, "log")}
	s.Client = &http.Client{Transport: &http.Transport{DialContext: s.dial}, Timeout: 30 * time.Second}
	if err := s.Reload(global, site); err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		s.CloseIdleConnections()
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s, nil
}

// Reload replaces the running configuration.
func (s *Server) Reload(global, site string) error {
	config, err := adapt(fmt.Sprintf(`{
		%s
		admin off
		persist_config off
		auto_https off
		log default {
			output file %s
			format json
			level DEBUG
		}
	}
	http://gateway.test {
		bind unix/%s
		%s
	}`, global, s.logPath, s.socket, site))
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}

// Start is Load that fails the test on an error.
func Start(t testing.TB, site string) *Server {
	t.Helper()
	s, err := Load(t, site)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// StartWith is LoadWith that fails the test on an error.
func StartWith(t testing.TB, global, site string) *Server {
	t.Helper()
	s, err := LoadWith(t, global, site)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Adapt returns the JSON of a site, or the error in its Caddyfile.
func Adapt(site string) (string, error) {
	config, err := adapt("http://gateway.test {\n" + site + "\n}")
	return string(config), err
}

func adapt(input string) ([]byte, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	return config, err
}

func (s *Server) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", s.socket)
}

// Response is a response with its body.
type Response struct {
	*http.Response
	Body string
}

// Send sends a request and reads the whole response.
func (s *Server) Send(method, path string, header http.Header, body io.Reader) Response {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	resp, err := s.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.read(resp)
}

// SendRaw sends the given bytes, which no client would send, and closes the
// connection for writing.
func (s *Server) SendRaw(request string) Response {
	s.t.Helper()
	return s.sendRaw(request, true)
}

// SendRawAndWait is SendRaw by a client that waits for the response before it
// sends the rest.
func (s *Server) SendRawAndWait(request string) Response {
	s.t.Helper()
	return s.sendRaw(request, false)
}

func (s *Server) sendRaw(request string, end bool) Response {
	s.t.Helper()
	conn, err := s.dial(s.t.Context(), "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		s.t.Fatal(err)
	}
	if c, ok := conn.(*net.UnixConn); ok && end {
		_ = c.CloseWrite()
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.read(resp)
}

func (s *Server) read(resp *http.Response) Response {
	s.t.Helper()
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		s.t.Fatal(err)
	}
	return Response{Response: resp, Body: b.String()}
}

// Log returns everything that was logged so far as lines of JSON.
func (s *Server) Log() string {
	s.t.Helper()
	b, err := os.ReadFile(s.logPath)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// Counter returns the value of a counter in Caddy's metrics. series is
// `name{label="value"}` with the labels in alphabetical order. It is 0 if there
// is none.
func Counter(t testing.TB, series string) float64 {
	t.Helper()
	ctx := caddy.ActiveContext()
	families, err := ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			if f.GetName()+"{"+strings.Join(labels, ",")+"}" == series {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}
