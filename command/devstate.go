package command

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/osa-edge/osa-gateway/modules/auth"
)

const (
	devTokenLife = 7 * 24 * time.Hour
	// renewBefore is how long a token must be valid at start.
	renewBefore = 24 * time.Hour
)

// devSecrets are made once. All but the API key are the gateway's own.
var devSecrets = []struct {
	name, comment string
	make          func() string
}{
	{"OSA_WEBHOOK_SHARED_SECRET", "signs webhooks", newSecret},
	{"OSA_KEY_PEPPER", "without it, the hashes in keys.json are useless", newSecret},
	{"OPAL_STRATEGY_WORKFLOW_AUTH_KEY", "what Force Sync shows to the simulator", newSecret},
	{"OSA_API_KEY", "the key whose hash is in keys.json", auth.NewKey},
}

// devState is the state of a development gateway that is kept between starts.
type devState struct {
	dir     string
	secrets map[string]string
	token   string
}

func (s *devState) path(name string) string { return filepath.Join(s.dir, name) }

// loadDevState reads the state. It makes what is missing, has expired or does not belong
// together.
func loadDevState(dir string) (*devState, error) {
	s := &devState{dir: dir}
	for _, step := range []func() error{s.loadSecrets, s.loadKey, s.loadToken} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("%w (delete %s to begin anew)", err, dir)
		}
	}
	return s, nil
}

func (s *devState) loadSecrets() error {
	var err error
	if s.secrets, err = readEnvFile(s.path(devMarker)); err != nil {
		return err
	}
	vars := make([]variable, 0, len(devSecrets))
	changed := false
	for _, d := range devSecrets {
		if s.secrets[d.name] == "" {
			s.secrets[d.name] = d.make()
			changed = true
		}
		vars = append(vars, variable{name: d.name, value: s.secrets[d.name], comment: d.comment})
	}
	if !changed {
		return nil
	}
	b, err := formatEnv("Made by `osa-gateway osa dev`. Read by it at every start.", forShell, vars)
	if err != nil {
		return err
	}
	return writePrivate(s.path(devMarker), b)
}

// loadKey adds the API key to keys.json.
func (s *devState) loadKey() error {
	return ensureKey(s.path(keysFile), auth.KeyRecord{
		ID: "key_dev", Name: "osa dev", WorkspaceID: devWorkspace, Permissions: keyPermissions(),
		Hash: auth.HashKey(s.secrets["OSA_KEY_PEPPER"], s.secrets["OSA_API_KEY"]),
	})
}

// loadToken keeps the token of the last start if it is valid for another day.
func (s *devState) loadToken() error {
	key, err := s.keyPair()
	if err != nil {
		return err
	}
	env, err := readEnvFile(s.path("dev.env"))
	if err != nil {
		return err
	}
	if s.token = env["OSA_ADMIN_TOKEN"]; tokenHolds(key, s.token, devWorkspace, time.Now().Add(renewBefore)) {
		return nil
	}
	s.token, err = mintAdminToken(key, devWorkspace, "dev-admin", devTokenLife)
	return err
}

// keyPair reads the private key, or makes one, and sees to it that the public
// half lies beside it.
func (s *devState) keyPair() (*rsa.PrivateKey, error) {
	b, err := os.ReadFile(s.path(privateKeyFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key, err := auth.GenerateRSAKey()
		if err != nil {
			return nil, err
		}
		return key, writeKeyPair(s.dir, key)
	case err != nil:
		return nil, err
	}
	key, err := auth.ParsePrivateKeyPEM(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path(privateKeyFile), err)
	}
	b, err = os.ReadFile(s.path(publicKeyFile))
	if err == nil {
		if public, err := auth.ParsePublicKeyPEM(b); err == nil && public.Equal(&key.PublicKey) {
			return key, nil
		}
	}
	return key, writeKeyPair(s.dir, key)
}

// writeDevEnv writes what scripts source. It changes with the address and the
// token, so it is written at every start.
func (s *devState) writeDevEnv(baseURL string) error {
	b, err := formatEnv("Made by `osa-gateway osa dev`. Source it: it holds what clients need.", forShell, []variable{
		{name: "BASE_URL", value: baseURL},
		{name: "OSA_API_KEY", value: s.secrets["OSA_API_KEY"], comment: "a key that may do everything but administer"},
		{name: "OSA_ADMIN_TOKEN", value: s.token, comment: "a token that may do everything"},
		{name: "OSA_WEBHOOK_SHARED_SECRET", value: s.secrets["OSA_WEBHOOK_SHARED_SECRET"], comment: "signs webhooks"},
	})
	if err != nil {
		return err
	}
	return writePrivate(s.path("dev.env"), b)
}

// secretVariables are those of the secrets that the gateway itself reads: the API
// key is a client's.
func (s *devState) secretVariables() []variable {
	var vars []variable
	for _, d := range devSecrets {
		if d.name != "OSA_API_KEY" {
			vars = append(vars, variable{name: d.name, value: s.secrets[d.name]})
		}
	}
	return vars
}
