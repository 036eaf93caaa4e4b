package osa

import (
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/internal/credentials"
)

// fakeProvider knows one principal, or refuses it.
type fakeProvider struct {
	AuthProvider
	now     *Principal
	refused error
}

func (f *fakeProvider) Current(*Principal) (*Principal, error) { return f.now, f.refused }

func set(p *fakeProvider) *authSet {
	return &authSet{providers: map[string]AuthProvider{"key": p}}
}

func TestStatusOf(t *testing.T) {
	if active.sets.Load() != nil && len(*active.sets.Load()) > 0 {
		t.Fatal("another test has left a configuration")
	}
	later := time.Now().Add(time.Hour)
	was := &Principal{Provider: "key", WorkspaceID: "ws", Permissions: []string{PermEventsRead, PermOPALRead}, ExpiresAt: later}
	same := &fakeProvider{now: was}
	for name, tt := range map[string]struct {
		sets     []*authSet
		required []string
		want     CredentialStatus
	}{
		"no configuration":      {nil, nil, CredentialStatus{ExpiresAt: later}},
		"accepted":              {[]*authSet{set(same)}, []string{PermEventsRead}, CredentialStatus{ExpiresAt: later}},
		"no such provider":      {[]*authSet{{}}, nil, CredentialStatus{Refusal: RefusedRevoked, ExpiresAt: later}},
		"revoked":               {[]*authSet{set(&fakeProvider{refused: RefusedRevoked})}, nil, CredentialStatus{Refusal: RefusedRevoked, ExpiresAt: later}},
		"expired":               {[]*authSet{set(&fakeProvider{refused: RefusedExpired})}, nil, CredentialStatus{Refusal: RefusedExpired, ExpiresAt: later}},
		"lost what is required": {[]*authSet{set(&fakeProvider{now: &Principal{WorkspaceID: "ws"}})}, []string{PermEventsRead}, CredentialStatus{Refusal: RefusedRevoked, ExpiresAt: later}},
		"lost something else":   {[]*authSet{set(&fakeProvider{now: &Principal{WorkspaceID: "ws", Permissions: []string{PermEventsRead}}})}, []string{PermEventsRead}, CredentialStatus{}},
		"moved":                 {[]*authSet{set(&fakeProvider{now: &Principal{WorkspaceID: "other"}})}, nil, CredentialStatus{Refusal: RefusedRevoked, ExpiresAt: later}},
		"moved, sees all":       {[]*authSet{set(&fakeProvider{now: &Principal{WorkspaceID: "other", Permissions: []string{PermAllWorkspaces}}})}, nil, CredentialStatus{}},
		"the older accepts it":  {[]*authSet{set(same), set(&fakeProvider{refused: RefusedRevoked})}, nil, CredentialStatus{ExpiresAt: later}},
		"the newer accepts it":  {[]*authSet{set(&fakeProvider{refused: RefusedRevoked}), set(same)}, nil, CredentialStatus{ExpiresAt: later}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, s := range tt.sets {
				s.join()
				defer s.leave()
			}
			if got := StatusOf(was, tt.required); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
	all := &Principal{Provider: "key", WorkspaceID: "ws", Permissions: []string{PermAllWorkspaces}}
	s := set(same)
	s.join()
	if got := StatusOf(all, nil); got.Refusal != RefusedRevoked {
		t.Errorf("lost workspace:*: %+v", got)
	}
	changes := 0
	credentials.OnChange(func() { changes++ })
	s.leave()
	if changes != 1 {
		t.Errorf("%d changes, want one when a configuration ends", changes)
	}
	past := &Principal{Provider: "key", ExpiresAt: time.Now().Add(-time.Second)}
	if got := StatusOf(past, nil); got.Refusal != RefusedExpired {
		t.Errorf("expired without a configuration: %+v", got)
	}
}
