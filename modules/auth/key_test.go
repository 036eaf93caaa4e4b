package auth_test

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/modules/auth"
)

const pepper = "5b1e90c7a2f4483d9e06bb1f7c25d8aa" // obviously fake

func TestNewKey(t *testing.T) {
	a, b := auth.NewKey(), auth.NewKey()
	for _, key := range []string{a, b} {
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(key, "opal_prod_"))
		if err != nil || len(raw) != 32 {
			t.Errorf("a key has %d random bytes: %v", len(raw), err)
		}
	}
	if a == b {
		t.Error("two keys are the same")
	}
}

func TestHashKey(t *testing.T) {
	// printf %s opal_prod_test | openssl dgst -sha256 -hmac 5b1e90c7a2f4483d9e06bb1f7c25d8aa
	const want = "ccc724fdafce79a98e94dc4fc8ad9bc0a693317bc4668f166ff9fd5ba5042456"
	if got := auth.HashKey(pepper, "opal_prod_test"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestKeyring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends := time.Now().Add(time.Hour)
		forever, ending := auth.NewKey(), auth.NewKey()
		ring := auth.NewKeyring("key", auth.DefaultPrefix, pepper, []auth.KeyRecord{
			{ID: "forever", Hash: auth.HashKey(pepper, forever), WorkspaceID: "ws", Permissions: []string{"events:*"}},
			{ID: "ending", Hash: strings.ToUpper(auth.HashKey(pepper, ending)), WorkspaceID: "ws", ExpiresAt: &ends},
		}, nil)
		p, err := ring.Authenticate(forever)
		if err != nil || p.ID != "forever" || p.Method != "api_key" || p.WorkspaceID != "ws" || !p.Has("events:read") || p.Has("admin") || !p.ExpiresAt.IsZero() || !holds(ring, p) {
			t.Fatalf("%+v, %v", p, err)
		}
		e, err := ring.Authenticate(ending)
		if err != nil || !e.ExpiresAt.Equal(ends) || !holds(ring, e) {
			t.Fatalf("%+v, %v", e, err)
		}
		for _, wrong := range []string{"", auth.DefaultPrefix, auth.NewKey(), forever[:len(forever)-1], forever + "A", strings.ToLower(forever), auth.HashKey(pepper, forever)} {
			if _, err := ring.Authenticate(wrong); !errors.Is(err, auth.UnknownKey) {
				t.Errorf("a wrong key: %v", err)
			}
		}
		time.Sleep(time.Hour)
		if _, err := ring.Authenticate(ending); !errors.Is(err, auth.Expired) || holds(ring, e) {
			t.Errorf("at its end: %v, holds %v", err, holds(ring, e))
		}
		if _, err := ring.Authenticate(forever); err != nil || !holds(ring, p) {
			t.Errorf("a key without end: %v", err)
		}
	})
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	ends := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	records := []auth.KeyRecord{
		{ID: "a", Name: "first", Hash: auth.HashKey(pepper, "a"), WorkspaceID: "ws", Permissions: []string{"events:read", "workspace:*"}},
		{ID: "b", Hash: auth.HashKey(pepper, "b"), WorkspaceID: "ws", Permissions: []string{}, ExpiresAt: &ends},
	}
	for range 2 { // also over an old file
		if err := auth.WriteKeyFile(path, records); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	got, err := auth.ReadKeyFile(path)
	if err != nil || !reflect.DeepEqual(got, records) {
		t.Errorf("read %+v, %v", got, err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left %d files", len(entries))
	}
	if err := auth.WriteKeyFile(path, []auth.KeyRecord{{ID: "bad"}}); err == nil {
		t.Error("wrote a record without hash")
	}
	if got, err := auth.ReadKeyFile(path); err != nil || len(got) != 2 {
		t.Errorf("a refused write left %d records, %v", len(got), err)
	}
	if err := auth.WriteKeyFile(path, nil); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); strings.Contains(string(b), "null") {
		t.Errorf("no keys are written as %s", b)
	}
	for name, text := range map[string]string{
		"unknown member": `{"keys":[{"id":"a","expires":"2027-01-01T00:00:00Z"}]}`,
		"not JSON":       `keys: []`,
		"two documents":  `{"keys":[]}{"keys":[]}`,
		"bad time":       `{"keys":[{"id":"a","expires_at":"soon"}]}`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := auth.ReadKeyFile(path); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	if _, err := auth.ReadKeyFile(path + ".none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// TestCheckKeyRecords: everything is named at once, and no hash.
func TestCheckKeyRecords(t *testing.T) {
	hash := auth.HashKey(pepper, "a")
	err := auth.CheckKeyRecords([]auth.KeyRecord{
		{ID: "a", Hash: hash, WorkspaceID: "w", Permissions: []string{"*", "events:*", "opal:t*", "admin"}},
		{ID: "a", Hash: auth.HashKey(pepper, "b"), WorkspaceID: "w"},
		{ID: "c", Hash: strings.ToUpper(hash), WorkspaceID: "w"},
		{ID: "d", Hash: hash[1:], WorkspaceID: "w"},
		{ID: "e", Hash: auth.HashKey(pepper, "e"), Permissions: []string{"event:read", "nothing:*"}},
		{ID: "", Hash: auth.HashKey(pepper, "f"), WorkspaceID: "w"},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`key "a": the id is used twice`, `key "c": it is the same key as "a"`, `key "d": the hash must`, `key "e": the workspace`,
		`key "e": unknown permission "event:read"`, `key "e": unknown permission "nothing:*"`, `key "": the id`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not say %q", want)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 7 {
		t.Errorf("names %d problems:\n%v", n, err)
	}
	if strings.Contains(err.Error(), hash[1:20]) {
		t.Error("contains a hash")
	}
}

// TestHashesDiffer: no two keys or peppers give the same hash, whatever their
// lengths are.
func TestHashesDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-z]{0,300}`)
		p1, k1 := text.Draw(t, "pepper"), text.Draw(t, "key")
		p2, k2 := text.Draw(t, "pepper"), text.Draw(t, "key")
		if same := auth.HashKey(p1, k1) == auth.HashKey(p2, k2); same != (p1 == p2 && k1 == k2) {
			t.Fatalf("same hash: %v", same)
		}
	})
}

func BenchmarkKey(b *testing.B) {
	key := auth.NewKey()
	ring := auth.NewKeyring("key", auth.DefaultPrefix, pepper, []auth.KeyRecord{{ID: "a", Hash: auth.HashKey(pepper, key), WorkspaceID: "w"}}, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ring.Authenticate(key); err != nil {
			b.Fatal(err)
		}
	}
}
