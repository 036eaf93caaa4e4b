package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/osa-edge/osa-gateway/modules/osa"
)

// MethodKey is the method of principals that came with an API key.
const MethodKey = "api_key"

// DefaultPrefix is what API keys begin with.
const DefaultPrefix = "opal_prod_"

// NewKey makes an API key: DefaultPrefix and 32 random bytes. It is shown once
// and kept nowhere; what is kept is HashKey of it.
func NewKey() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return DefaultPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// HashKey is what is kept of a key: its HMAC-SHA256 under the pepper, in
// hexadecimal. Without the pepper a stolen key file is of no use, and since keys
// are random nothing slower is needed.
func HashKey(pepper, key string) string {
	sum := newHasher(pepper).sum(key)
	return hex.EncodeToString(sum[:])
}

// KeyRecord is what is known of an API key.
type KeyRecord struct {
	// ID names the key in logs, limits and the audit log.
	ID string `json:"id"`
	// Name says what it is for.
	Name string `json:"name,omitempty"`
	// Hash is HashKey of the key.
	Hash string `json:"hash"`
	// WorkspaceID is the workspace that it belongs to.
	WorkspaceID string   `json:"workspace_id"`
	Permissions []string `json:"permissions"`
	// ExpiresAt is when it ends; null is never.
	ExpiresAt *time.Time `json:"expires_at"`
}

// CheckKeyRecords returns everything that is wrong with the records. No error
// contains a hash.
func CheckKeyRecords(records []KeyRecord) error {
	var errs []error
	ids, hashes := make(map[string]bool), make(map[string]string)
	for _, r := range records {
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("key %q: %s", r.ID, fmt.Sprintf(format, args...)))
		}
		if !validID(r.ID) {
			bad("the id must have 1 to 256 characters, none of them a control character")
		}
		if ids[r.ID] {
			bad("the id is used twice")
		}
		ids[r.ID] = true
		if h, err := hex.DecodeString(r.Hash); err != nil || len(h) != sha256.Size {
			bad("the hash must be 64 hexadecimal digits, as `osa-gateway osa keys` prints it")
		} else if other, ok := hashes[string(h)]; ok {
			bad("it is the same key as %q", other)
		} else {
			hashes[string(h)] = r.ID
		}
		if !osa.ValidWorkspace(r.WorkspaceID) {
			bad("the workspace must have 1 to 128 characters, none of them a control character")
		}
		for _, p := range r.Permissions {
			if !knownPermission(p) {
				bad("unknown permission %q; there are %s", p, strings.Join(osa.Permissions, ", "))
			}
		}
	}
	return errors.Join(errs...)
}

func validID(id string) bool {
	return id != "" && len(id) <= 256 && !strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// knownPermission accepts what a trailing * covers, if it covers anything.
func knownPermission(p string) bool {
	if prefix, ok := strings.CutSuffix(p, "*"); ok {
		return slices.ContainsFunc(osa.Permissions, func(known string) bool { return strings.HasPrefix(known, prefix) })
	}
	return slices.Contains(osa.Permissions, p)
}

// Keyring knows API keys by their hashes. It does not change, and is safe for
// concurrent use.
type Keyring struct {
	prefix string
	hasher *hasher
	keys   map[[sha256.Size]byte]*keyEntry
}

type keyEntry struct {
	validity
	principal osa.Principal
}

// keyCredential is what a key is recognised by later on. Printed, it shows nothing.
type keyCredential struct {
	prefix string
	sum    [sha256.Size]byte // under the pepper
}

// String keeps the hash from being printed.
func (*keyCredential) String() string { return "(API key)" }

// GoString keeps the hash from being printed.
func (*keyCredential) GoString() string { return "(API key)" }

// NewKeyring returns a keyring of records that CheckKeyRecords found in order.
// provider is the name that its principals carry. revocations may be nil.
func NewKeyring(provider, prefix, pepper string, records []KeyRecord, revocations Revocations) *Keyring {
	k := &Keyring{prefix: prefix, hasher: newHasher(pepper), keys: make(map[[sha256.Size]byte]*keyEntry, len(records))}
	for _, r := range records {
		sum, ok := r.sum()
		if !ok {
			continue
		}
		e := &keyEntry{validity: validity{method: MethodKey, id: r.ID, revocations: revocations}}
		if r.ExpiresAt != nil {
			e.ends = *r.ExpiresAt
		}
		e.principal = osa.Principal{
			ID: r.ID, Method: MethodKey, WorkspaceID: r.WorkspaceID,
			Permissions: slices.Clone(r.Permissions), ExpiresAt: e.ends,
			Provider: provider, CredentialID: r.ID, Credential: &keyCredential{prefix, sum},
		}
		k.keys[sum] = e
	}
	return k
}

// sum is the record's hash, decoded.
func (r *KeyRecord) sum() (sum [sha256.Size]byte, ok bool) {
	if len(r.Hash) != hex.EncodedLen(len(sum)) {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(r.Hash))
	return sum, err == nil
}

// Claims goes by the prefix.
func (k *Keyring) Claims(credential string) bool { return strings.HasPrefix(credential, k.prefix) }

// Authenticate looks the key up by its hash. How long that takes depends on the
// hash, which nobody can choose without the pepper, and not on the key.
func (k *Keyring) Authenticate(key string) (*osa.Principal, error) {
	e, ok := k.keys[k.hasher.sum(key)]
	if !ok {
		return nil, UnknownKey
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return &e.principal, nil
}

// Current looks up the key that the principal came with. A key is the same one if
// its hash is: another id, name or expiry changes what it may, not what it is.
func (k *Keyring) Current(p *osa.Principal) (*osa.Principal, error) {
	c, ok := p.Credential.(*keyCredential)
	if !ok || !strings.HasPrefix(c.prefix, k.prefix) {
		return nil, UnknownKey
	}
	e, ok := k.keys[c.sum]
	if !ok {
		return nil, UnknownKey
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return &e.principal, nil
}

// difference names the keys that are in one keyring only, or are another record in
// each, by their ids.
func (k *Keyring) difference(old *Keyring) (added, removed, changed []string) {
	for sum, e := range k.keys {
		switch before, ok := old.keys[sum]; {
		case !ok:
			added = append(added, e.id)
		case !e.equal(before):
			changed = append(changed, e.id)
		}
	}
	for sum, e := range old.keys {
		if _, ok := k.keys[sum]; !ok {
			removed = append(removed, e.id)
		}
	}
	slices.Sort(added)
	slices.Sort(removed)
	slices.Sort(changed)
	return added, removed, changed
}

func (e *keyEntry) equal(o *keyEntry) bool {
	return e.id == o.id && e.ends.Equal(o.ends) && e.principal.WorkspaceID == o.principal.WorkspaceID &&
		slices.Equal(e.principal.Permissions, o.principal.Permissions)
}

// hasher is HMAC-SHA256 under one key, with states that are used again.
type hasher struct{ states sync.Pool }

type hashState struct {
	mac hash.Hash
	buf [128]byte
}

func newHasher(pepper string) *hasher {
	h := new(hasher)
	h.states.New = func() any { return &hashState{mac: hmac.New(sha256.New, []byte(pepper))} }
	return h
}

func (h *hasher) sum(s string) (sum [sha256.Size]byte) {
	st := h.states.Get().(*hashState)
	st.mac.Reset()
	for len(s) > 0 {
		n := copy(st.buf[:], s)
		st.mac.Write(st.buf[:n])
		s = s[n:]
	}
	copy(sum[:], st.mac.Sum(st.buf[:0]))
	clear(st.buf[:])
	h.states.Put(st)
	return sum
}
