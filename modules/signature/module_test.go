package signature_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/internal/chaintest"
	"github.com/osa-edge/osa-gateway/internal/credentials"
	"github.com/osa-edge/osa-gateway/modules/guard"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/modules/osa/requestbody"
	module "github.com/osa-edge/osa-gateway/modules/signature"
	"github.com/osa-edge/osa-gateway/signature"
)

// Obviously fake, yet random enough to pass for secrets.
const (
	first  = "f2b47c9e01d8a356f2b40c9e71d8a3561"
	second = "0a9d3e7c5b1f8264c0a9d3e75b1f82647"
)

func init() {
	chaintest.Register("osa_guard", guard.ParseGuard)
	chaintest.Register("osa_error", guard.ParseError)
	chaintest.Register("osa_signature", module.ParseCaddyfile)
}

func start(t *testing.T, config string) *chaintest.Server {
	t.Helper()
	chaintest.Handle("verified", func(w http.ResponseWriter, r *http.Request) error {
		return json.NewEncoder(w).Encode(osa.VerifiedOf(r))
	})
	return chaintest.Start(t, `
		route {
			osa_guard
			`+config+`
			probe verified
		}
		handle_errors {
			osa_error
		}`)
}

func post(s *chaintest.Server, body string, signatures ...string) chaintest.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	if len(signatures) > 0 {
		h["X-Osa-Signature"] = signatures
	}
	return s.Send("POST", "/hook", h, strings.NewReader(body))
}

func TestVerifies(t *testing.T) {
	t.Setenv("SIGNATURE_TEST_FIRST", first)
	t.Setenv("OPAL_WORKSPACE_ID", "ws-env")
	file := filepath.Join(t.TempDir(), "second")
	if err := os.WriteFile(file, []byte(second+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, `
		@signed not method GET HEAD
		osa_signature @signed osa {
			secret first {env.SIGNATURE_TEST_FIRST}
			secret second {file.`+file+`} {
				workspace ws-two
				not_before 2020-01-01T00:00:00Z
				not_after 2120-01-01T00:00:00+02:00
			}
			secret ended `+first[1:]+`e {
				not_after 2020-01-01T00:00:00Z
			}
			tolerance 60s
		}`)
	now := time.Now()
	for _, tt := range []struct{ key, id, want string }{
		{first, "first", `{"Scheme":"osa","SecretID":"first","WorkspaceID":"ws-env"}`},
		{second, "second", `{"Scheme":"osa","SecretID":"second","WorkspaceID":"ws-two"}`},
	} {
		series := fmt.Sprintf(`osa_signature_verified_total{scheme="osa",secret=%q}`, tt.id)
		before := chaintest.Counter(t, series)
		r := post(s, "{}", signature.Sign(tt.key, []byte("{}"), now))
		if r.StatusCode != 200 || strings.TrimSpace(r.Body) != tt.want {
			t.Errorf("%d %s, want %s", r.StatusCode, r.Body, tt.want)
		}
		if after := chaintest.Counter(t, series); after != before+1 {
			t.Errorf("counted %v after %v", after, before)
		}
	}
	if r := s.Send("GET", "/hook", nil, nil); r.StatusCode != 200 || strings.TrimSpace(r.Body) != "null" {
		t.Errorf("GET: %d %s", r.StatusCode, r.Body)
	}
	if r := s.Send("PUT", "/hook", nil, nil); r.StatusCode != 401 {
		t.Errorf("PUT: %d", r.StatusCode)
	}
	// The tolerance is the configured one, and an ended secret has ended.
	for name, value := range map[string]string{
		"old":   signature.Sign(first, []byte("{}"), now.Add(-90*time.Second)),
		"ended": signature.Sign(first[1:]+"e", []byte("{}"), now),
	} {
		if r := post(s, "{}", value); r.StatusCode != 401 {
			t.Errorf("%s: %d", name, r.StatusCode)
		}
	}
	if log := s.Log(); !strings.Contains(log, "past its not_after") || strings.Contains(log, first) || strings.Contains(log, second) {
		t.Error("the log lacks the ended secret, or has a secret in it")
	}
}

// TestSecretFileIsRead: another secret in the file holds, and the one before does
// not; a weak one changes nothing.
func TestSecretFileIsRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	put := func(value string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	put(first)
	s := start(t, "osa_signature osa {\n secret a {file."+file+"}\n}")
	accepted := func(secret string) bool {
		return post(s, "{}", signature.Sign(secret, []byte("{}"), time.Now())).StatusCode == 200
	}
	eventually := func(what string, cond func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("never: %s", what)
			}
		}
	}
	if !accepted(first) || accepted(second) {
		t.Fatal("at first")
	}
	put("weak")
	eventually("the weak secret is found", func() bool { return !credentials.Healthy() })
	if !accepted(first) {
		t.Error("a file that cannot be used took the secret away")
	}
	put(second)
	eventually("the next secret holds", func() bool { return accepted(second) })
	if accepted(first) || !credentials.Healthy() {
		t.Error("the secret before still holds, or the file is still called bad")
	}
	log := s.Log()
	if !strings.Contains(log, `"secret_ids":["a"]`) || !strings.Contains(log, "is shorter than 32") || strings.Contains(log, second) || strings.Contains(log, first) {
		t.Error("the log lacks the change or the weak secret, or has a secret in it")
	}
}

