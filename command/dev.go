package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/osa-edge/osa-gateway/modules/osa"
)

// devWorkspace is the one that the runbook's development environment has.
const devWorkspace = "default-workspace"

type devFlags struct {
	dir, address, simulator, config string
	verbose, json                   bool
}

func devCommand() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Starts a complete gateway for development",
		Long: `Starts a gateway with everything it needs: secrets and credentials, made once and
kept in a private directory, a store beside them, and a simulator in place of
OPAL. The simulator has a listener of its own, on this machine alone. The gateway
listens on the address given and nowhere else; Caddy's admin endpoint is a socket in
the directory. Stop it with Ctrl-C.

The directory holds

    dev.env        what scripts source: BASE_URL, OSA_API_KEY, OSA_ADMIN_TOKEN and
                   OSA_WEBHOOK_SHARED_SECRET
    secrets.env    what the gateway itself is given
    keys.json      the hash of the API key
    jwt-*.pem      the key pair of the admin token
    data, config   the event log, and what Caddy keeps
    gateway.log    the log, unless --verbose sends it to the terminal

Delete the directory to begin anew. With --config, SIGUSR1 reads the file again.`,
		Example: `  osa-gateway osa dev
  osa-gateway osa dev --address http://localhost:8080 --verbose
  osa-gateway osa dev --config Caddyfile`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDev(cmd, &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.dir, "data-dir", ".osa-dev", "private directory for secrets, store and sockets")
	fl.StringVar(&f.address, "address", defaultAddress, "where to listen; port 0 takes one that is free")
	fl.StringVar(&f.simulator, "simulator", "", "where the simulator listens; default is the first free port after the gateway's, on localhost")
	fl.StringVar(&f.config, "config", "", "Caddyfile to start with, instead of the built-in Caddyfile.example")
	fl.BoolVar(&f.verbose, "verbose", false, "log to the terminal")
	fl.BoolVar(&f.json, "json", false, "say that it is ready in one JSON object")
	return cmd
}

func runDev(cmd *cobra.Command, f *devFlags) error {
	var wrong flagErrors
	dir, err := filepath.Abs(f.dir)
	if err != nil {
		wrong.add("--data-dir: %w", err)
	}
	// Such a path could not be written in a Caddyfile.
	if strings.ContainsAny(dir, "\"`{}\n\r") {
		wrong.add("--data-dir is %q; choose a path without quotes, braces and line breaks", dir)
	}
	if f.config != "" {
		if _, err := os.Stat(f.config); err != nil {
			wrong.add("--config: %w", err)
		}
	}
	addr, err := parseAddress("--address", f.address)
	if err == nil {
		err = addr.claim(cmd.Context())
	}
	if err != nil {
		wrong.add("%w", err)
	}
	simulator, simulatorErr := parseSimulator(f.simulator)
	if simulatorErr == nil && err == nil {
		simulator, simulatorErr = claimSimulator(cmd.Context(), simulator, addr)
	}
	if simulatorErr != nil {
		wrong.add("%w", simulatorErr)
	}
	if sock := filepath.Join(dir, "admin.sock"); inUse(sock) {
		wrong.add("another gateway runs in %s: stop it, or take another --data-dir", f.dir)
	}
	if err := wrong.err(); err != nil {
		return err
	}

	if err := privateDir(dir); err != nil {
		return err
	}
	state, err := loadDevState(dir)
	if err != nil {
		return err
	}
	if err := state.writeDevEnv(addr.url()); err != nil {
		return err
	}
	socket, elsewhere, err := adminSocket(dir)
	if err != nil {
		return err
	}
	if elsewhere {
		fmt.Fprintf(cmd.ErrOrStderr(), "The path of %s is too long for a socket; the admin endpoint is %s\n", f.dir, socket)
	}
	if err := setEnvironment(devEnvironment(state, addr, simulator, socket, f.verbose)); err != nil {
		return err
	}
	if err := runCaddy(f.config, simulator); err != nil {
		return err
	}
	if err := waitReady(cmd.Context(), addr); err != nil {
		return err
	}
	if err := announce(cmd.OutOrStdout(), f, addr, simulator); err != nil {
		return err
	}
	select {} // signals end the process
}

