package auth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/golang-jwt/jwt/v5"

	"github.com/osa-edge/osa-gateway/internal/chaintest"
	"github.com/osa-edge/osa-gateway/internal/osatest"
	"github.com/osa-edge/osa-gateway/modules/auth"
	"github.com/osa-edge/osa-gateway/modules/guard"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func init() {
	chaintest.Register("osa_guard", guard.ParseGuard)
	chaintest.Register("osa_error", guard.ParseError)
	chaintest.Register("osa_auth", auth.ParseCaddyfile)
	httpcaddyfile.RegisterGlobalOption("osa", osa.ParseGlobalOption)
}

// app is the global option osa with providers.
func app(t *testing.T, providers string) string {
	t.Helper()
	return "osa {\n storage memory " + osatest.NewStore(t) + "\n auth {\n" + providers + "\n}\n}"
}

// credentials are what the site of start accepts.
type credentials struct{ reader, ended, inline, admin string }

func start(t *testing.T) (*chaintest.Server, credentials) {
	t.Helper()
	dir := t.TempDir()
	c := credentials{reader: auth.NewKey(), ended: auth.NewKey(), inline: auth.NewKey()}
	past := time.Now().Add(-time.Second)
	keys := filepath.Join(dir, "keys.json")
	err := auth.WriteKeyFile(keys, []auth.KeyRecord{
		{ID: "reader", Hash: auth.HashKey(pepper, c.reader), WorkspaceID: "ws-r", Permissions: []string{"events:read"}},
		{ID: "ended", Hash: auth.HashKey(pepper, c.ended), WorkspaceID: "ws-e", Permissions: []string{"*"}, ExpiresAt: &past},
	})
	if err != nil {
		t.Fatal(err)
	}
	public, err := auth.EncodePublicKeyPEM(&rsaKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	pem := filepath.Join(dir, "jwt.pem")
	if err := os.WriteFile(pem, public, 0o600); err != nil {
		t.Fatal(err)
	}
	if c.admin, err = auth.MintToken(rsaKey(), auth.Claims{Subject: "boss", WorkspaceID: "ws-a", Scope: []string{"*"}}, time.Hour); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AUTH_TEST_PEPPER", pepper)
	t.Setenv("AUTH_TEST_KEYS", keys)
	t.Setenv("AUTH_TEST_PEM", "@"+pem)
	t.Setenv("AUTH_TEST_HASH", auth.HashKey(pepper, c.inline))
	t.Setenv("OPAL_WORKSPACE_ID", "ws-env")
	chaintest.Handle("principal", func(w http.ResponseWriter, r *http.Request) error {
		p := osa.PrincipalOf(r)
		if s := osa.StatusOf(p, osa.RequiredOf(r)); s.Refusal != "" {
			return s.Refusal
		}
		user, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).GetString("http.auth.user.id")
		_, err := fmt.Fprint(w, p.Method, " ", p.ID, " ", p.WorkspaceID, " ", user)
		return err
	})
	const providers = `
		key {
			pepper {env.AUTH_TEST_PEPPER}
			file {env.AUTH_TEST_KEYS}
			record inline {env.AUTH_TEST_HASH} {
				permissions events:read opal:read
			}
		}
		jwt {
			public_key {env.AUTH_TEST_PEM}
		}`
	return chaintest.StartWith(t, app(t, providers), `
		route {
			osa_guard
			@read path /read
			osa_auth @read key jwt
			osa_require @read events:read
			@both path /both
			osa_auth @both key jwt
			osa_require @both events:read opal:read
			@any path /any
			osa_auth @any key jwt
			probe principal
		}
		handle_errors {
			osa_error
		}`), c
}