// TestRefuses: one public answer whatever was wrong, the reason in the log and
// the metrics, nothing that reaches the next handler.
func TestRefuses(t *testing.T) {
	s := start(t, "osa_signature osa {\n secret a "+first+"\n}")
	chaintest.Handle("verified", func(http.ResponseWriter, *http.Request) error {
		t.Error("a request got through")
		return nil
	})
	now := time.Now()
	good := signature.Sign(first, []byte("{}"), now)
	stamp, v1, _ := strings.Cut(good, ",")
	answer := ""
	for _, tt := range []struct {
		name       string
		signatures []string
		body       string
		reason     signature.Reason
	}{
		{"none", nil, "{}", signature.Missing},
		{"empty", []string{""}, "{}", signature.Missing},
		{"two headers", []string{good, good}, "{}", signature.MultipleHeaders},
		{"joined headers", []string{good + ", " + good}, "{}", signature.Malformed},
		{"t after v1", []string{v1 + "," + stamp}, "{}", signature.Malformed},
		{"only v0", []string{stamp + ",v0=00"}, "{}", signature.UnsupportedVersion},
		{"hundreds of v1", []string{stamp + strings.Repeat(","+v1, 300)}, "{}", signature.TooManySignatures},
		{"another body", []string{good}, "{ }", signature.NoMatchingSignature},
		{"byte order mark", []string{good}, "\ufeff{}", signature.NoMatchingSignature},
		{"trailing newline", []string{good}, "{}\n", signature.NoMatchingSignature},
		{"another secret", []string{signature.Sign(second, []byte("{}"), now)}, "{}", signature.NoMatchingSignature},
		{"too old", []string{signature.Sign(first, []byte("{}"), now.Add(-302*time.Second))}, "{}", signature.TimestampOutOfRange},
		{"too early", []string{signature.Sign(first, []byte("{}"), now.Add(302*time.Second))}, "{}", signature.TimestampOutOfRange},
	} {
		t.Run(tt.name, func(t *testing.T) {
			series := fmt.Sprintf(`osa_signature_rejected_total{reason=%q,scheme="osa"}`, string(tt.reason))
			before := chaintest.Counter(t, series)
			r := post(s, tt.body, tt.signatures...)
			if r.StatusCode != 401 || r.Header.Get("WWW-Authenticate") != `HMAC realm="osa", scheme="osa"` {
				t.Fatalf("%d, challenge %q", r.StatusCode, r.Header.Get("WWW-Authenticate"))
			}
			id := r.Header.Get("X-Request-ID")
			var m map[string]any
			if err := json.Unmarshal([]byte(r.Body), &m); err != nil {
				t.Fatal(err)
			}
			delete(m, "request_id")
			delete(m, "timestamp")
			if got := fmt.Sprint(m); answer == "" {
				answer = got
			} else if got != answer {
				t.Errorf("answers %s, elsewhere %s", got, answer)
			}
			if after := chaintest.Counter(t, series); after != before+1 {
				t.Errorf("%s is %v after %v", series, after, before)
			}
			logged := false
			for line := range strings.Lines(s.Log()) {
				logged = logged || (strings.Contains(line, `"reason":"`+string(tt.reason)+`"`) && strings.Contains(line, id))
			}
			if !logged {
				t.Errorf("reason %s of request %s is not in the log", tt.reason, id)
			}
		})
	}
	if answer != "map[auth_methods:[hmac] error:authentication_failed message:Invalid or missing authentication credentials]" {
		t.Errorf("answers %s", answer)
	}
	if strings.Contains(s.Log(), first) {
		t.Error("the secret is in the log")
	}
}

