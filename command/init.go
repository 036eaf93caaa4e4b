package command

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/osa-edge/osa-gateway/modules/auth"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// Files of `osa init` alone.
const (
	gatewayEnvFile = "gateway.env"
	adminEnvFile   = "admin.env"
)

type initFlags struct {
	dir, workspace, baseURL, address string
	tokenLife                        time.Duration
	force, show                      bool
}

func initCommand() *cobra.Command {
	var f initFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Makes the secrets and the first credentials for production",
		Long: `Makes what a production gateway needs to start, and the credentials of its first
administrator. Everything is written to files that only you can read:

    gateway.env      for the gateway: osa-gateway run --envfile, or systemd's
                     EnvironmentFile. What only OPAL can give you is left to fill in
    keys.json        hashes of API keys; the gateway reads it
    jwt-public.pem   checks tokens; the gateway reads it
    jwt-private.pem  makes tokens. The gateway does not need it: keep it elsewhere
    admin.env        the first API key and the first admin token, for your shell

Nothing that exists is overwritten without --force, and no secret is printed
without --show.`,
		Example: `  osa-gateway osa init --dir /etc/osa-gateway --workspace acme --base-url https://gateway.example.com
  osa-gateway run --config Caddyfile.example --envfile /etc/osa-gateway/gateway.env`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runInit(cmd.OutOrStdout(), &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.dir, "dir", ".", "where the files go")
	fl.StringVar(&f.workspace, "workspace", "default", "workspace of the key, the token and what OPAL sends")
	fl.StringVar(&f.baseURL, "base-url", "", "how OPAL and clients reach the gateway, such as https://gateway.example.com")
	fl.StringVar(&f.address, "address", "", "what the gateway serves; default is the base URL's host")
	fl.DurationVar(&f.tokenLife, "token-life", 90*24*time.Hour, "how long the admin token holds")
	fl.BoolVar(&f.force, "force", false, "overwrite: every credential of before stops working")
	fl.BoolVar(&f.show, "show", false, "print the key and the token, this once")
	return cmd
}

func runInit(out io.Writer, f *initFlags) error {
	dir, err := f.check()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := func(name string) string { return filepath.Join(dir, name) }

	pepper, apiKey := newSecret(), auth.NewKey()
	key, err := auth.GenerateRSAKey()
	if err != nil {
		return err
	}
	token, err := mintAdminToken(key, f.workspace, "first-admin", f.tokenLife)
	if err != nil {
		return err
	}
	gatewayEnv, err := formatEnv(
		"Made by `osa-gateway osa init`. The gateway's secrets: keep it private.", forService,
		f.gatewayVariables(newSecret(), pepper, path(keysFile), path(publicKeyFile)))
	if err != nil {
		return err
	}
	adminEnv, err := formatEnv("Made by `osa-gateway osa init`. The first administrator's credentials.", forShell, []variable{
		{name: "BASE_URL", value: f.baseURL},
		{name: "OSA_API_KEY", value: apiKey},
		{name: "OSA_ADMIN_TOKEN", value: token, comment: "holds until " + time.Now().Add(f.tokenLife).UTC().Format(time.RFC3339)},
	})
	if err != nil {
		return err
	}
	if err := os.Remove(path(keysFile)); err != nil && !os.IsNotExist(err) {
		return err
	}
	record := auth.KeyRecord{
		ID: "key_first", Name: "made by osa init", WorkspaceID: f.workspace,
		Permissions: keyPermissions(), Hash: auth.HashKey(pepper, apiKey),
	}
	for _, write := range []func() error{
		func() error { return ensureKey(path(keysFile), record) },
		func() error { return writeKeyPair(dir, key) },
		func() error { return writePrivate(path(adminEnvFile), adminEnv) },
		// Last: with it the gateway can start, so the rest is there by then.
		func() error { return writePrivate(path(gatewayEnvFile), gatewayEnv) },
	} {
		if err := write(); err != nil {
			return err
		}
	}
	return f.report(out, path, apiKey, token)
}

