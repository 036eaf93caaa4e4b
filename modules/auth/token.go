package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
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

// Verifier checks RS256 tokens of one issuer for one audience. It is safe for
// concurrent use.
type Verifier struct {
	provider         string
	key              *rsa.PublicKey
	issuer, audience string
	parser           *jwt.Parser
	revocations      Revocations
	// seen holds the tokens that were verified, by their hash: checking an RSA
	// signature costs more than all else that a request does here.
	seen   *lru.Cache[[sha256.Size]byte, *tokenEntry]
	hasher *hasher
}

// tokenEntry is a token that was verified, and what it is recognised by later on.
type tokenEntry struct {
	validity
	verifier  *verifiedBy
	principal osa.Principal
}

// verifiedBy is what a token was verified by. It does not hold on to the verifier,
// which has all the other tokens.
type verifiedBy struct {
	key              *rsa.PublicKey
	issuer, audience string
}

// NewVerifier returns a verifier of the tokens of one issuer for one audience.
// provider is the name that its principals carry. revocations may be nil.
func NewVerifier(provider string, key *rsa.PublicKey, issuer, audience string, revocations Revocations) *Verifier {
	seen, err := lru.New[[sha256.Size]byte, *tokenEntry](maxCached)
	if err != nil {
		panic(err) // only of a size that is not positive
	}
	return &Verifier{
		provider: provider, key: key, issuer: issuer, audience: audience,
		revocations: revocations, seen: seen, hasher: newHasher(rand.Text()),
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}), jwt.WithStrictDecoding(),
			jwt.WithIssuer(issuer), jwt.WithAudience(audience),
			jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(Leeway),
		),
	}
}

// accepts reports whether these are what the verifier goes by.
func (v *Verifier) accepts(key *rsa.PublicKey, issuer, audience string) bool {
	return v.key.Equal(key) && v.issuer == issuer && v.audience == audience
}

// Claims goes by the shape: three parts with dots between them.
func (*Verifier) Claims(credential string) bool { return isTokenShaped(credential) }

func isTokenShaped(credential string) bool { return strings.Count(credential, ".") == 2 }

// Chooses goes by the issuer and the audience that the token names, before its
// signature is looked at.
func (v *Verifier) Chooses(token string) bool {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	var c tokenClaims
	return decodeSegment(payload, &c) == nil && c.Issuer == v.issuer && slices.Contains(c.Audience, v.audience)
}

// Current tells whether the token that the principal came with would be verified
// now: by the same key, for the same issuer and audience. What a token says does
// not change.
func (v *Verifier) Current(p *osa.Principal) (*osa.Principal, error) {
	e, ok := p.Credential.(*tokenEntry)
	if !ok {
		return nil, BadSignature
	}
	switch by := e.verifier; {
	case !v.key.Equal(by.key):
		return nil, BadSignature
	case v.issuer != by.issuer:
		return nil, BadIssuer
	case v.audience != by.audience:
		return nil, BadAudience
	}
	now := validity{method: e.method, id: e.id, ends: e.ends, revocations: v.revocations}
	if err := now.check(); err != nil {
		return nil, err
	}
	return p, nil
}

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
	// The parser decodes the header so that of two members the last one wins.
	header, _, _ := strings.Cut(token, ".")
	if err := decodeSegment(header, new(map[string]any)); err != nil {
		return nil, Malformed
	}
	var c tokenClaims
	if _, err := v.parser.ParseWithClaims(token, &c, v.keyFor); err != nil {
		return nil, reasonOf(err)
	}
	e := &tokenEntry{
		validity: validity{method: MethodJWT, id: c.ID, ends: c.ExpiresAt.Add(Leeway), revocations: v.revocations},
		verifier: &verifiedBy{v.key, v.issuer, v.audience},
	}
	e.principal = osa.Principal{
		ID: c.Subject, Method: MethodJWT, WorkspaceID: c.WorkspaceID,
		Permissions: *c.Scope, ExpiresAt: e.ends,
		Provider: v.provider, CredentialID: c.ID, Credential: e,
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
