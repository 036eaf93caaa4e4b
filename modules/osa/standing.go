package osa

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// authSet is the providers of one configuration, by name.
type authSet struct{ providers map[string]AuthProvider }

// inForce are the providers of the configurations that run. During a reload there
// are two: the new one has started, and may yet fail elsewhere.
var inForce struct {
	sync.Mutex
	sets atomic.Pointer[[]*authSet] // replaced, never changed
}

func (s *authSet) join() { changeInForce(func(sets []*authSet) []*authSet { return append(sets, s) }) }

// leave ends what only this configuration accepted.
func (s *authSet) leave() {
	changeInForce(func(sets []*authSet) []*authSet {
		return slices.DeleteFunc(sets, func(other *authSet) bool { return other == s })
	})
	if !caddy.Exiting() {
		CredentialsChanged()
	}
}

func changeInForce(change func([]*authSet) []*authSet) {
	inForce.Lock()
	defer inForce.Unlock()
	var sets []*authSet
	if old := inForce.sets.Load(); old != nil {
		sets = slices.Clone(*old)
	}
	sets = change(sets)
	inForce.sets.Store(&sets)
}

// Standing is what holds of a principal now.
type Standing struct {
	// Refusal says why the credential would not be accepted any more; "" if it
	// would.
	Refusal Refusal
	// ExpiresAt is when the credential ends, as is known now; zero is never.
	ExpiresAt time.Time
}

// StandingOf tells whether the credential that p was authenticated by would still
// be accepted now, for what was begun with it: reads of p's Workspace, with all of
// the permissions required. It holds as long as one configuration in force accepts
// it: a key that was taken out of a file or of the configuration, one that has
// expired, and one that lost a permission that was required or moved to another
// workspace do not. Permissions that were not required may go and come.
//
// With no configuration in force, as while the process exits, only the expiry
// counts: nothing else is known.
func StandingOf(p *Principal, required []string) Standing {
	s := Standing{ExpiresAt: p.ExpiresAt}
	var sets []*authSet
	if loaded := inForce.sets.Load(); loaded != nil {
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
			return Standing{ExpiresAt: now.ExpiresAt}
		case errors.Is(err, RefusedExpired):
			s.Refusal = RefusedExpired
		}
	}
	return s
}

// covers reports whether the principal may still do what was begun as old.
func (p *Principal) covers(old *Principal, required []string) bool {
	for _, permission := range required {
		if !p.Has(permission) {
			return false
		}
	}
	return p.Has(PermAllWorkspaces) || !old.Has(PermAllWorkspaces) && p.WorkspaceID == old.WorkspaceID
}

// listeners hear of changes for as long as the process lives.
var listeners struct {
	sync.Mutex
	all []func()
}

// OnCredentialsChanged has f called whenever StandingOf may have another answer
// than before. f must not block. It is for init functions: there is no way back.
func OnCredentialsChanged(f func()) {
	listeners.Lock()
	defer listeners.Unlock()
	listeners.all = append(listeners.all, f)
}

// CredentialsChanged is called after a credential was taken back, or may have been.
func CredentialsChanged() {
	listeners.Lock()
	all := listeners.all
	listeners.Unlock()
	for _, f := range all {
		f()
	}
}
