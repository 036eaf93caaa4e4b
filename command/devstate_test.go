package command

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/modules/auth"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func mustLoad(t *testing.T, dir string) *devState {
	t.Helper()
	s, err := loadDevState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.writeDevEnv("http://localhost:1"); err != nil {
		t.Fatal(err)
	}
	return s
}

func contents(t *testing.T, s *devState, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDevStateStays(t *testing.T) {
	dir := t.TempDir()
	first := mustLoad(t, dir)
	files := []string{devMarker, keysFile, privateKeyFile, publicKeyFile, "dev.env"}
	before := map[string][]byte{}
	for _, f := range files {
		before[f] = contents(t, first, f)
	}
	second := mustLoad(t, dir)
	for _, f := range files {
		if !bytes.Equal(before[f], contents(t, second, f)) {
			t.Errorf("%s changed", f)
		}
	}
}

// What no longer fits is made anew, and only that.
func TestDevStateHeals(t *testing.T) {
	tests := map[string]struct {
		damage func(*devState) error
		check  func(t *testing.T, before, after *devState)
	}{
		"a lost key file": {
			func(s *devState) error { return os.Remove(s.path(keysFile)) },
			func(*testing.T, *devState, *devState) {},
		},
		"a new pepper": {
			func(s *devState) error {
				b, err := os.ReadFile(s.path(devMarker))
				if err != nil {
					return err
				}
				return os.WriteFile(s.path(devMarker), bytes.Replace(b, []byte(s.secrets["OSA_KEY_PEPPER"]), []byte(newSecret()), 1), 0o600)
			},
			func(t *testing.T, before, after *devState) {
				if before.secrets["OSA_API_KEY"] != after.secrets["OSA_API_KEY"] {
					t.Error("the key changed, not only its hash")
				}
			},
		},
		"another public key": {
			func(s *devState) error { return os.WriteFile(s.path(publicKeyFile), []byte("nonsense"), 0o600) },
			func(t *testing.T, before, after *devState) {
				if before.token != after.token {
					t.Error("the token changed")
				}
			},
		},
		"a lost private key": {
			func(s *devState) error { return os.Remove(s.path(privateKeyFile)) },
			func(t *testing.T, before, after *devState) {
				if before.token == after.token {
					t.Error("the token is that of another key")
				}
			},
		},
		"a token near its end": {
			func(s *devState) error {
				key, err := s.keyPair()
				if err != nil {
					return err
				}
				if s.token, err = mintAdminToken(key, devWorkspace, "dev-admin", renewBefore-time.Minute); err != nil {
					return err
				}
				return s.writeDevEnv("http://localhost:1")
			},
			func(t *testing.T, before, after *devState) {
				if before.token == after.token {
					t.Error("the token was not renewed")
				}
			},
		},
		"a lost secret": {
			func(s *devState) error {
				return os.WriteFile(s.path(devMarker), []byte("export OSA_API_KEY="+s.secrets["OSA_API_KEY"]+"\n"), 0o600)
			},
			func(t *testing.T, _, after *devState) {
				if len(after.secrets["OSA_WEBHOOK_SHARED_SECRET"]) < 32 {
					t.Error("the secret was not made anew")
				}
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			before := mustLoad(t, dir)
			if err := tt.damage(before); err != nil {
				t.Fatal(err)
			}
			after := mustLoad(t, dir)
			tt.check(t, before, after)
			works(t, after)
		})
	}
}

// works checks that what clients are given is what the gateway is given.
func works(t *testing.T, s *devState) {
	t.Helper()
	records, err := auth.ReadKeyFile(s.path(keysFile))
	if err != nil {
		t.Fatal(err)
	}
	key, err := auth.NewKeyring("key", auth.DefaultPrefix, s.secrets["OSA_KEY_PEPPER"], records, nil).Authenticate(s.secrets["OSA_API_KEY"])
	if err != nil {
		t.Fatalf("the key does not work: %v", err)
	}
	public, err := auth.ParsePublicKeyPEM(contents(t, s, publicKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	token, err := auth.NewVerifier("jwt", public, auth.DefaultIssuer, auth.DefaultAudience, nil).Authenticate(s.token)
	if err != nil {
		t.Fatalf("the token does not work: %v", err)
	}
	for _, p := range osa.Permissions {
		reserved := p == osa.PermAdmin || p == osa.PermAllWorkspaces
		if key.Has(p) == reserved {
			t.Errorf("the key has %s: %v", p, key.Has(p))
		}
		if !token.Has(p) {
			t.Errorf("the token lacks %s", p)
		}
	}
	if key.WorkspaceID != token.WorkspaceID {
		t.Errorf("the key is of workspace %s, the token of %s", key.WorkspaceID, token.WorkspaceID)
	}
}

// A key that somebody added by hand stays.
func TestDevStateKeepsOtherKeys(t *testing.T) {
	dir := t.TempDir()
	s := mustLoad(t, dir)
	records, err := auth.ReadKeyFile(s.path(keysFile))
	if err != nil {
		t.Fatal(err)
	}
	other := auth.KeyRecord{ID: "mine", WorkspaceID: "w", Permissions: []string{"events:read"}, Hash: auth.HashKey("p", "k")}
	if err := auth.WriteKeyFile(s.path(keysFile), append(records, other)); err != nil {
		t.Fatal(err)
	}
	s = mustLoad(t, dir)
	if !strings.Contains(string(contents(t, s, keysFile)), `"mine"`) {
		t.Error("it is gone")
	}
}

func TestPrivateDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the point
		t.Fatal(err)
	}
	if err := privateDir(dir); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "thesis.doc"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := privateDir(dir); err == nil {
		t.Error("takes somebody's directory for its own")
	}
}
