//go:build linux

package hostile

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// What the gateway is given: the memory that it may use, and as many descriptors
// as a process has where nobody said otherwise.
const (
	memoryLimit = 512 << 20
	descriptors = 1024
)

// arena is a gateway with its tenants.
type arena struct {
	*gateway.Gateway
	settings settings
	phase    phases

	hostile *tenant
	good    []*tenant
	// tlsAddr serves the same over TLS, with HTTP/2.
	tlsAddr string
}

// tenant is one workspace with a secret and a key of its own.
type tenant struct {
	name, workspace string
	creds           *gateway.Credentials
	ledger          ledger
	// unanswered are webhooks of which nobody knows what became of them.
	unanswered atomic.Int64
}

// newArena starts the gateway of Caddyfile.example in production, on plain HTTP
// and on TLS, with a tenant that Force Sync belongs to, who is the hostile one,
// and three good ones.
func newArena(t *testing.T, s settings) *arena {
	t.Helper()
	needDescriptors(t, 8*descriptors)
	a := &arena{settings: s, hostile: newTenant("hostile", gateway.Workspace)}
	for _, name := range []string{"amber", "beryl", "coral"} {
		a.good = append(a.good, newTenant(name, "ws-"+name))
	}
	dir, pepper := gateway.TempDir(t), gateway.RandomText()
	keys := filepath.Join(dir, "tenants.json")
	writeKeys(t, keys, pepper, append([]*tenant{a.hostile}, a.good...))
	env := map[string]string{
		"OSA_KEY_PEPPER": pepper, "OSA_KEYS_FILE": keys, "GOMEMLIMIT": fmt.Sprint(memoryLimit),
		"OSA_WEBHOOK_SHARED_SECRET": a.hostile.creds.Secret,
		"OPAL_WEBHOOK_URL":          slowOPAL(t), "OPAL_STRATEGY_WORKFLOW_AUTH_KEY": gateway.RandomText(),
		"BASE_URL": "http://gateway.test",
		// A line for every request would fill the disk of a long run.
		"OSA_LOG_LEVEL": "WARN",
	}
	var secrets strings.Builder
	for _, x := range a.good {
		env["SECRET_"+x.name] = x.creds.Secret
		fmt.Fprintf(&secrets, "\t\t\tsecret %s {env.SECRET_%s} {\n\t\t\t\tworkspace %s\n\t\t\t}\n", x.name, x.name, x.workspace)
	}
	a.Gateway = gateway.New(t, gateway.Options{Dir: dir, Env: env, Edit: func(text string) string {
		text = gateway.Replace(t, text, "\tgrace_period 4s\n", "\tgrace_period 4s\n\tskip_install_trust\n\tauto_https disable_redirects\n")
		const receiver = "\t\timport receiver opal osa {env.OSA_WEBHOOK_SHARED_SECRET}\n"
		return gateway.Replace(t, text, receiver, "\t\tosa_signature @post osa {env.OSA_WEBHOOK_SHARED_SECRET} {\n"+secrets.String()+"\t\t}\n\t\tosa_webhook opal\n")
	}})
	a.tlsAddr = gateway.FreeAddr(t)
	a.Setenv("OSA_ADDRESS", "http://"+a.Addr+", https://"+a.tlsAddr)
	a.StartThrough("/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, descriptors))
	a.Start()
	return a
}

func newTenant(name, workspace string) *tenant {
	return &tenant{name: name, workspace: workspace, creds: &gateway.Credentials{
		Secret: gateway.RandomText(), Key: "opal_prod_" + gateway.RandomText(),
	}}
}

// writeKeys writes the hashes of the tenants' keys, as `osa init` does.
func writeKeys(t *testing.T, path, pepper string, tenants []*tenant) {
	t.Helper()
	var records []any
	for _, x := range tenants {
		m := hmac.New(sha256.New, []byte(pepper))
		m.Write([]byte(x.creds.Key))
		records = append(records, map[string]any{
			"id": "key_" + x.name, "hash": hex.EncodeToString(m.Sum(nil)), "workspace_id": x.workspace,
			"permissions": []string{"events:read", "opal:read", "opal:trigger"}, "expires_at": nil,
		})
	}
	b, err := json.Marshal(map[string]any{"keys": records})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// slowOPAL takes every trigger and is in no hurry to answer.
func slowOPAL(t *testing.T) (url string) {
	opal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-time.After(3 * time.Second):
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"accepted"}`)
	}))
	t.Cleanup(func() {
		opal.CloseClientConnections()
		opal.Close()
	})
	return opal.URL
}

// needDescriptors raises this process's own limit: attackers hold connections.
func needDescriptors(t *testing.T, n uint64) {
	t.Helper()
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	lim.Cur = lim.Max
	if lim.Max < n {
		t.Fatalf("the limit of descriptors is %d; this test needs %d (ulimit -Hn)", lim.Max, n)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
}

// seed gives the hostile tenant what its lists and streams are long of: a page of
// events with the longest of everything, and some with the largest body.
func (a *arena) seed(t *testing.T) {
	t.Helper()
	m := &mark{answers: make(map[int]int)}
	bodies := make(chan []byte)
	var senders sync.WaitGroup
	for n := range 16 {
		w := &worker{arena: a, n: n, from: "127.0.0.66", rng: newRand(a.settings.seed + uint64(n)), mark: m}
		senders.Go(func() {
			client, done := w.client()
			defer done()
			for body := range bodies {
				w.send(t.Context(), client, body)
			}
		})
	}
	rng := newRand(a.settings.seed)
	for range 1000 {
		bodies <- shallow(rng, true)
	}
	for _, body := range largestBodies() {
		bodies <- body
	}
	close(bodies)
	senders.Wait()
	if n := a.hostile.ledger.count(); n != 1002 {
		t.Fatalf("%d of 1002 events of the hostile tenant were taken: %s", n, m.summary())
	}
}

// wait lets the good tenants go on for a while.
func (a *arena) wait(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	select {
	case <-a.Exited():
		t.Fatalf("the gateway has ended; its log:\n%s", a.LogTail(60))
	case <-ctx.Done():
	}
}

// Phases of a run.
const (
	before = iota
	during
	after
	phaseCount
)

var phaseNames = [phaseCount]string{"before", "attack", "after"}

type phases struct{ now atomic.Int32 }

func (p *phases) enter(n int32) { p.now.Store(n) }
func (p *phases) get() int      { return int(p.now.Load()) }

// client of a tenant, from an address of its own.
func (a *arena) client(t *testing.T, x *tenant, from string) *gateway.Client {
	c := gateway.NewClient(t, a.URL, x.creds)
	c.HTTP.Transport = transport(from)
	return c
}

func transport(from string) *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 20 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext,
		MaxIdleConnsPerHost: 64, DisableCompression: true, ResponseHeaderTimeout: 30 * time.Second,
	}
}
