package stream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/gzip"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	_ "github.com/caddyserver/caddy/v2/modules/logging"
	_ "github.com/caddyserver/caddy/v2/modules/metrics"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/storage"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(childConfig); config != "" {
		child(config)
		return
	}
	dir, err := os.MkdirTemp("", "stream")
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_DATA_HOME", dir)
	os.Setenv("XDG_CONFIG_HOME", dir)
	code := m.Run()
	_ = os.RemoveAll(dir)
	if code == 0 {
		if err := goleak.Find(caddysOwn...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// caddysOwn are goroutines that Caddy keeps for as long as the process lives.
var caddysOwn = []goleak.Option{
	goleak.IgnoreTopFunction("github.com/caddyserver/certmagic.(*Cache).maintainAssets"),
	goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
	goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.NewCache.func1"),
	goleak.IgnoreAnyFunction("github.com/caddyserver/caddy/v2/modules/caddytls.(*TLS).keepStorageClean.func1"),
	goleak.IgnoreAnyFunction("github.com/quic-go/quic-go.(*Transport).listen"),
	goleak.IgnoreAnyFunction("github.com/quic-go/quic-go.(*Transport).runSendQueue"),
}

func init() {
	caddy.RegisterModule(new(testEngine))
	caddy.RegisterModule(new(testAuth))
	caddy.RegisterModule(new(testProvider))
	caddy.RegisterModule(new(testHandshake))
}

// starting is held while a configuration starts.
var starting sync.RWMutex

// testHandshake is tls.context.stream_test: handshakes wait for a start that is
// under way. Caddy's TLS app may start after the server that uses it, and is not
// made for a handshake meanwhile: the race detector says so, and, where nothing
// but a UDP packet orders the two, says so of a handshake after the start too.
type testHandshake struct{}

func (*testHandshake) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.context.stream_test", New: func() caddy.Module { return new(testHandshake) }}
}

func (*testHandshake) HandshakeContext(hello *tls.ClientHelloInfo) (context.Context, error) {
	starting.RLock()
	defer starting.RUnlock()
	return hello.Context(), nil
}

// loadConfig runs the configuration.
func loadConfig(config []byte) error {
	starting.Lock()
	defer starting.Unlock()
	return caddy.Load(config, true)
}

// testEngine is osa.storage.stream_test: a store of this process by name.
type testEngine struct {
	Name string `json:"name"`
}

var testStores sync.Map

func (*testEngine) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "osa.storage.stream_test", New: func() caddy.Module { return new(testEngine) }}
}
func (e *testEngine) StoreKey() (string, error) { return e.Name, nil }
func (e *testEngine) StoreOptions() string      { return "" }
func (e *testEngine) OpenStore(*zap.Logger, bool) (storage.Store, error) {
	s, _ := testStores.LoadOrStore(e.Name, memstore.New())
	return s.(*memstore.Store).Reopen(), nil
}

// testProvider is osa.auth.stream_test: what it knows of a principal is in
// testRevoked.
type testProvider struct{}

var testRevoked sync.Map // id → osa.Refusal

func (*testProvider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "osa.auth.stream_test", New: func() caddy.Module { return new(testProvider) }}
}
func (*testProvider) Method() string                              { return "test" }
func (*testProvider) Claims(string) bool                          { return false }
func (*testProvider) Authenticate(string) (*osa.Principal, error) { return nil, osa.RefusedRevoked }
func (*testProvider) Check() error                                { return nil }
func (*testProvider) Current(p *osa.Principal) (*osa.Principal, error) {
	if r, ok := testRevoked.Load(p.ID); ok {
		return nil, r.(osa.Refusal)
	}
	return p, nil
}

// testAuth makes the request's principal of its Authorization.
type testAuth struct {
	// Anonymous is the workspace of requests without a principal of their own.
	Anonymous string `json:"anonymous"`

	app *osa.App
}

var (
	testApp        atomic.Pointer[osa.App]
	testPrincipals sync.Map // token → *osa.Principal
)

func (*testAuth) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.stream_test_auth", New: func() caddy.Module { return new(testAuth) }}
}

func (a *testAuth) Provision(ctx caddy.Context) (err error) {
	a.app, err = osa.Of(ctx)
	return err
}

func (a *testAuth) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	testApp.Store(a.app)
	if p, ok := testPrincipals.Load(r.Header.Get("Authorization")); ok {
		osa.SetPrincipal(r, p.(*osa.Principal))
	} else if a.Anonymous != "" {
		osa.SetPrincipal(r, osa.NewAnonymous(r, a.Anonymous, []string{osa.PermEventsRead}))
	}
	switch r.URL.Path {
	case "/ping":
		return nil
	case "/publish": // for processes other than the test's own
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		size, _ := strconv.Atoi(r.URL.Query().Get("size"))
		for range n {
			e := &event.Event{WorkflowID: "wf", AgentID: "geo_audit", Type: "agent_status_update", ErrorMessage: strings.Repeat("x", size)}
			if _, err := appendEvent(e); err != nil {
				return err
			}
		}
		return nil
	}
	return next.ServeHTTP(w, r)
}

