package osa

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPrincipalHas(t *testing.T) {
	for _, tt := range []struct {
		held, asked string
		want        bool
	}{
		{"events:read", "events:read", true},
		{"events:*", "events:read", true},
		{"*", "events:read", true},
		{"events:*", "events:", true},
		{"events:read", "events:replay", false},
		{"events:rea", "events:read", false},
		{"event:*", "events:read", false},
		{"events:*:x", "events:read", false},
		{"EVENTS:READ", "events:read", false},
		{"", "events:read", false},
		{"services:*", "services:write", true},
	} {
		p := &Principal{Permissions: []string{"other", tt.held}}
		if got := p.Has(tt.asked); got != tt.want {
			t.Errorf("%q holds %q: %v", tt.held, tt.asked, got)
		}
	}
}

// TestPrincipalHasIsMonotonic: a further permission takes none away, and only * covers
// others.
func TestPrincipalHasIsMonotonic(t *testing.T) {
	word := rapid.StringMatching(`[a-c]{0,2}:?[a-c]{0,2}\*?`)
	rapid.Check(t, func(t *rapid.T) {
		held := rapid.SliceOfN(word, 0, 4).Draw(t, "held")
		asked := rapid.StringMatching(`[a-c]{0,2}:[a-c]{0,2}`).Draw(t, "asked")
		p := &Principal{Permissions: held}
		more := &Principal{Permissions: append(slices.Clone(held), word.Draw(t, "more"))}
		if p.Has(asked) && !more.Has(asked) {
			t.Fatalf("%q takes %q away", more.Permissions, asked)
		}
		if p.Has(asked) && !slices.Contains(held, asked) && !strings.Contains(strings.Join(held, " "), "*") {
			t.Fatalf("%q holds %q", held, asked)
		}
	})
}

func TestPrincipalWorkspace(t *testing.T) {
	for _, tt := range []struct {
		permissions []string
		want        string
	}{
		{nil, "ws"}, {[]string{PermEventsRead}, "ws"}, {[]string{PermAllWorkspaces}, ""}, {[]string{"*"}, ""}, {[]string{"workspace:other"}, "ws"},
	} {
		if got := (&Principal{WorkspaceID: "ws", Permissions: tt.permissions}).Workspace(); got != tt.want {
			t.Errorf("%q: %q", tt.permissions, got)
		}
	}
}
