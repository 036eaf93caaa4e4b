package auth_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/osa-edge/osa-gateway/internal/chaintest"
	"github.com/osa-edge/osa-gateway/modules/auth"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// watchers are the goroutines that watch files.
func watchers() int {
	var b bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&b, 2)
	return strings.Count(b.String(), "filewatch.(*Files).Watch(")
}

// TestReloads: what a principal's standing is across reloads that succeed and
// fail, and that nothing of an old configuration stays.
func TestReloads(t *testing.T) {
	_, _ = start(t) // for the variables
	kept, gone := auth.NewKey(), auth.NewKey()
	keys := filepath.Join(t.TempDir(), "keys.json")
	record := func(id, key string, permissions ...string) auth.KeyRecord {
		return auth.KeyRecord{ID: id, Hash: auth.HashKey(pepper, key), WorkspaceID: "ws", Permissions: permissions}
	}
	if err := auth.WriteKeyFile(keys, []auth.KeyRecord{record("kept", kept, "events:read")}); err != nil {
		t.Fatal(err)
	}
	var principal *osa.Principal
	chaintest.Handle("take", func(_ http.ResponseWriter, r *http.Request) error {
		principal = osa.PrincipalOf(r)
		return nil
	})
	const site = "route {\n osa_auth key\n osa_require events:read\n probe take\n}"
	option := app(t, "@")
	with := func(more string) string {
		return strings.Replace(option, "@", "key {\n pepper {env.AUTH_TEST_PEPPER}\n file "+keys+"\n"+more+"\n}", 1)
	}
	inline := with("record gone " + auth.HashKey(pepper, gone) + " {\n permissions events:read\n}")
	s := chaintest.StartWith(t, inline, site)
	as := func(key string) *osa.Principal {
		t.Helper()
		if r := s.Send("GET", "/", http.Header{"Authorization": {"Bearer " + key}}, nil); r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, r.Body)
		}
		return principal
	}
	stays, goes := as(kept), as(gone)
	if text := fmt.Sprintf("%+v %#v %v %s", *goes, *goes, goes.Credential, goes.Credential); strings.Contains(text, auth.HashKey(pepper, gone)) {
		t.Error("a principal shows its hash")
	}
	refusal := func(p *osa.Principal, required ...string) osa.Refusal { return osa.StatusOf(p, required).Refusal }
	want := func(what string, keptWant, goneWant osa.Refusal) {
		t.Helper()
		if a, b := refusal(stays, "events:read"), refusal(goes, "events:read"); a != keptWant || b != goneWant {
			t.Errorf("%s: %q and %q, want %q and %q", what, a, b, keptWant, goneWant)
		}
	}
	want("at first", "", "")
	if refusal(stays, "events:read", "admin") != osa.RefusedRevoked {
		t.Error("a permission that it never had is covered")
	}
	if err := s.Reload(with(""), strings.Replace(site, "events:read", "events:reed", 1)); err == nil {
		t.Fatal("a configuration that does not hold is loaded")
	}
	want("does not validate", "", "")
	if n := watchers(); n != 1 {
		eventually(t, "failed reloads leave no watcher", func() bool { return watchers() == 1 })
	}
	if err := s.Reload(with(""), site); err != nil {
		t.Fatal(err)
	}
	want("after a reload without the key", "", osa.RefusedRevoked)
	eventually(t, "the old configuration's watcher is gone", func() bool { return watchers() == 1 })
	if err := auth.WriteKeyFile(keys, []auth.KeyRecord{record("renamed", kept, "events:*")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file is read", func() bool { return as(kept).ID == "renamed" })
	want("under another id", "", osa.RefusedRevoked)
	ended := record("renamed", kept, "events:read")
	past := time.Now().Add(-time.Second)
	ended.ExpiresAt = &past
	if err := auth.WriteKeyFile(keys, []auth.KeyRecord{ended}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has expired", func() bool { return refusal(stays) == osa.RefusedExpired })
	if err := s.Reload(option[:strings.Index(option, "auth")]+"}", "respond 200"); err != nil {
		t.Fatal(err)
	}
	want("without any provider", osa.RefusedRevoked, osa.RefusedRevoked)
	eventually(t, "nothing is watched", func() bool { return watchers() == 0 })
}

// TestStartThatFails: a configuration that does not start takes nobody's credential
// away. It has a server of its own: after such a start Caddy cannot listen again on
// the unix socket.
func TestStartThatFails(t *testing.T) {
	_, _ = start(t) // for the variables
	key := auth.NewKey()
	var principal *osa.Principal
	chaintest.Handle("take", func(_ http.ResponseWriter, r *http.Request) error {
		principal = osa.PrincipalOf(r)
		return nil
	})
	const site = "route {\n osa_auth key\n osa_require events:read\n probe take\n}"
	dir := t.TempDir()
	// with is a configuration with one key, in a file.
	with := func(name, key string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		record := auth.KeyRecord{ID: name, Hash: auth.HashKey(pepper, key), WorkspaceID: "ws", Permissions: []string{"events:read"}}
		if err := auth.WriteKeyFile(path, []auth.KeyRecord{record}); err != nil {
			t.Fatal(err)
		}
		return app(t, "key {\n pepper {env.AUTH_TEST_PEPPER}\n file "+path+"\n}")
	}
	s := chaintest.StartWith(t, with("kept", key), site)
	if r := s.Send("GET", "/", http.Header{"Authorization": {"Bearer " + key}}, nil); r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.Body)
	}
	if err := s.Reload(strings.Replace(with("other", auth.NewKey()), "storage memory ", "storage memory none-", 1), site); err == nil {
		t.Fatal("it starts")
	}
	if got := osa.StatusOf(principal, []string{"events:read"}).Refusal; got != "" {
		t.Errorf("the key is refused: %q", got)
	}
	eventually(t, "the failed start leaves no watcher", func() bool { return watchers() == 1 })
}