func TestRefusesToStart(t *testing.T) {
	t.Setenv("SIGNATURE_TEST_SHORT", first[:20])
	t.Setenv("SIGNATURE_TEST_EXAMPLE", "your-32-character-hmac-secret")
	t.Setenv("SIGNATURE_TEST_GOOD", first)
	for _, tt := range []struct {
		name, config string
		want         []string
	}{
		{"no secret", "", []string{"no secret is configured"}},
		{"unset variable", "secret a {env.SIGNATURE_TEST_UNSET}", []string{`secret "a"`, "SIGNATURE_TEST_UNSET", "empty", "openssl rand -hex 32"}},
		{"unreadable file", "secret a {file./nonexistent/secret}", []string{"/nonexistent/secret", "empty", "unreadable"}},
		{"misspelt placeholder", "secret a {evn.SIGNATURE_TEST_GOOD}", []string{`secret "a"`, "empty"}},
		{"everything at once", `
			secret a {env.SIGNATURE_TEST_SHORT} {
				not_before tomorrow
			}
			secret b {env.SIGNATURE_TEST_EXAMPLE} {
				workspace {env.SIGNATURE_TEST_UNSET}
			}
			secret c {env.SIGNATURE_TEST_GOOD} {
				not_before 2026-01-02T00:00:00Z
				not_after 2026-01-01T00:00:00Z
			}
			secret d {env.SIGNATURE_TEST_GOOD}
			secret "e e" ` + second,
			[]string{
				"SIGNATURE_TEST_SHORT) is shorter than 32", `not_before is "tomorrow"`, "SIGNATURE_TEST_EXAMPLE) is an example",
				`secret "b": workspace`, `secret "c": not_after is before`, `secrets "c" and "d" are the same`, `secret id "e e"`,
			}},
		{"too many", manySecrets(17), []string{"at most 16"}},
		{"tolerance", "secret a " + second + "\n tolerance 2h", []string{"tolerance is 2h0m0s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := chaintest.Load(t, "route {\n osa_signature osa {\n"+tt.config+"\n}\n}")
			if err == nil {
				t.Fatal("started")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("does not say %q: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), first[:20]) || strings.Contains(err.Error(), second) || strings.Contains(err.Error(), "32-character") {
				t.Errorf("reveals a secret: %v", err)
			}
		})
	}
	t.Run("duplicate id in JSON", func(t *testing.T) {
		h := new(module.Handler)
		config := `{"scheme":{"name":"osa"},"secrets":[{"id":"a","value":"` + first + `"},{"id":"a","value":"` + second + `"}]}`
		if err := json.Unmarshal([]byte(config), h); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		defer cancel()
		if err := h.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		if err := h.Validate(); err == nil || !strings.Contains(err.Error(), `secret id "a" is used twice`) {
			t.Errorf("got %v", err)
		}
	})
}

func manySecrets(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "secret s%d %s%d\n", i, second, i)
	}
	return b.String()
}