// check names everything that is wrong, and every file that is in the way.
func (f *initFlags) check() (dir string, err error) {
	var wrong flagErrors
	if dir, err = filepath.Abs(f.dir); err != nil {
		wrong.add("--dir: %w", err)
	}
	if !safeValue.MatchString(dir) {
		wrong.add("--dir is %q; environment files need a path without spaces and special characters", dir)
	}
	if f.workspace == "" || len(f.workspace) > 128 || !safeValue.MatchString(f.workspace) {
		wrong.add("--workspace is %q; want 1 to 128 letters, digits and -_.:/@", f.workspace)
	}
	if f.baseURL != "" && !strings.HasPrefix(f.baseURL, "http://") && !strings.HasPrefix(f.baseURL, "https://") {
		wrong.add("--base-url is %q; it must begin with https:// or http://", f.baseURL)
	}
	f.baseURL = strings.TrimRight(f.baseURL, "/")
	for _, v := range []string{f.baseURL, f.address} {
		if !safeValue.MatchString(v) {
			wrong.add("%q holds characters that no address has", v)
		}
	}
	if f.tokenLife < time.Minute {
		wrong.add("--token-life is %v; it must be at least a minute", f.tokenLife)
	}
	if !f.force {
		for _, name := range []string{gatewayEnvFile, adminEnvFile, keysFile, privateKeyFile, publicKeyFile} {
			if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
				wrong.add("%s exists: name another --dir, or replace it with --force", filepath.Join(f.dir, name))
			}
		}
	}
	return dir, wrong.err()
}

func (f *initFlags) gatewayVariables(secret, pepper, keys, public string) []variable {
	address := f.address
	if u, err := url.Parse(f.baseURL); err == nil && address == "" && u.Host != "" {
		// A name alone gets HTTPS from Caddy by itself.
		if address = u.Host; u.Scheme == "http" {
			address = "http://" + u.Host
		}
	}
	vars := []variable{
		{name: "OSA_ENV", value: osa.Production},
		{name: "OSA_WEBHOOK_SHARED_SECRET", value: secret, comment: "Give this one to OPAL: it signs its webhooks with it."},
		{name: "OSA_KEY_PEPPER", value: pepper, comment: "Without it, what keys.json holds is useless: also to us, so keep a copy."},
		{name: "OSA_KEYS_FILE", value: keys},
		{name: "OSA_JWT_PUBLIC_KEY", value: "@" + public},
		{name: "OPAL_WORKSPACE_ID", value: f.workspace},
	}
	if f.baseURL == "" {
		vars = append(vars, variable{name: "BASE_URL", comment: "To fill in: how OPAL reaches this gateway, such as https://gateway.example.com"})
	} else {
		vars = append(vars, variable{name: "BASE_URL", value: f.baseURL})
	}
	if address != "" {
		vars = append(vars, variable{name: "OSA_ADDRESS", value: address})
	}
	return append(vars,
		variable{name: "OPAL_WEBHOOK_URL", comment: "To fill in from OPAL: Force Sync needs them, and says so until it has them."},
		variable{name: "OPAL_STRATEGY_WORKFLOW_AUTH_KEY"},
	)
}

func (f *initFlags) report(out io.Writer, path func(string) string, apiKey, token string) error {
	p := painterFor(out)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", p.bold(p.green("The gateway can start")))
	fmt.Fprintf(&b, "  1. Fill in what only OPAL can give you:   %s\n", path(gatewayEnvFile))
	fmt.Fprintf(&b, "  2. Start it:                              osa-gateway run --config Caddyfile.example --envfile %s\n", path(gatewayEnvFile))
	fmt.Fprintf(&b, "  3. Use it:                                source %s\n", path(adminEnvFile))
	fmt.Fprintf(&b, "  4. Take away from this machine:           %s\n", path(privateKeyFile))
	if f.show {
		fmt.Fprintf(&b, "\nOSA_API_KEY=%s\nOSA_ADMIN_TOKEN=%s\n", apiKey, token)
	}
	_, err := io.WriteString(out, b.String())
	return err
}
