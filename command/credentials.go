package command

import (
	"crypto/rsa"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/osa-edge/osa-gateway/modules/auth"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// Files that both `osa dev` and `osa init` write.
const (
	keysFile       = "keys.json"
	privateKeyFile = "jwt-private.pem"
	publicKeyFile  = "jwt-public.pem"
)

// keyPermissions are the permissions of a first key: all but admin and workspace:* (docs/api.md §2.14).
func keyPermissions() []string {
	return slices.DeleteFunc(slices.Clone(osa.Permissions), func(p string) bool {
		return p == osa.PermAdmin || p == osa.PermAllWorkspaces
	})
}

// ensureKey adds the key to the key file. It keeps the other keys.
func ensureKey(path string, record auth.KeyRecord) error {
	records, err := auth.ReadKeyFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	i := slices.IndexFunc(records, func(r auth.KeyRecord) bool { return r.ID == record.ID })
	switch {
	case i < 0:
		records = append(records, record)
	case records[i].Hash == record.Hash:
		return nil
	default:
		records[i] = record // of another pepper, or another key
	}
	return auth.WriteKeyFile(path, records)
}

// writeKeyPair writes the key pair. The gateway needs only the public key.
func writeKeyPair(dir string, key *rsa.PrivateKey) error {
	private, err := auth.EncodePrivateKeyPEM(key)
	if err != nil {
		return err
	}
	if err := writePrivate(filepath.Join(dir, privateKeyFile), private); err != nil {
		return err
	}
	public, err := auth.EncodePublicKeyPEM(&key.PublicKey)
	if err != nil {
		return err
	}
	return writePrivate(filepath.Join(dir, publicKeyFile), public)
}

// mintAdminToken makes a token with all permissions.
func mintAdminToken(key *rsa.PrivateKey, workspace, subject string, life time.Duration) (string, error) {
	return auth.MintToken(key, auth.Claims{Subject: subject, WorkspaceID: workspace, Scope: osa.Permissions}, life)
}

// tokenHolds reports whether the gateway accepts the token at that time.
func tokenHolds(key *rsa.PrivateKey, token, workspace string, at time.Time) bool {
	p, err := auth.NewVerifier("", &key.PublicKey, auth.DefaultIssuer, auth.DefaultAudience, nil).Authenticate(token)
	return err == nil && p.ExpiresAt.After(at) && p.WorkspaceID == workspace && p.Has(osa.PermAdmin)
}
