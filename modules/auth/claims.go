package auth

import (
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/osa-edge/osa-gateway/internal/strictjson"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// tokenClaims are the claims as they stand in a token (API guide, JWT Bearer
// Token Authentication).
type tokenClaims struct {
	jwt.RegisteredClaims
	Scope       *scope `json:"scope"`
	WorkspaceID string `json:"workspace_id"`
}

// UnmarshalJSON decodes the claims by their exact names. A member that is given
// twice is refused: the issuer may have meant the other one.
func (c *tokenClaims) UnmarshalJSON(b []byte) error {
	var in struct {
		Issuer      string       `json:"iss"`
		Subject     string       `json:"sub"`
		Audience    audience     `json:"aud"`
		ExpiresAt   *numericDate `json:"exp"`
		NotBefore   *numericDate `json:"nbf"`
		IssuedAt    *numericDate `json:"iat"`
		ID          string       `json:"jti"`
		Scope       *scope       `json:"scope"`
		WorkspaceID string       `json:"workspace_id"`
	}
	if err := strictjson.Unmarshal(b, &in); err != nil {
		return err
	}
	*c = tokenClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: in.Issuer, Subject: in.Subject, Audience: jwt.ClaimStrings(in.Audience), ID: in.ID,
			ExpiresAt: in.ExpiresAt.date(), NotBefore: in.NotBefore.date(), IssuedAt: in.IssuedAt.date(),
		},
		Scope: in.Scope, WorkspaceID: in.WorkspaceID,
	}
	return nil
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

// numericDate is a time in seconds since 1970, perhaps with a fraction (RFC 7519
// §2).
type numericDate float64

// latest is the last second of the year 9999.
const latest = 253402300799

func (n *numericDate) UnmarshalJSON(b []byte) error {
	if err := strictjson.Unmarshal(b, (*float64)(n)); err != nil {
		return err
	}
	if *n < 0 || *n > latest {
		return errors.New("a time is out of range")
	}
	return nil
}

func (n *numericDate) date() *jwt.NumericDate {
	if n == nil {
		return nil
	}
	seconds, fraction := math.Modf(float64(*n))
	return jwt.NewNumericDate(time.Unix(int64(seconds), int64(fraction*1e9)))
}

// audience is an array of names, or one of them (RFC 7519 §4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	return oneOrMany(b, (*[]string)(a), func(one string) []string { return []string{one} })
}

// scope is an array of permissions, or one string with spaces between them (RFC
// 8693 §4.2).
type scope []string

func (s *scope) UnmarshalJSON(b []byte) error { return oneOrMany(b, (*[]string)(s), strings.Fields) }

// oneOrMany decodes an array of strings, or one string that split makes an array of.
func oneOrMany(b []byte, into *[]string, split func(string) []string) error {
	var one string
	if err := strictjson.Unmarshal(b, &one); err == nil {
		*into = split(one)
		return nil
	}
	return strictjson.Unmarshal(b, into)
}

// decodeSegment decodes a part of a token.
func decodeSegment(segment string, v any) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return err
	}
	return strictjson.Unmarshal(b, v)
}