// devMarker is a file that only `osa dev` writes.
const devMarker = "secrets.env"

// privateDir makes the directory, or makes sure that it is ours: secrets are not
// mixed with somebody's files, and nobody else can look in.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, devMarker)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("--data-dir: %s is not empty and was not made by `osa dev`: name another", dir)
		}
	}
	return os.Chmod(dir, 0o700)
}

// plainConsole is Caddy's console format without the colours that it would write
// into files too.
const plainConsole = "console {\nlevel_format upper\n}"

// devEnvironment is what Caddyfile.example reads. It is set whole: a production
// variable that happens to be in the shell must not send a development gateway
// to the real OPAL.
func devEnvironment(s *devState, addr, simulator *address, socket string, verbose bool) []variable {
	output, format := `file "`+filepath.Join(s.dir, "gateway.log")+`"`, plainConsole
	if verbose {
		output = "stderr"
		if painterFor(os.Stderr).on {
			format = "console"
		}
	}
	env := []variable{
		{name: "OSA_ENV", value: osa.Development},
		{name: "NODE_ENV", value: osa.Development},
		{name: "OSA_ADDRESS", value: addr.site()},
		{name: "OSA_BIND", value: addr.bindArgs()},
		{name: "OSA_ADMIN_ENDPOINT", value: "unix/" + socket + "|0600"},
		{name: "OSA_LOG_OUTPUT", value: output},
		{name: "OSA_LOG_FORMAT", value: format},
		{name: "XDG_DATA_HOME", value: filepath.Join(s.dir, "data")},
		{name: "XDG_CONFIG_HOME", value: filepath.Join(s.dir, "config")},
		{name: "XDG_CACHE_HOME", value: filepath.Join(s.dir, "cache")},
		{name: "BASE_URL", value: addr.url()},
		{name: "OPAL_WEBHOOK_URL", value: simulator.url()},
		{name: "OPAL_WORKSPACE_ID", value: devWorkspace},
		{name: "OSA_KEYS_FILE", value: s.path(keysFile)},
		{name: "OSA_JWT_PUBLIC_KEY", value: "@" + s.path(publicKeyFile)},
	}
	return append(env, s.secretVariables()...)
}

func setEnvironment(vars []variable) error {
	for _, v := range vars {
		if err := os.Setenv(v.name, v.value); err != nil {
			return fmt.Errorf("setting %s: %w", v.name, err)
		}
	}
	return nil
}

// announce says what to open and what to try, without showing a secret.
func announce(w io.Writer, f *devFlags, addr, simulator *address) error {
	env := filepath.Join(f.dir, "dev.env")
	log := filepath.Join(f.dir, "gateway.log")
	if f.json {
		return json.NewEncoder(w).Encode(map[string]any{"ready": true, "base_url": addr.url(), "simulator_url": simulator.url(), "env_file": env, "pid": os.Getpid()})
	}
	p := painterFor(w)
	if f.verbose {
		log = "this terminal"
	}
	source := "source " + shellQuote(env)
	self := shellQuote(os.Args[0])
	_, err := fmt.Fprintf(w, `
%s at %s
with a simulator in place of OPAL at %s

%s
  %s
  %s osa listen
  curl -N -H "Authorization: Bearer $OSA_API_KEY" "$BASE_URL/api/webhook-events/stream"

%s
  %s && curl -X POST -H "Authorization: Bearer $OSA_API_KEY" -H "Content-Type: application/json" -d '{"sync_scope":"priority_platforms"}' "$BASE_URL/api/opal/sync"

%s
  curl -H "Authorization: Bearer $OSA_API_KEY" "$BASE_URL/api/diagnostics/last-webhook?limit=20"

Health  %s/api/health
Log     %s
Stop    Ctrl-C
`,
		p.bold(p.green("OSA Gateway is ready")), p.bold(addr.url()), simulator.url(),
		p.bold("Follow what happens, in another terminal:"), source, self,
		p.bold("Let nine agents run (Force Sync):"), source,
		p.bold("Read what they sent:"),
		addr.url(), log)
	return err
}

// shellQuote quotes a word where a shell would not take it as it stands.
func shellQuote(s string) string {
	if s != "" && safeValue.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