func TestCaddyfile(t *testing.T) {
	got, err := chaintest.Adapt(`osa_signature osa {
		tolerance 1m
		secret a {env.A} {
			workspace {env.W}
			not_before 2026-01-01T00:00:00Z
			not_after 2027-01-01T00:00:00Z
		}
		secret b {env.B}
	}`)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"handler":"osa_signature","scheme":{"name":"osa","tolerance":60000000000},` +
		`"secrets":[{"id":"a","not_after":"2027-01-01T00:00:00Z","not_before":"2026-01-01T00:00:00Z","value":"{env.A}","workspace":"{env.W}"},` +
		`{"id":"b","value":"{env.B}"}]}`
	if !strings.Contains(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	for config, want := range map[string]string{
		"osa_signature osa {env.A}":                            `"secrets":[{"id":"main","value":"{env.A}"}]}`,
		"osa_signature osa {env.A} {\n tolerance 1m\n}":        `"scheme":{"name":"osa","tolerance":60000000000},"secrets":[{"id":"main","value":"{env.A}"}]}`,
		"osa_signature osa {env.A} {\n secret next {env.B}\n}": `"secrets":[{"id":"main","value":"{env.A}"},{"id":"next","value":"{env.B}"}]}`,
	} {
		if got, err := chaintest.Adapt(config); err != nil || !strings.Contains(got, want) {
			t.Errorf("%q: got %s, %v, want %s", config, got, err, want)
		}
	}
	for config, want := range map[string]string{
		"osa_signature":                                                        "wrong argument count",
		"osa_signature osa a b":                                                "wrong argument count",
		"osa_signature nosuch":                                                 `unknown signature scheme "nosuch": want one of osa`,
		"osa_signature osa {\n secret\n}":                                      "wrong argument count",
		"osa_signature osa {\n secret a\n}":                                    "wrong argument count",
		"osa_signature osa {\n secret a b c\n}":                                "wrong argument count",
		"osa_signature osa {\n secret a b\n secret a c\n}":                     "secret a was already given",
		"osa_signature osa {\n secret a b {\n color red\n}\n}":                 `unknown option "color" of secret`,
		"osa_signature osa {\n secret a b {\n workspace\n}\n}":                 "wrong argument count",
		"osa_signature osa {\n secret a b {\n workspace x y\n}\n}":             "wrong argument count",
		"osa_signature osa {\n secret a b {\n workspace x\n workspace y\n}\n}": "workspace was already given",
		"osa_signature osa a {\n secret main b\n}":                             "secret main was already given",
		"osa_signature osa {\n unsigned_methods GET\n}":                        `unknown option "unsigned_methods"`,
		"osa_signature osa {\n tolerance\n}":                                   "wrong argument count",
		"osa_signature osa {\n tolerance 1s 2s\n}":                             "wrong argument count",
		"osa_signature osa {\n tolerance x\n}":                                 "tolerance",
		"osa_signature osa {\n tolerance -1s\n}":                               "tolerance must be positive",
		"osa_signature osa {\n tolerance 1s\n tolerance 1s\n}":                 "tolerance was already given",
		"osa_signature osa {\n secret a b\n color red {\n x\n}\n}":             `unknown option "color"`,
	} {
		if _, err := chaintest.Adapt(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", config, err, want)
		}
	}
}

func BenchmarkHandler(b *testing.B) {
	h := new(module.Handler)
	if err := json.Unmarshal([]byte(`{"scheme":{"name":"osa"},"secrets":[{"id":"a","value":"`+first+`"}]}`), h); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: b.Context()})
	defer cancel()
	if err := h.Provision(ctx); err != nil {
		b.Fatal(err)
	}
	if err := h.Validate(); err != nil {
		b.Fatal(err)
	}
	body := make([]byte, 1024)
	rd := bytes.NewReader(body)
	r, _ := http.NewRequestWithContext(b.Context(), "POST", "/", rd)
	r.Header.Set("X-OSA-Signature", signature.Sign(first, body, time.Now()))
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, new(caddyhttp.Server))
	if _, err := requestbody.Read(r); err != nil {
		b.Fatal(err)
	}
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	b.ReportAllocs()
	for b.Loop() {
		if err := h.ServeHTTP(nil, r, next); err != nil {
			b.Fatal(err)
		}
	}
}