func TestAccess(t *testing.T) {
	s, c := start(t)
	for _, tt := range []struct {
		path, credential string
		status           int
		body             string
	}{
		{"/read", c.reader, 200, "api_key reader ws-r reader"},
		{"/read", c.inline, 200, "api_key inline ws-env inline"},
		{"/read", c.admin, 200, "jwt boss ws-a boss"},
		{"/both", c.inline, 200, "api_key inline ws-env inline"},
		{"/both", c.admin, 200, "jwt boss ws-a boss"},
		{"/any", c.reader, 200, "api_key reader ws-r reader"},
		{"/both", c.reader, 403, ""},
		{"/read", c.ended, 401, ""},
	} {
		for _, scheme := range []string{"Bearer ", "bearer ", "BEARER "} {
			r := s.Send("GET", tt.path, http.Header{"Authorization": {scheme + tt.credential}}, nil)
			if r.StatusCode != tt.status || (tt.body != "" && r.Body != tt.body) {
				t.Errorf("%s: %d %s, want %d %s", tt.path, r.StatusCode, r.Body, tt.status, tt.body)
			}
		}
	}
	r := s.Send("GET", "/both", http.Header{"Authorization": {"Bearer " + c.reader}}, nil)
	var body struct {
		Error    string
		Required []string `json:"required_permissions"`
		Has      []string `json:"current_permissions"`
	}
	if err := json.Unmarshal([]byte(r.Body), &body); err != nil {
		t.Fatal(err)
	}
	if body.Error != "access_denied" || fmt.Sprint(body.Required, body.Has) != "[events:read opal:read] [events:read]" {
		t.Errorf("403: %s", r.Body)
	}
	if got := r.Header.Get("WWW-Authenticate"); got != `Bearer realm="osa", error="insufficient_scope", scope="events:read opal:read"` {
		t.Errorf("403: challenge %s", got)
	}
	log := s.Log()
	for _, secret := range []string{c.reader, c.inline, c.ended, c.admin, pepper} {
		if strings.Contains(log, secret) {
			t.Error("a credential is in the log")
		}
	}
}

// TestRefuses: one public answer, the reason in the log and the metrics.
func TestRefuses(t *testing.T) {
	s, c := start(t)
	chaintest.Handle("principal", func(http.ResponseWriter, *http.Request) error {
		t.Error("a request got through")
		return nil
	})
	forged := sign(t, jwt.SigningMethodRS256, otherKey(), nil, claims(nil))
	for _, tt := range []struct {
		name           string
		authorization  []string
		method, reason string
	}{
		{"none", nil, "none", "missing"},
		{"empty", []string{""}, "none", "missing"},
		{"two", []string{"Bearer " + c.reader, "Bearer " + c.reader}, "none", "multiple_headers"},
		{"joined", []string{"Bearer " + c.reader + ", Bearer " + c.reader}, "none", "malformed"},
		{"basic", []string{"Basic " + c.reader}, "none", "not_bearer"},
		{"no scheme", []string{c.reader}, "none", "not_bearer"},
		{"only the scheme", []string{"Bearer"}, "none", "malformed"},
		{"empty token", []string{"Bearer "}, "none", "malformed"},
		{"two spaces", []string{"Bearer  " + c.reader}, "none", "malformed"},
		{"tab", []string{"Bearer\t" + c.reader}, "none", "not_bearer"},
		{"quoted", []string{`Bearer "` + c.reader + `"`}, "none", "malformed"},
		{"non-ASCII", []string{"Bearer " + c.reader + "é"}, "none", "malformed"},
		{"only padding", []string{"Bearer =="}, "none", "malformed"},
		{"endless", []string{"Bearer opal_prod_" + strings.Repeat("a", 9000)}, "none", "malformed"},
		{"unknown shape", []string{"Bearer sk-" + c.reader}, "none", "unrecognized"},
		{"two parts", []string{"Bearer a.b"}, "none", "unrecognized"},
		{"four parts", []string{"Bearer a.b.c.d"}, "none", "unrecognized"},
		{"prefix in capitals", []string{"Bearer " + strings.ToUpper(c.reader)}, "none", "unrecognized"},
		{"unknown key", []string{"Bearer " + auth.NewKey()}, "api_key", "unknown_key"},
		{"key cut", []string{"Bearer " + c.reader[:len(c.reader)-1]}, "api_key", "unknown_key"},
		{"only the prefix", []string{"Bearer opal_prod_"}, "api_key", "unknown_key"},
		{"key padded", []string{"Bearer " + c.reader + "="}, "api_key", "unknown_key"},
		{"hash of a key", []string{"Bearer opal_prod_" + auth.HashKey(pepper, c.reader)}, "api_key", "unknown_key"},
		{"ended key", []string{"Bearer " + c.ended}, "api_key", "expired"},
		{"a token that begins like a key", []string{"Bearer opal_prod_" + c.admin}, "api_key", "unknown_key"},
		{"forged token", []string{"Bearer " + forged}, "jwt", "bad_signature"},
		{"token in parts", []string{"Bearer a.b.c"}, "jwt", "malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			series := fmt.Sprintf("osa_auth_rejected_total{method=%q,reason=%q}", tt.method, tt.reason)
			before := chaintest.Counter(t, series)
			r := s.Send("GET", "/read", http.Header{"Authorization": tt.authorization}, nil)
			if r.StatusCode != 401 {
				t.Fatalf("%d %s", r.StatusCode, r.Body)
			}
			challenge := `Bearer realm="osa", error="invalid_token"`
			if tt.reason == "missing" || tt.reason == "not_bearer" {
				challenge = `Bearer realm="osa"`
			}
			if got := r.Header.Get("WWW-Authenticate"); got != challenge {
				t.Errorf("challenge %s, want %s", got, challenge)
			}
			const want = `{"error":"authentication_failed","message":"Invalid or missing authentication credentials","request_id":`
			if !strings.HasPrefix(r.Body, want) || !strings.Contains(r.Body, `"auth_methods":["api_key","jwt"]}`) {
				t.Errorf("answers %s", r.Body)
			}
			if after := chaintest.Counter(t, series); after != before+1 {
				t.Errorf("%s is %v after %v", series, after, before)
			}
			logged := false
			for line := range strings.Lines(s.Log()) {
				logged = logged || (strings.Contains(line, r.Header.Get("X-Request-ID")) && strings.Contains(line, `"reason":"`+tt.reason+`"`))
			}
			if !logged {
				t.Error("the reason is not in the log")
			}
		})
	}
}

