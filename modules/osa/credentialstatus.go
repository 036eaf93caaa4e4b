package osa

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/osa-edge/osa-gateway/internal/credentials"
)

// authSet is the providers of one configuration, by name.
type authSet struct{ providers map[string]AuthProvider }

// active are the providers of the running configurations. There are two during a reload:
// the new configuration has started, and may still fail in another app.
var active struct {
	sync.Mutex
	sets atomic.Pointer[[]*authSet] // replaced, never changed
}

func (s *authSet) join() { changeActive(func(sets []*authSet) []*authSet { return append(sets, s) }) }

// leave removes the set. Credentials that no other set accepts are revoked.
func (s *authSet) leave() {
	changeActive(func(sets []*authSet) []*authSet {
		return slices.DeleteFunc(sets, func(other *authSet) bool { return other == s })
	})
	if !caddy.Exiting() {
		credentials.Changed()
	}
}

func changeActive(change func([]*authSet) []*authSet) {
	active.Lock()
	defer active.Unlock()
	var sets []*authSet
	if old := active.sets.Load(); old != nil {
		sets = slices.Clone(*old)
	}
	sets = change(sets)
	active.sets.Store(&sets)
}

// CredentialStatus is the current state of a credential.
type CredentialStatus struct {
	// Refusal says why the credential would be refused. It is "" if it is valid.
	Refusal Refusal
	// ExpiresAt is when the credential expires; zero is never.
	ExpiresAt time.Time
}

// StatusOf returns the current state of the credential that p was authenticated by, for an
// operation that reads p's Workspace and requires the permissions. The credential is valid
// as long as one running configuration accepts it. It is revoked if its key was removed,
// if it lost one of the permissions, or if it moved to another workspace. Changes of other
// permissions do not matter.
//
// If no configuration runs, as while the process exits, only the expiry counts.
func StatusOf(p *Principal, required []string) CredentialStatus {
	s := CredentialStatus{ExpiresAt: p.ExpiresAt}
	var sets []*authSet
	if loaded := active.sets.Load(); loaded != nil {
		sets = *loaded
	}
	if p.Provider == "" || len(sets) == 0 {
		if !p.ExpiresAt.IsZero() && !time.Now().Before(p.ExpiresAt) {
			s.Refusal = RefusedExpired
		}
		return s
	}
	s.Refusal = RefusedRevoked
	for _, set := range slices.Backward(sets) {
		provider := set.providers[p.Provider]
		if provider == nil {
			continue
		}
		now, err := provider.Current(p)
		switch {
		case err == nil && now.covers(p, required):
			return CredentialStatus{ExpiresAt: now.ExpiresAt}
		case errors.Is(err, RefusedExpired):
			s.Refusal = RefusedExpired
		}
	}
	return s
}

// covers reports whether the principal may still do what old was allowed to.
func (p *Principal) covers(old *Principal, required []string) bool {
	for _, permission := range required {
		if !p.Has(permission) {
			return false
		}
	}
	return p.Has(PermAllWorkspaces) || !old.Has(PermAllWorkspaces) && p.WorkspaceID == old.WorkspaceID
}
