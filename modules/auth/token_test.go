package auth_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/osa-edge/osa-gateway/modules/auth"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// Making an RSA key takes long, so tests share two.
var (
	rsaKey   = sync.OnceValue(generate)
	otherKey = sync.OnceValue(generate)
)

func generate() *rsa.PrivateKey {
	key, err := auth.GenerateRSAKey()
	if err != nil {
		panic(err)
	}
	return key
}

func verifier() *auth.Verifier {
	return auth.NewVerifier("jwt", &rsaKey().PublicKey, auth.DefaultIssuer, auth.DefaultAudience, nil)
}

// claims are those of a good token; change makes them bad.
func claims(change jwt.MapClaims) jwt.MapClaims {
	now := time.Now()
	c := jwt.MapClaims{
		"sub": "user-1", "iss": "osa-system", "aud": "admin-interface", "jti": "token-1", "workspace_id": "ws-1",
		"scope": []string{"admin", "events:read"}, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == absent })
	return c
}

const absent = "(absent)"

func sign(t testing.TB, method jwt.SigningMethod, key any, header map[string]any, c jwt.Claims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	for k, v := range header {
		token.Header[k] = v
		if v == absent {
			delete(token.Header, k)
		}
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTokens(t *testing.T) {
	at := func(d time.Duration) any { return time.Now().Add(d).Unix() }
	rs := func(change jwt.MapClaims) string {
		return sign(t, jwt.SigningMethodRS256, rsaKey(), nil, claims(change))
	}
	with := func(h map[string]any) string { return sign(t, jwt.SigningMethodRS256, rsaKey(), h, claims(nil)) }
	publicPEM, err := auth.EncodePublicKeyPEM(&rsaKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	good := rs(nil)
	parts := strings.Split(good, ".")
	raw := func(header string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + parts[1] + "." + parts[2]
	}
	for _, tt := range []struct {
		name, token string
		want        error
	}{
		{"good", good, nil},
		{"aud as a list", rs(jwt.MapClaims{"aud": []string{"x", "admin-interface"}}), nil},
		{"scope as text", rs(jwt.MapClaims{"scope": " admin  events:read "}), nil},
		{"no iat", rs(jwt.MapClaims{"iat": absent}), nil},
		{"nbf in the past", rs(jwt.MapClaims{"nbf": at(-time.Minute)}), nil},
		{"no typ", with(map[string]any{"typ": absent}), nil},
		{"typ at+jwt", with(map[string]any{"typ": "application/AT+JWT"}), nil},
		{"kid", with(map[string]any{"kid": "k1"}), nil},
		{"expired within the leeway", rs(jwt.MapClaims{"exp": at(-20 * time.Second)}), nil},
		{"iat ahead within the leeway", rs(jwt.MapClaims{"iat": at(20 * time.Second)}), nil},

		{"signed with another key", sign(t, jwt.SigningMethodRS256, otherKey(), nil, claims(nil)), auth.BadSignature},
		{"alg none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, claims(nil)), auth.BadAlgorithm},
		{"HS256 with the public key as its secret", sign(t, jwt.SigningMethodHS256, publicPEM, nil, claims(nil)), auth.BadAlgorithm},
		{"RS512", sign(t, jwt.SigningMethodRS512, rsaKey(), nil, claims(nil)), auth.BadAlgorithm},
		{"PS256", sign(t, jwt.SigningMethodPS256, rsaKey(), nil, claims(nil)), auth.BadAlgorithm},
		{"unknown alg", raw(`{"alg":"XS256","typ":"JWT"}`), auth.BadAlgorithm},
		{"no alg", raw(`{"typ":"JWT"}`), auth.BadAlgorithm},
		{"header changed", raw(`{"alg":"RS256","typ":"JWT","x":1}`), auth.BadSignature},
		{"crit", with(map[string]any{"crit": []string{"x"}}), auth.Malformed},
		{"another kind of token", with(map[string]any{"typ": "logout+jwt"}), auth.Malformed},
		{"no signature", parts[0] + "." + parts[1] + ".", auth.BadSignature},
		{"signature cut", good[:len(good)-6], auth.BadSignature},
		{"signature of another token", parts[0] + "." + parts[1] + "." + strings.Split(rs(jwt.MapClaims{"sub": "x"}), ".")[2], auth.BadSignature},
		{"payload of another token", parts[0] + "." + strings.Split(rs(jwt.MapClaims{"sub": "x"}), ".")[1] + "." + parts[2], auth.BadSignature},
		{"padded", good + "==", auth.Malformed},
		// The last digit of 256 bytes has four bits that decode to nothing.
		{"another spelling of the signature", good[:len(good)-1] + string(good[len(good)-1]+1), auth.Malformed},
		{"empty parts", "..", auth.Malformed},
		{"not base64", "a!.b.c", auth.Malformed},
		{"not JSON", base64.RawURLEncoding.EncodeToString([]byte("x")) + "." + parts[1] + "." + parts[2], auth.Malformed},
		{"payload null", parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte("null")) + "." + parts[2], auth.BadSignature},
		{"expired", rs(jwt.MapClaims{"exp": at(-31 * time.Second)}), auth.Expired},
		{"no exp", rs(jwt.MapClaims{"exp": absent}), auth.BadClaims},
		{"exp as text", rs(jwt.MapClaims{"exp": "tomorrow"}), auth.Malformed},
		{"nbf in the future", rs(jwt.MapClaims{"nbf": at(time.Minute)}), auth.NotYetValid},
		{"iat in the future", rs(jwt.MapClaims{"iat": at(time.Minute)}), auth.NotYetValid},
		{"another issuer", rs(jwt.MapClaims{"iss": "osa"}), auth.BadIssuer},
		{"no issuer", rs(jwt.MapClaims{"iss": absent}), auth.BadClaims},
		{"another audience", rs(jwt.MapClaims{"aud": []string{"api"}}), auth.BadAudience},
		{"no audience", rs(jwt.MapClaims{"aud": absent}), auth.BadClaims},
		{"no sub", rs(jwt.MapClaims{"sub": absent}), auth.BadClaims},
		{"sub with a newline", rs(jwt.MapClaims{"sub": "a\nb"}), auth.BadClaims},
		{"no jti", rs(jwt.MapClaims{"jti": absent}), auth.BadClaims},
		{"no workspace", rs(jwt.MapClaims{"workspace_id": ""}), auth.BadClaims},
		{"no scope", rs(jwt.MapClaims{"scope": absent}), auth.BadClaims},
		{"scope null", rs(jwt.MapClaims{"scope": nil}), auth.BadClaims},
		{"scope of numbers", rs(jwt.MapClaims{"scope": []int{1}}), auth.Malformed},
		{"endless scope", rs(jwt.MapClaims{"scope": strings.Repeat("a ", 200)}), auth.BadClaims},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := verifier()
			for range 2 { // the second time out of the cache, if at all
				p, err := v.Authenticate(tt.token)
				if !errors.Is(err, tt.want) {
					t.Fatalf("got %v, want %v", err, tt.want)
				}
				if err == nil && (p.ID != "user-1" || p.Method != "jwt" || p.WorkspaceID != "ws-1" || !slices.Equal(p.Permissions, []string{"admin", "events:read"}) || !holds(v, p)) {
					t.Fatalf("principal %+v", p)
				}
			}
		})
	}
}

// TestCacheDoesNotOutliveTheToken: what was verified once is still refused once
// it ended, and its principal knows.
func TestCacheDoesNotOutliveTheToken(t *testing.T) {
	rsaKey() // made outside, so that the bubble has nothing to wait for
	synctest.Test(t, func(t *testing.T) {
		v := verifier()
		token, err := auth.MintToken(rsaKey(), auth.Claims{Subject: "u", WorkspaceID: "w"}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		ends := time.Now().Add(time.Minute + auth.Leeway)
		p, err := v.Authenticate(token)
		if err != nil || !p.ExpiresAt.Equal(ends) {
			t.Fatalf("ends %v, want %v: %v", p.ExpiresAt, ends, err)
		}
		time.Sleep(time.Until(ends) - 1)
		if _, err := v.Authenticate(token); err != nil || !holds(v, p) {
			t.Errorf("just before its end: %v, holds %v", err, holds(v, p))
		}
		time.Sleep(time.Nanosecond)
		for range 2 {
			if _, err := v.Authenticate(token); !errors.Is(err, auth.Expired) || holds(v, p) {
				t.Errorf("at its end: %v, holds %v", err, holds(v, p))
			}
		}
	})
}

type revoked map[string]bool

func (r revoked) Revoked(method, id string) bool { return r[method+" "+id] }

func TestRevocationIsHonouredAtOnce(t *testing.T) {
	list := revoked{}
	token, err := auth.MintToken(rsaKey(), auth.Claims{Subject: "u", WorkspaceID: "w", ID: "jti-1"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	key := auth.NewKey()
	for method, tt := range map[string]struct {
		looker     checker
		credential string
	}{
		"jwt jti-1": {auth.NewVerifier("jwt", &rsaKey().PublicKey, auth.DefaultIssuer, auth.DefaultAudience, list), token},
		"api_key k": {auth.NewKeyring("key", auth.DefaultPrefix, pepper, []auth.KeyRecord{{ID: "k", Hash: auth.HashKey(pepper, key), WorkspaceID: "w"}}, list), key},
	} {
		p, err := tt.looker.Authenticate(tt.credential)
		if err != nil || !holds(tt.looker, p) {
			t.Fatalf("%s: %v", method, err)
		}
		list[method] = true
		if _, err := tt.looker.Authenticate(tt.credential); !errors.Is(err, auth.Revoked) || holds(tt.looker, p) {
			t.Errorf("%s: %v, holds %v", method, err, holds(tt.looker, p))
		}
	}
}

// checker is a keyring or a verifier.
type checker interface {
	Authenticate(string) (*osa.Principal, error)
	Current(*osa.Principal) (*osa.Principal, error)
}

func holds(c checker, p *osa.Principal) bool {
	_, err := c.Current(p)
	return err == nil
}

func TestMintToken(t *testing.T) {
	token, err := auth.MintToken(rsaKey(), auth.Claims{Subject: "u", WorkspaceID: "w", Scope: []string{"admin"}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(payload, &c); err != nil {
		t.Fatal(err)
	}
	want := []string{"aud", "exp", "iat", "iss", "jti", "scope", "sub", "workspace_id"} // API guide, token_structure
	if got := slices.Sorted(maps.Keys(c)); !slices.Equal(got, want) {
		t.Errorf("claims %v, want %v", got, want)
	}
	again, _ := auth.MintToken(rsaKey(), auth.Claims{Subject: "u", WorkspaceID: "w", Scope: []string{"admin"}}, time.Hour)
	if again == token {
		t.Error("two tokens have the same jti")
	}
	for _, bad := range []auth.Claims{{WorkspaceID: "w"}, {Subject: "u"}} {
		if _, err := auth.MintToken(rsaKey(), bad, time.Hour); err == nil {
			t.Errorf("minted %+v", bad)
		}
	}
	if _, err := auth.MintToken(rsaKey(), auth.Claims{Subject: "u", WorkspaceID: "w"}, 0); err == nil {
		t.Error("minted a token that had ended")
	}
}

func TestPEM(t *testing.T) {
	private, err := auth.EncodePrivateKeyPEM(rsaKey())
	if err != nil {
		t.Fatal(err)
	}
	public, err := auth.EncodePublicKeyPEM(&rsaKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := auth.ParsePrivateKeyPEM(private); err != nil || !key.Equal(rsaKey()) {
		t.Errorf("private: %v", err)
	}
	for name, text := range map[string]string{
		"as written": string(public),
		"one line":   strings.ReplaceAll(strings.TrimSpace(string(public)), "\n", `\n`),
	} {
		if key, err := auth.ParsePublicKeyPEM([]byte(text)); err != nil || !key.Equal(&rsaKey().PublicKey) {
			t.Errorf("public, %s: %v", name, err)
		}
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // on purpose
	if err != nil {
		t.Fatal(err)
	}
	smallPublic, _ := auth.EncodePublicKeyPEM(&small.PublicKey)
	for name, tt := range map[string]struct{ text, want string }{
		"empty":       {"", "no PEM block"},
		"text":        {"hello", "no PEM block"},
		"private key": {string(private), "private key"},
		"1024 bits":   {string(smallPublic), "1024 bits"},
		"damaged":     {strings.Replace(string(public), "MIIB", "AAAA", 1), "damaged"},
		"other block": {"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "CERTIFICATE REQUEST"},
	} {
		if _, err := auth.ParsePublicKeyPEM([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzVerifier(f *testing.F) {
	v := verifier()
	good, err := auth.MintToken(rsaKey(), auth.Claims{Subject: "u", WorkspaceID: "w"}, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	parts := strings.Split(good, ".")
	for _, seed := range []string{good, "..", "a.b.c", parts[0] + "." + parts[1] + ".", parts[0] + ".bnVsbA." + parts[2], "eyJhbGciOiJub25lIn0.e30."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		p, err := v.Authenticate(token)
		if err == nil && token != good {
			t.Fatalf("accepted %q as %+v", token, p)
		}
		if _, ok := err.(auth.Reason); err != nil && (!ok || p != nil) {
			t.Fatalf("%q: %v", token, err)
		}
	})
}

func BenchmarkToken(b *testing.B) {
	v := verifier()
	tokens := make([]string, 8)
	for i := range tokens {
		tokens[i], _ = auth.MintToken(rsaKey(), auth.Claims{Subject: strconv.Itoa(i), WorkspaceID: "w"}, time.Hour)
	}
	b.Run("seen", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := v.Authenticate(tokens[i%len(tokens)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := verifier().Authenticate(tokens[0]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
