package signature

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of the scheme `osa`.
const (
	HeaderSignature = "X-OSA-Signature"
	HeaderTimestamp = "X-OSA-Timestamp"

	// The canonical forms. Looking these up in http.Header directly saves making them
	// for each request.
	keySignature = "X-Osa-Signature"
	keyTimestamp = "X-Osa-Timestamp"
)

// DefaultTolerance is the default difference between a timestamp and now, in
// either direction.
const DefaultTolerance = 300 * time.Second

// Limits of a signature header. A sender that rotates its secret sends two
// signatures.
const (
	maxSignatures      = 16
	maxItems           = 64
	maxTimestampDigits = 18 // as many as always fit into an int64
)

// OSA is the gateway's own scheme (docs/api.md §2.3):
//
//	X-OSA-Signature: t=<unix seconds>,v1=<hex>
//
// v1 is the HMAC-SHA256 of `<t>.<raw body>`. Several v1 are allowed, so that a
// sender can sign with an old and a new secret; other versions are ignored.
// Hexadecimal digits may be upper or lower case, as Buffer.from(…, "hex") of
// the API guide's own receiver accepts both.
type OSA struct {
	tolerance int64 // In seconds.
}

// NewOSA returns the scheme with a tolerance in whole seconds; 0 means
// DefaultTolerance.
func NewOSA(tolerance time.Duration) *OSA {
	if tolerance == 0 {
		tolerance = DefaultTolerance
	}
	return &OSA{tolerance: int64(tolerance / time.Second)}
}

// Name returns "osa".
func (*OSA) Name() string { return "osa" }

// Verify checks the signature of the raw body. It compares every signature with
// every secret, so that its timing does not reveal which one matched.
func (s *OSA) Verify(h http.Header, body []byte, secrets []*Secret, now time.Time) (*Secret, error) {
	var p parsed
	if err := s.check(&p, h, now); err != nil {
		return nil, err
	}
	var (
		active  bool
		matched = -1
		sum     [sha256.Size]byte
	)
	for i, secret := range secrets {
		if !secret.Active(now) {
			continue
		}
		active = true
		secret.hmacSHA256(&sum, body, p.t, ".")
		for j := range p.n {
			equal := subtle.ConstantTimeCompare(sum[:], p.v1[j][:])
			matched = subtle.ConstantTimeSelect(equal, i, matched)
		}
	}
	switch {
	case !active:
		return nil, NoActiveSecret
	case matched < 0:
		return nil, NoMatchingSignature
	}
	return secrets[matched], nil
}

// CheckHeader implements HeaderChecker.
func (s *OSA) CheckHeader(h http.Header, now time.Time) error {
	var p parsed
	return s.check(&p, h, now)
}

// check parses the headers into p.
func (s *OSA) check(p *parsed, h http.Header, now time.Time) error {
	values := h[keySignature]
	switch {
	case len(values) == 0:
		return Missing
	case len(values) > 1:
		return MultipleHeaders
	}
	if err := p.parse(values[0]); err != nil {
		return err
	}
	if d := now.Unix() - p.unix; d > s.tolerance || d < -s.tolerance {
		return TimestampOutOfRange
	}
	if sent, ok := h[keyTimestamp]; ok && (len(sent) != 1 || sent[0] != p.t) {
		return TimestampMismatch
	}
	return nil
}

// Sign sets X-OSA-Signature and X-OSA-Timestamp.
func (*OSA) Sign(h http.Header, body []byte, secret *Secret, now time.Time) {
	t := strconv.FormatInt(now.Unix(), 10)
	var sum [sha256.Size]byte
	secret.hmacSHA256(&sum, body, t, ".")
	h.Set(HeaderSignature, header(t, sum))
	h.Set(HeaderTimestamp, t)
}

// Sign returns the value of X-OSA-Signature for a body that is sent at that
// time.
func Sign(secret string, body []byte, now time.Time) string {
	t := strconv.FormatInt(now.Unix(), 10)
	var sum [sha256.Size]byte
	NewSecret("", []byte(secret), time.Time{}, time.Time{}).hmacSHA256(&sum, body, t, ".")
	return header(t, sum)
}

func header(t string, sum [sha256.Size]byte) string {
	return "t=" + t + ",v1=" + hex.EncodeToString(sum[:])
}

// parsed is a parsed X-OSA-Signature.
type parsed struct {
	t    string // As it was signed.
	unix int64
	n    int // The number of signatures in v1.
	v1   [maxSignatures][sha256.Size]byte
}

// parse parses `t=<unix seconds>` followed by one or more
// `,v<version>=<value>`. Any other syntax is refused, so that all readers
// understand a header in the same way.
func (p *parsed) parse(s string) error {
	if s == "" {
		return Missing
	}
	item, rest, more := strings.Cut(s, ",")
	t, ok := strings.CutPrefix(item, "t=")
	if !ok || !p.timestamp(t) {
		return Malformed
	}
	for items := 0; more; items++ {
		if items == maxItems {
			return TooManySignatures
		}
		item, rest, more = strings.Cut(rest, ",")
		key, value, ok := strings.Cut(item, "=")
		if !ok || !isVersion(key) || !isVisible(value) {
			return Malformed
		}
		if key != "v1" {
			continue
		}
		if p.n == maxSignatures {
			return TooManySignatures
		}
		if !decodeSum(&p.v1[p.n], value) {
			return Malformed
		}
		p.n++
	}
	if p.n == 0 {
		return UnsupportedVersion
	}
	return nil
}

// timestamp parses a positive decimal without a sign or leading zeros.
func (p *parsed) timestamp(s string) bool {
	if s == "" || len(s) > maxTimestampDigits || s[0] == '0' {
		return false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int64(s[i]-'0')
	}
	p.t, p.unix = s, n
	return true
}

// isVersion reports whether the key is v<number> without leading zeros.
func isVersion(key string) bool {
	digits, ok := strings.CutPrefix(key, "v")
	if !ok || digits == "" || (digits[0] == '0' && digits != "0") {
		return false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return true
}

func isVisible(value string) bool {
	for i := range len(value) {
		if value[i] <= ' ' || value[i] > '~' {
			return false
		}
	}
	return value != ""
}

func decodeSum(dst *[sha256.Size]byte, s string) bool {
	if len(s) != 2*sha256.Size {
		return false
	}
	for i := range dst {
		hi, lo := nibble(s[2*i]), nibble(s[2*i+1])
		if hi > 15 || lo > 15 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

// Interface guards
var (
	_ Scheme        = (*OSA)(nil)
	_ HeaderChecker = (*OSA)(nil)
)
