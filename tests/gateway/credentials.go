package gateway

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Workspace is the one that everything belongs to which says no other.
const Workspace = "default-workspace"

// What Caddyfile.example asks of a token.
const (
	issuer   = "osa-system"
	audience = "admin-interface"
)

// Credentials are what a gateway is given, and its clients. They are random in
// every run.
type Credentials struct {
	// Secret signs webhooks.
	Secret string
	// Key may do everything but administer; NoKey may do nothing; OtherKey is as
	// Key in another workspace; AllKey sees every workspace.
	Key, NoKey, OtherKey, AllKey string

	pepper    string
	private   *rsa.PrivateKey
	publicPEM string
	keysFile  []byte
}

// NewCredentials makes credentials.
func NewCredentials(t testing.TB) *Credentials {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	c := &Credentials{
		Secret: randomText(), pepper: randomText(),
		Key: newKey(), NoKey: newKey(), OtherKey: newKey(), AllKey: newKey(),
		private:   private,
		publicPEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}
	c.keysFile = c.makeKeysFile(t)
	return c
}

func randomText() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

func newKey() string { return "opal_prod_" + randomText() }

// secrets are what must not be seen anywhere.
func (c *Credentials) secrets() []string {
	return []string{c.Secret, c.pepper, c.Key, c.NoKey, c.OtherKey, c.AllKey}
}

// Sign is the value of X-OSA-Signature, written down independently of the
// gateway's own code.
func (c *Credentials) Sign(body []byte, at time.Time) string {
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), MAC(c.Secret, fmt.Sprint(at.Unix()), body))
}

// MAC is HMAC-SHA256 over "<t>.<body>" in hexadecimal.
func MAC(secret, t string, body []byte) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(t + "."))
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}

// Claims of a token that holds; set other members or delete some.
func Claims(scope string) map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": issuer, "aud": audience, "sub": "tester", "jti": randomText(), "scope": scope,
		"workspace_id": Workspace, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

// Token signs claims with RS256.
func (c *Credentials) Token(claims map[string]any) string {
	return c.sign(map[string]any{"alg": "RS256", "typ": "JWT"}, claims, c.private)
}

// ForeignToken is a Token that another key has signed.
func (c *Credentials) ForeignToken(t testing.TB, claims map[string]any) string {
	t.Helper()
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return c.sign(map[string]any{"alg": "RS256", "typ": "JWT"}, claims, other)
}

// UnsignedToken says that it needs no signature.
func (c *Credentials) UnsignedToken(claims map[string]any) string {
	return segments(map[string]any{"alg": "none", "typ": "JWT"}, claims) + "."
}

// ConfusedToken is signed with HS256 and the public key as the secret.
func (c *Credentials) ConfusedToken(claims map[string]any) string {
	input := segments(map[string]any{"alg": "HS256", "typ": "JWT"}, claims)
	m := hmac.New(sha256.New, []byte(c.publicPEM))
	m.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func (c *Credentials) sign(header, claims map[string]any, key *rsa.PrivateKey) string {
	return c.signText(segments(header, claims), key)
}

func (c *Credentials) signText(input string, key *rsa.PrivateKey) string {
	sum := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err) // a key that was just made signs
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func segments(parts ...map[string]any) string {
	var out []string
	for _, p := range parts {
		b, err := json.Marshal(p)
		if err != nil {
			panic(err) // test data always encodes
		}
		out = append(out, base64.RawURLEncoding.EncodeToString(b))
	}
	return strings.Join(out, ".")
}

// makeKeysFile has the hashes of the keys, as `osa init` writes them.
func (c *Credentials) makeKeysFile(t testing.TB) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": c.Records()})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Records are the records of the keys, as they are in the key file.
func (c *Credentials) Records() []map[string]any {
	all := []string{"events:read", "events:replay", "opal:read", "opal:trigger", "services:read", "services:write"}
	return []map[string]any{
		c.Record("key_all", c.Key, Workspace, all...),
		c.Record("key_none", c.NoKey, Workspace),
		c.Record("key_other", c.OtherKey, "other-workspace", all...),
		c.Record("key_wide", c.AllKey, "other-workspace", append([]string{"workspace:*"}, all...)...),
	}
}

// Record is the record of a key that never ends.
func (c *Credentials) Record(id, key, workspace string, permissions ...string) map[string]any {
	m := hmac.New(sha256.New, []byte(c.pepper))
	m.Write([]byte(key))
	return map[string]any{
		"id": id, "hash": hex.EncodeToString(m.Sum(nil)), "workspace_id": workspace,
		"permissions": append([]string{}, permissions...), "expires_at": nil,
	}
}

// PublicPEM is the key that verifies tokens.
func (c *Credentials) PublicPEM() string { return c.publicPEM }

// SignedToken is a Token of claims as they are written.
func (c *Credentials) SignedToken(header, claims string) string {
	return c.signText(base64.RawURLEncoding.EncodeToString([]byte(header))+"."+base64.RawURLEncoding.EncodeToString([]byte(claims)), c.private)
}

// NewKey is a key that no gateway knows.
func NewKey() string { return newKey() }

// RandomText is a secret that nobody else has.
func RandomText() string { return randomText() }