// TestTwoIssuers: a token is for the provider whose issuer it names.
func TestTwoIssuers(t *testing.T) {
	_, c := start(t)
	public, err := auth.EncodePublicKeyPEM(&otherKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	pem := filepath.Join(t.TempDir(), "partner.pem")
	if err := os.WriteFile(pem, public, 0o600); err != nil {
		t.Fatal(err)
	}
	var provider string
	chaintest.Handle("take", func(_ http.ResponseWriter, r *http.Request) error {
		provider = osa.PrincipalOf(r).Provider
		return nil
	})
	partner := sign(t, jwt.SigningMethodRS256, otherKey(), nil, claims(jwt.MapClaims{"iss": "partner"}))
	forged := sign(t, jwt.SigningMethodRS256, otherKey(), nil, claims(nil)) // by the partner, for us
	stranger := sign(t, jwt.SigningMethodRS256, otherKey(), nil, claims(jwt.MapClaims{"iss": "stranger"}))
	for _, order := range []string{"jwt partner", "partner jwt"} {
		s := chaintest.StartWith(t, app(t, "jwt {\n public_key {env.AUTH_TEST_PEM}\n}\njwt partner {\n public_key @"+pem+"\n issuer partner\n}"),
			"route {\n osa_auth "+order+"\n probe take\n}")
		for _, tt := range []struct{ token, want string }{{c.admin, "jwt"}, {partner, "partner"}, {forged, ""}, {stranger, ""}} {
			provider = ""
			r := s.Send("GET", "/", http.Header{"Authorization": {"Bearer " + tt.token}}, nil)
			if provider != tt.want || (r.StatusCode == 200) != (tt.want != "") {
				t.Errorf("%s: %d by %q, want %q", order, r.StatusCode, provider, tt.want)
			}
		}
	}
}

// TestNoPrincipalIsShared: a changed file does not change principals that were
// handed out.
func TestNoPrincipalIsShared(t *testing.T) {
	key := auth.NewKey()
	ring := func(permissions ...string) *auth.Keyring {
		return auth.NewKeyring("key", auth.DefaultPrefix, pepper, []auth.KeyRecord{{ID: "a", Hash: auth.HashKey(pepper, key), WorkspaceID: "w", Permissions: permissions}}, nil)
	}
	p, err := ring("admin").Authenticate(key)
	if err != nil {
		t.Fatal(err)
	}
	now, err := ring("events:read").Current(p)
	if err != nil || !slices.Equal(p.Permissions, []string{"admin"}) || !slices.Equal(now.Permissions, []string{"events:read"}) {
		t.Errorf("%v, %v: %v", p.Permissions, now, err)
	}
	if _, err := auth.NewKeyring("key", auth.DefaultPrefix, pepper+"x", []auth.KeyRecord{{ID: "a", Hash: auth.HashKey(pepper+"x", key), WorkspaceID: "w"}}, nil).Current(p); err == nil {
		t.Error("a key is recognised under another pepper")
	}
}
