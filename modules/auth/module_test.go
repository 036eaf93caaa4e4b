package auth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/golang-jwt/jwt/v5"

	"github.com/osa-edge/osa-gateway/internal/chaintest"
	"github.com/osa-edge/osa-gateway/modules/auth"
	"github.com/osa-edge/osa-gateway/modules/guard"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func init() {
	chaintest.Register("osa_guard", guard.ParseGuard)
	chaintest.Register("osa_error", guard.ParseError)
	chaintest.Register("osa_auth", auth.ParseCaddyfile)
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
		if !p.Valid() {
			return errors.New("the principal is not valid")
		}
		user, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).GetString("http.auth.user.id")
		_, err := fmt.Fprint(w, p.Method, " ", p.ID, " ", p.WorkspaceID, " ", user)
		return err
	})
	const providers = `
		key {
			pepper {env.AUTH_TEST_PEPPER}
			file {env.AUTH_TEST_KEYS}
			key inline {env.AUTH_TEST_HASH} {
				permissions events:read opal:read
			}
		}
		jwt {
			public_key {env.AUTH_TEST_PEM}
		}`
	return chaintest.Start(t, `
		route {
			osa_guard
			@read path /read
			osa_auth @read {`+providers+`
				require events:read
			}
			@both path /both
			osa_auth @both {`+providers+`
				require events:read opal:read
			}
			@any path /any
			osa_auth @any {`+providers+`
			}
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
	const key = "key {\n prefix eyJ\n pepper {env.AUTH_TEST_PEPPER}\n key a {env.AUTH_TEST_OTHER}\n}\n"
	const jwt = "jwt {\n public_key {env.AUTH_TEST_PEM}\n}\n"
	for config, want := range map[string][2]int{key + jwt: {200, 401}, jwt + key: {401, 200}} {
		s := chaintest.Start(t, "route {\n osa_auth {\n"+config+"}\n probe ok\n}")
		for i, credential := range []string{"eyJ.a.b", c.admin} {
			if r := s.Send("GET", "/", http.Header{"Authorization": {"Bearer " + credential}}, nil); r.StatusCode != want[i] {
				t.Errorf("%q: credential %d got %d, want %d", config[:3], i, r.StatusCode, want[i])
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
	for _, tt := range []struct {
		name, config string
		want         []string
	}{
		{"no provider", "", []string{"no provider is configured"}},
		{"nothing set", `
			key {
				pepper {env.AUTH_TEST_UNSET}
				file {env.AUTH_TEST_UNSET_FILE}
			}
			jwt {
				public_key {env.AUTH_TEST_UNSET_KEY}
				issuer {env.AUTH_TEST_UNSET}
				audience {env.AUTH_TEST_UNSET}
			}
			require events:reed`,
			[]string{
				"key: pepper (environment variable AUTH_TEST_UNSET) is empty", "AUTH_TEST_UNSET_FILE) is empty", "AUTH_TEST_UNSET_KEY): it is empty",
				"jwt: issuer", "jwt: audience", "osa-gateway osa init", `unknown permission "events:reed"`,
			}},
		{"wrong", `
			key {
				pepper {env.AUTH_TEST_SHORT}
				prefix "a b"
				file ` + bad + `
				key x {env.AUTH_TEST_UNSET} {
					workspace {env.AUTH_TEST_UNSET}
				}
			}
			jwt {
				public_key {env.AUTH_TEST_PRIVATE}
			}
			require events:*`,
			[]string{
				"AUTH_TEST_SHORT) is shorter", `prefix "a b"`, `key "x": the hash must`, `unknown permission "root"`, `key "x": the id is used twice`,
				`key "x": the workspace`, "this is a private key", `unknown permission "events:*"`,
			}},
		{"no file", "key {\n pepper {env.AUTH_TEST_PEPPER}\n file " + bad + ".none\n}", []string{"no such file", "osa-gateway osa init"}},
		{"no keys", "key {\n pepper {env.AUTH_TEST_PEPPER}\n}", []string{"there are no keys"}},
		{"no PEM file", "jwt {\n public_key @" + bad + ".none\n}", []string{"no such file"}},
		{"no PEM", "jwt {\n public_key @" + bad + "\n}", []string{"no PEM block"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := chaintest.Load(t, "route {\n osa_auth {\n"+tt.config+"\n}\n}")
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

func TestCaddyfile(t *testing.T) {
	got, err := chaintest.Adapt(`osa_auth {
		jwt {
			public_key {env.P}
			issuer i
			audience a
		}
		key {
			prefix p_
			pepper {env.K}
			file {env.F}
			key a {env.H} {
				name "the first"
				workspace w
				permissions events:read opal:*
				expires 2027-01-01T00:00:00Z
			}
			key b {env.I}
		}
		require events:read admin
	}`)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"handler":"osa_auth","providers":[{"audience":"a","issuer":"i","provider":"jwt","public_key":"{env.P}"},` +
		`{"file":"{env.F}","keys":[{"expires_at":"2027-01-01T00:00:00Z","hash":"{env.H}","id":"a","name":"the first","permissions":["events:read","opal:*"],"workspace_id":"w"},` +
		`{"expires_at":null,"hash":"{env.I}","id":"b","permissions":null,"workspace_id":""}],"pepper":"{env.K}","prefix":"p_","provider":"key"}],` +
		`"require":["events:read","admin"]}`
	if !strings.Contains(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for config, want := range map[string]string{
		"osa_auth x":                                                              "wrong argument count",
		"osa_auth {\n ldap\n}":                                                    `unknown option "ldap" of osa_auth: want require or a provider: jwt, key`,
		"osa_auth {\n require\n}":                                                 "wrong argument count",
		"osa_auth {\n require a\n require b\n}":                                   "require was already given",
		"osa_auth {\n jwt\n jwt\n}":                                               "jwt was already given",
		"osa_auth {\n jwt x\n}":                                                   "wrong argument count",
		"osa_auth {\n jwt {\n color red\n}\n}":                                    `unknown option "color" of jwt`,
		"osa_auth {\n jwt {\n issuer\n}\n}":                                       "wrong argument count",
		"osa_auth {\n jwt {\n issuer a b\n}\n}":                                   "wrong argument count",
		"osa_auth {\n jwt {\n issuer a\n issuer b\n}\n}":                          "issuer was already given",
		"osa_auth {\n key x\n}":                                                   "wrong argument count",
		"osa_auth {\n key {\n color red\n}\n}":                                    `unknown option "color" of key`,
		"osa_auth {\n key {\n pepper a\n pepper b\n}\n}":                          "pepper was already given",
		"osa_auth {\n key {\n key a\n}\n}":                                        "wrong argument count",
		"osa_auth {\n key {\n key a b c\n}\n}":                                    "wrong argument count",
		"osa_auth {\n key {\n key a b\n key a c\n}\n}":                            "key a was already given",
		"osa_auth {\n key {\n key a b {\n expires soon\n}\n}\n}":                  "expires",
		"osa_auth {\n key {\n key a b {\n permissions\n}\n}\n}":                   "wrong argument count",
		"osa_auth {\n key {\n key a b {\n permissions x\n permissions y\n}\n}\n}": "permissions was already given",
		"osa_auth {\n key {\n key a b {\n color red\n}\n}\n}":                     `unknown option "color" of key a`,
	} {
		if _, err := chaintest.Adapt(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", config, err, want)
		}
	}
}

func BenchmarkHandler(b *testing.B) {
	key := auth.NewKey()
	public, _ := auth.EncodePublicKeyPEM(&rsaKey().PublicKey)
	token, err := auth.MintToken(rsaKey(), auth.Claims{Subject: "u", WorkspaceID: "w", Scope: []string{"events:read"}}, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	config, _ := json.Marshal(map[string]any{
		"require": []string{"events:read"},
		"providers": []any{
			map[string]any{"provider": "key", "pepper": pepper, "keys": []any{
				map[string]any{"id": "a", "hash": auth.HashKey(pepper, key), "workspace_id": "w", "permissions": []string{"events:read"}},
			}},
			map[string]any{"provider": "jwt", "public_key": string(public)},
		},
	})
	ctx, cancel := caddy.NewContext(caddy.Context{Context: b.Context()})
	defer cancel()
	mod, err := ctx.LoadModuleByID("http.handlers.osa_auth", config)
	if err != nil {
		b.Fatal(err)
	}
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	for name, credential := range map[string]string{"key": key, "jwt": token} {
		b.Run(name, func(b *testing.B) {
			r, _ := http.NewRequestWithContext(b.Context(), "GET", "/", http.NoBody)
			r.Header.Set("Authorization", "Bearer "+credential)
			r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, new(caddyhttp.Server))
			b.ReportAllocs()
			for b.Loop() {
				if err := mod.(caddyhttp.MiddlewareHandler).ServeHTTP(nil, r, next); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
