package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/server"
)

// peer is one hub of the comparison.
type peer struct {
	Name      string
	Command   []string
	Env       []string
	Files     map[string]string
	Subscribe string
	Publish   struct {
		Path   string
		Header map[string]string
		Body   string
	}
	// secret signs what is published to the gateway.
	secret string
	// plainOnly: it knows nothing of TLS.
	plainOnly bool
}

// gateway is the Caddyfile of a gateway that shows its streams to anybody.
const gateway = `{
	admin off
	persist_config off
	auto_https off
	log {
		level WARN
	}
	osa {
		storage badger {
			path store
		}
	}
}
{{site}} {
	{{tls}}
	handle /stream {
		osa_auth {
			anonymous bench events:read
		}
		osa_stream {
			max_streams 100000
			max_streams_per_principal 100000
			%s
		}
	}
	handle {
		osa_guard
		osa_signature osa {
			secret main {env.OSA_WEBHOOK_SHARED_SECRET} {
				workspace bench
			}
		}
		osa_webhook opal
	}
}
`

// body is what the gateway is sent: one agent's result.
const body = `{"event_type":"agent_status_update","workflow_id":"%s","agent_id":"geo_audit","timestamp":"{{now}}",` +
	`"data":{"agent_status":{"previous_status":"running","current_status":"completed","execution_time_ms":45230}}}`

func gatewayPeer(name, binary, options string) *peer {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	p := &peer{
		Name: name, Command: []string{binary, "run", "--config", "Caddyfile", "--adapter", "caddyfile"},
		Files: map[string]string{"Caddyfile": fmt.Sprintf(gateway, options)}, Subscribe: "/stream", secret: hex.EncodeToString(b[:]),
	}
	p.Env = []string{"OSA_WEBHOOK_SHARED_SECRET=" + p.secret, "XDG_DATA_HOME={{dir}}", "XDG_CONFIG_HOME={{dir}}"}
	p.Publish.Path = "/api/webhooks/opal-workflow"
	p.Publish.Header = map[string]string{"Content-Type": "application/json"}
	p.Publish.Body = fmt.Sprintf(body, "strategy_workflow-1")
	return p
}

func allPeers(o options) ([]*peer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	hand := &peer{Name: "ceiling", Command: []string{self, "-ceiling", "{{address}}"}, Subscribe: "/stream"}
	hand.Publish.Path = "/publish"
	// As long as the gateway's events are.
	hand.Publish.Body = `{"timestamp":"{{now}}","fill":"` + strings.Repeat("x", 330) + `"}`
	peers := []*peer{gatewayPeer("gateway", o.binary, "")}
	hand.plainOnly = true
	if o.keepConn {
		peers = append(peers, gatewayPeer("handlers", o.binary, "keep_connections"))
	}
	peers = append(peers, hand)
	for _, file := range strings.FieldsFunc(o.peers, func(r rune) bool { return r == ',' }) {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		p := new(peer)
		if err := json.Unmarshal(raw, p); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		peers = append(peers, p)
	}
	if o.only != "" {
		names := strings.Split(o.only, ",")
		peers = slices.DeleteFunc(peers, func(p *peer) bool { return !slices.Contains(names, p.Name) })
	}
	return peers, nil
}

func build(binary string) error {
	cmd := exec.Command("go", "build", "-o", binary, "github.com/osa-edge/osa-gateway/cmd/osa-gateway") //nolint:gosec // own arguments
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// start starts the peer's server in dir. Another socket may take the address
// before the server does.
func (p *peer) start(o options, dir string, over transport) (s *server.Server, err error) {
	for range 3 {
		if s, err = p.startOnce(o, dir, over); err == nil {
			break
		}
	}
	return s, err
}

func (p *peer) startOnce(o options, dir string, over transport) (*server.Server, error) {
	address, err := server.FreeAddress()
	if err != nil {
		return nil, err
	}
	site, useTLS := "http://"+address, ""
	if over.tls {
		site = "https://localhost" + address[strings.LastIndex(address, ":"):]
		useTLS = "tls " + o.certificate + " " + o.key
	}
	fill := strings.NewReplacer("{{address}}", address, "{{dir}}", dir, "{{site}}", site, "{{tls}}", useTLS)
	all := func(in []string) (out []string) {
		for _, s := range in {
			out = append(out, fill.Replace(s))
		}
		return out
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for name, content := range p.Files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fill.Replace(content)), 0o600); err != nil {
			return nil, err
		}
	}
	args := all(p.Command)
	if o.cpus != "" {
		args = append([]string{"taskset", "-c", o.cpus}, args...)
	}
	return server.StartCommand(server.Command{Args: args, Env: all(p.Env), Dir: dir, Address: address})
}

// publisher sends events to one server.
type publisher struct {
	peer   *peer
	url    string
	client *http.Client
	body   string // other than the peer's
	sent   atomic.Int64
}

func newPublisher(p *peer, address string, over transport) *publisher {
	site := "http://" + address
	if over.tls {
		site = "https://" + over.authority(address)
	}
	return &publisher{
		peer: p, url: site + p.Publish.Path, body: p.Publish.Body,
		client: &http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: 64, MaxConnsPerHost: 64,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}, //nolint:gosec // its own certificate
		}, Timeout: 10 * time.Second},
	}
}

// publish sends one event.
func (p *publisher) publish() error {
	now := time.Now()
	payload := []byte(strings.ReplaceAll(p.body, "{{now}}", now.UTC().Format(time.RFC3339Nano)))
	req, err := http.NewRequest(http.MethodPost, p.url, bytes.NewReader(payload)) //nolint:noctx // the client has a timeout
	if err != nil {
		return err
	}
	for name, value := range p.peer.Publish.Header {
		req.Header.Set(name, value)
	}
	if p.peer.secret != "" {
		t := fmt.Sprint(now.Unix())
		mac := hmac.New(sha256.New, []byte(p.peer.secret))
		_, _ = io.WriteString(mac, t+".")
		_, _ = mac.Write(payload)
		req.Header.Set("X-OSA-Signature", "t="+t+",v1="+hex.EncodeToString(mac.Sum(nil)))
	}
	p.sent.Add(1)
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("publishing: %s: %s", resp.Status, answer)
	}
	return err
}