// site is a running Caddy with one osa_stream.
type site struct {
	t      testing.TB
	URL    string
	client *http.Client
	server map[string]any // of the JSON
	http   map[string]any
	osa    map[string]any
	auth   map[string]any
	stream map[string]any
	tls    map[string]any
	admin  map[string]any
	finals atomic.Pointer[map[string][]uint64]
	log    string
}

var sites atomic.Int64

// plainSite is the configuration of a site; change may change it.
func plainSite(t testing.TB, change func(*site)) *site {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	s := &site{t: t, URL: "http://" + addr, log: filepath.Join(t.TempDir(), "log")}
	s.client = &http.Client{Transport: &http.Transport{}}
	s.auth = map[string]any{"handler": "stream_test_auth", "anonymous": "ws"}
	s.stream = map[string]any{"handler": "osa_stream"}
	s.server = map[string]any{"listen": []string{addr}, "automatic_https": map[string]any{"disable": true}, "logs": map[string]any{}}
	s.admin = map[string]any{"disabled": true, "config": map[string]any{"persist": false}}
	s.http = map[string]any{"metrics": map[string]any{}}
	s.osa = map[string]any{"storage": map[string]any{"engine": "stream_test", "name": fmt.Sprintf("%s/%d", t.Name(), sites.Add(1))}}
	if change != nil {
		change(s)
	}
	return s
}

// newSite runs Caddy over an empty store.
func newSite(t testing.TB, change func(*site)) *site {
	t.Helper()
	s := plainSite(t, change)
	s.load()
	t.Cleanup(func() { s.stop(t) })
	s.ping()
	return s
}

func (s *site) stop(t testing.TB) {
	s.client.CloseIdleConnections()
	if err := caddy.Stop(); err != nil {
		t.Error(err)
	}
	s.eventually("all streams gone", func() bool { return the.count() == 0 })
}

func loadErr(s *site) error { return loadConfig(s.config()) }

func (s *site) config() []byte {
	if s.server["routes"] == nil {
		s.server["routes"] = []any{map[string]any{"handle": []any{s.auth, s.stream}}}
	}
	s.http["servers"] = map[string]any{"main": s.server}
	apps := map[string]any{"osa": s.osa, "http": s.http}
	if s.tls != nil {
		apps["tls"] = s.tls
	}
	raw, err := json.Marshal(map[string]any{
		"admin":   s.admin,
		"logging": map[string]any{"logs": map[string]any{"default": map[string]any{"level": "DEBUG", "writer": map[string]any{"output": "file", "filename": s.log, "roll": false}, "encoder": map[string]any{"format": "json"}}}},
		"apps":    apps,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

func (s *site) load() {
	s.t.Helper()
	if err := loadErr(s); err != nil {
		s.t.Fatal(err)
	}
}

// ping lets the test know the app of the configuration that answers.
func (s *site) ping() {
	s.t.Helper()
	resp, err := s.client.Get(s.URL + "/ping")
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
}

func (s *site) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("never: %s", what)
		}
	}
}

func (s *site) publish(e *event.Event) uint64 {
	s.t.Helper()
	seq, err := appendEvent(e)
	if err != nil {
		s.t.Fatal(err)
	}
	return seq
}

var published atomic.Int64

func appendEvent(e *event.Event) (uint64, error) {
	if e.WorkspaceID == "" {
		e.WorkspaceID = "ws"
	}
	if e.Source == "" {
		e.Source = "opal"
	}
	if e.Kind == "" {
		e.Kind, _ = event.KindOf(e.Type)
	}
	e.ReceivedAt = time.Now().UTC()
	e.DedupKey = event.DedupKey(fmt.Sprint(published.Add(1)))
	log, done, err := testApp.Load().Log(context.Background())
	if err != nil {
		return 0, err
	}
	defer done()
	r, err := log.Append(context.Background(), e)
	return r.Seq, err
}

func (s *site) publishN(n int) {
	for range n {
		s.publish(&event.Event{WorkflowID: "wf", AgentID: "geo_audit", Type: "agent_status_update"})
	}
}

// series is the value of a metric in the running configuration.
func series(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	ctx := caddy.ActiveContext()
	families, err := ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			found := 0
			for _, l := range m.GetLabel() {
				if len(labels) == 2 && l.GetName() == labels[0] && l.GetValue() == labels[1] {
					found++
				}
			}
			if found == len(labels)/2 {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// useTLS gives the site a certificate of its own, and the client trust in it.
func (s *site) useTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	s.server["tls_connection_policies"] = []any{map[string]any{"handshake_context": map[string]any{"module": "stream_test"}}}
	s.tls = map[string]any{"certificates": map[string]any{"load_pem": []any{map[string]any{
		"certificate": cert, "key": string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})),
	}}}}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(cert))
	s.URL = strings.Replace(strings.Replace(s.URL, "http://", "https://", 1), "127.0.0.1", "localhost", 1)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}