// TestOrder: who claims a credential decides, and the order written counts.
func TestOrder(t *testing.T) {
	_, c := start(t)
	t.Setenv("AUTH_TEST_OTHER", auth.HashKey(pepper, "eyJ.a.b"))
	chaintest.Handle("ok", func(w http.ResponseWriter, _ *http.Request) error { return nil })
	const key = "key {\n prefix eyJ\n pepper {env.AUTH_TEST_PEPPER}\n record a {env.AUTH_TEST_OTHER}\n}\n"
	const jwt = "jwt {\n public_key {env.AUTH_TEST_PEM}\n}\n"
	for order, want := range map[string][2]int{"key jwt": {200, 401}, "jwt key": {401, 200}} {
		s := chaintest.StartWith(t, app(t, key+jwt), "route {\n osa_auth "+order+"\n probe ok\n}")
		for i, credential := range []string{"eyJ.a.b", c.admin} {
			if r := s.Send("GET", "/", http.Header{"Authorization": {"Bearer " + credential}}, nil); r.StatusCode != want[i] {
				t.Errorf("%q: credential %d got %d, want %d", order, i, r.StatusCode, want[i])
			}
		}
	}
}

func TestRefusesToStart(t *testing.T) {
	_, c := start(t)
	t.Setenv("AUTH_TEST_SHORT", pepper[:20])
	private, _ := auth.EncodePrivateKeyPEM(rsaKey())
	t.Setenv("AUTH_TEST_PRIVATE", string(private))
	bad := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(bad, []byte(`{"keys":[{"id":"x","hash":"zz","workspace_id":"w","permissions":["root"],"expires_at":null}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	const reed = "osa_auth key jwt\n osa_require events:reed"
	for _, tt := range []struct {
		name, providers, site string
		want                  []string
	}{
		{"no provider", "", "osa_auth", []string{"no provider is named", "the app has none"}},
		{"none named", "jwt {\n public_key {env.AUTH_TEST_PEM}\n}", "osa_auth", []string{"no provider is named", "the app has jwt"}},
		{"unknown", "jwt {\n public_key {env.AUTH_TEST_PEM}\n}\n jwt partner {\n public_key {env.AUTH_TEST_PEM}\n}", "osa_auth key jwt jwt",
			[]string{`there is no provider "key"; the app has jwt, partner`, `"jwt" is named twice`}},
		{"a bad name", "jwt a/b {\n public_key {env.AUTH_TEST_PEM}\n}", "osa_auth a/b", []string{"auth a/b: the name of a provider"}},
		{"nothing set", `
			key {
				pepper {env.AUTH_TEST_UNSET}
				file {env.AUTH_TEST_UNSET_FILE}
			}
			jwt {
				public_key {env.AUTH_TEST_UNSET_KEY}
				issuer {env.AUTH_TEST_UNSET}
				audience {env.AUTH_TEST_UNSET}
			}`, reed,
			[]string{
				"auth key: pepper (environment variable AUTH_TEST_UNSET) is empty", "AUTH_TEST_UNSET_FILE) is empty", "AUTH_TEST_UNSET_KEY): it is empty",
				"auth jwt: issuer", "auth jwt: audience", "osa-gateway osa init", `osa_require: unknown permission "events:reed"`,
			}},
		{"wrong", `
			key {
				pepper {env.AUTH_TEST_SHORT}
				prefix "a b"
				file ` + bad + `
				record x {env.AUTH_TEST_UNSET} {
					workspace {env.AUTH_TEST_UNSET}
				}
			}
			jwt {
				public_key {env.AUTH_TEST_PRIVATE}
			}`, "osa_auth key jwt\n osa_require events:*",
			[]string{
				"AUTH_TEST_SHORT) is shorter", `prefix "a b"`, `key "x": the hash must`, `unknown permission "root"`, `key "x": the id is used twice`,
				`key "x": the workspace`, "this is a private key", `unknown permission "events:*"`,
			}},
		{"no file", "key {\n pepper {env.AUTH_TEST_PEPPER}\n file " + bad + ".none\n}", "osa_auth key", []string{"no such file", "osa-gateway osa init"}},
		{"no keys", "key {\n pepper {env.AUTH_TEST_PEPPER}\n}", "osa_auth key", []string{"there are no keys"}},
		{"no PEM file", "jwt {\n public_key @" + bad + ".none\n}", "osa_auth jwt", []string{"no such file"}},
		{"no PEM", "jwt {\n public_key @" + bad + "\n}", "osa_auth jwt", []string{"no PEM block"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := chaintest.LoadWith(t, app(t, tt.providers), "route {\n"+tt.site+"\n}")
			if err == nil {
				t.Fatal("started")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("does not say %q: %v", want, err)
				}
			}
			for _, secret := range []string{pepper[:20], string(private[30:60]), c.reader} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("reveals a secret: %v", err)
				}
			}
		})
	}
}

func BenchmarkHandler(b *testing.B) {
	key := auth.NewKey()
	public, _ := auth.EncodePublicKeyPEM(&rsaKey().PublicKey)
	token, err := auth.MintToken(rsaKey(), auth.Claims{Subject: "u", WorkspaceID: "w", Scope: []string{"events:read"}}, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	g := osatest.New(b, map[string]any{"auth": map[string]any{
		"key": map[string]any{"provider": "key", "pepper": pepper, "records": []any{
			map[string]any{"id": "a", "hash": auth.HashKey(pepper, key), "workspace_id": "w", "permissions": []string{"events:read"}},
		}},
		"jwt": map[string]any{"provider": "jwt", "public_key": string(public)},
	}})
	mod := g.MustLoad("http.handlers.osa_auth", map[string]any{"providers": []string{"key", "jwt"}})
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	for name, credential := range map[string]string{"key": key, "jwt": token} {
		b.Run(name, func(b *testing.B) {
			r, _ := http.NewRequestWithContext(b.Context(), "GET", "/", http.NoBody)
			r.Header.Set("Authorization", "Bearer "+credential)
			r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, new(caddyhttp.Server))
			b.ReportAllocs()
			for b.Loop() {
				if err := mod.ServeHTTP(nil, r, next); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
