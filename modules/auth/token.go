package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/osa-edge/osa-gateway/modules/osa"
)

// MethodJWT is the method of principals that came with a token.
const MethodJWT = "jwt"

// Who tokens are from and for, where nothing else is configured.
const (
	DefaultIssuer   = "osa-system"
	DefaultAudience = "admin-interface"
)

// Leeway is how far the issuer's clock may be from ours: a token is accepted
// until 30 s after its exp, from 30 s before its nbf and iat.
const Leeway = 30 * time.Second

// maxCached bounds the tokens whose signature is not checked again.
const maxCached = 4096

// maxScope bounds the permissions of a token.
const maxScope = 128

// Claims are what a token says of its bearer.
type Claims struct {
	// Subject is the user's id.
	Subject string
	// WorkspaceID is the workspace that the user acts in.
	WorkspaceID string
	// Scope are the permissions.
	Scope []string
	// ID is the jti, for revocation; MintToken makes one if it is empty.
	ID string
	// Issuer and Audience default to DefaultIssuer and DefaultAudience.
	Issuer, Audience string
}

// MintToken signs a token that holds for ttl, from now.
func MintToken(key *rsa.PrivateKey, c Claims, ttl time.Duration) (string, error) {
	if ttl < time.Second {
		return "", errors.New("a token must hold for a second at least")
	}
	now := time.Now()
	tc := tokenClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: c.Subject, ID: c.ID, Issuer: c.Issuer, Audience: jwt.ClaimStrings{c.Audience},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
		},
		Scope: (*scope)(&c.Scope), WorkspaceID: c.WorkspaceID,
	}
	if c.Scope == nil {
		tc.Scope = &scope{}
	}
	if tc.ID == "" {
		tc.ID = rand.Text()
	}
	if tc.Issuer == "" {
		tc.Issuer = DefaultIssuer
	}
	if c.Audience == "" {
		tc.Audience = jwt.ClaimStrings{DefaultAudience}
	}
	if err := tc.Validate(); err != nil {
		return "", err
	}
	return jwt.NewWithClaims(jwt.SigningMethodRS256, tc).SignedString(key)
}

// tokenClaims are the claims as they stand in a token (API guide, JWT Bearer
// Token Authentication).
type tokenClaims struct {
	jwt.RegisteredClaims
	Scope       *scope `json:"scope"`
	WorkspaceID string `json:"workspace_id"`
}

// Validate is called by the parser, after the registered claims.
func (c tokenClaims) Validate() error {
	switch {
	case !validID(c.Subject):
		return errors.New("token: sub is missing or malformed")
	case !validID(c.ID):
		return errors.New("token: jti is missing or malformed")
	case !osa.ValidWorkspace(c.WorkspaceID):
		return errors.New("token: workspace_id is missing or malformed")
	case c.Scope == nil || len(*c.Scope) > maxScope:
		return errors.New("token: scope is missing or too long")
	}
	return nil
}

// scope is an array of permissions, or one string with spaces between them (RFC
// 8693 §4.2).
type scope []string

func (s *scope) UnmarshalJSON(b []byte) error {
	var one string
	if err := json.Unmarshal(b, &one); err == nil {
		*s = strings.Fields(one)
		return nil
	}
	return json.Unmarshal(b, (*[]string)(s))
}

// Verifier checks RS256 tokens. It is safe for concurrent use.
type Verifier struct {
	key         *rsa.PublicKey
	parser      *jwt.Parser
	revocations Revocations
	// seen holds the tokens that were verified, by their hash: checking an RSA
	// signature costs more than all else that a request does here.
	seen   *lru.Cache[[sha256.Size]byte, *tokenEntry]
	hasher *hasher
}

type tokenEntry struct {
	validity
	principal osa.Principal
}

// NewVerifier returns a verifier of the tokens of one issuer for one audience.
// revocations may be nil.
func NewVerifier(key *rsa.PublicKey, issuer, audience string, revocations Revocations) *Verifier {
	seen, err := lru.New[[sha256.Size]byte, *tokenEntry](maxCached)
	if err != nil {
		panic(err) // only of a size that is not positive
	}
	return &Verifier{
		key: key, revocations: revocations, seen: seen, hasher: newHasher(rand.Text()),
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}), jwt.WithStrictDecoding(),
			jwt.WithIssuer(issuer), jwt.WithAudience(audience),
			jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(Leeway),
		),
	}
}

// Claims goes by the shape: three parts with dots between them.
func (*Verifier) Claims(credential string) bool { return strings.Count(credential, ".") == 2 }

// Authenticate verifies the token. One that was verified before is only checked
// for what can have changed since: its expiry and its revocation.
func (v *Verifier) Authenticate(token string) (*osa.Principal, error) {
	sum := v.hasher.sum(token)
	e, ok := v.seen.Get(sum)
	if !ok {
		var err error
		if e, err = v.verify(token); err != nil {
			return nil, err
		}
	}
	if err := e.check(); err != nil {
		if err == Expired { //nolint:errorlint // a Reason is never wrapped here
			v.seen.Remove(sum)
		}
		return nil, err
	}
	if !ok {
		v.seen.Add(sum, e)
	}
	return &e.principal, nil
}

func (v *Verifier) verify(token string) (*tokenEntry, error) {
	var c tokenClaims
	if _, err := v.parser.ParseWithClaims(token, &c, v.keyFor); err != nil {
		return nil, reasonOf(err)
	}
	e := &tokenEntry{validity: validity{method: MethodJWT, id: c.ID, ends: c.ExpiresAt.Add(Leeway), revocations: v.revocations}}
	e.principal = osa.Principal{
		ID: c.Subject, Method: MethodJWT, WorkspaceID: c.WorkspaceID,
		Permissions: *c.Scope, ExpiresAt: e.ends, Valid: e.valid,
	}
	return e, nil
}

var errHeader = errors.New("unusable header")

func (v *Verifier) keyFor(t *jwt.Token) (any, error) {
	// RFC 7515 §4.1.11: who does not understand what is critical must refuse.
	if _, ok := t.Header["crit"]; ok {
		return nil, fmt.Errorf("%w: crit", errHeader)
	}
	// RFC 8725 §3.11: another kind of token by the same issuer is not this one.
	if typ, ok := t.Header["typ"]; ok {
		s, _ := typ.(string)
		if s = strings.TrimPrefix(strings.ToLower(s), "application/"); s != "jwt" && s != "at+jwt" {
			return nil, fmt.Errorf("%w: typ", errHeader)
		}
	}
	return v.key, nil
}

// reasonOf goes from what is found first to what is found last.
func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed), errors.Is(err, errHeader):
		return Malformed
	case errors.Is(err, jwt.ErrTokenUnverifiable):
		return BadAlgorithm // the parser knows no such algorithm
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		if errors.Is(err, rsa.ErrVerification) {
			return BadSignature
		}
		return BadAlgorithm
	case errors.Is(err, jwt.ErrTokenExpired):
		return Expired
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return NotYetValid
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return BadIssuer
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return BadAudience
	}
	return BadClaims
}
