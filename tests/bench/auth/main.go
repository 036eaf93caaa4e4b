// Command auth compares a route that asks for credentials with the same route
// open to everybody: the same binary, the same machine, in turns.
//
//	go run ./tests/bench/auth
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/osa-edge/osa-gateway/modules/auth"
	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
)

// caddyfile is that of all servers; they differ in what stands before respond.
const caddyfile = `{
	admin {$BENCH_ADMIN}
	persist_config off
	auto_https off
	log {
		level WARN
	}
	osa {
		storage badger {
			path store
		}
		auth {
			key {
				prefix opal_prod_
				pepper {env.OSA_KEY_PEPPER}
				file {env.OSA_KEYS_FILE}
			}
			jwt {
				public_key {env.OSA_JWT_PUBLIC_KEY}
				issuer osa-system
				audience admin-interface
			}
		}
	}
}
http://{$BENCH_ADDRESS} {
	osa_guard
	%s
	respond 200
	handle_errors {
		osa_error
	}
}
`

const key = `osa_auth key
	osa_require events:read`

const token = `osa_auth jwt
	osa_require events:read`

func main() {
	s := roundrobin.NewSetup(flag.CommandLine)
	asJSON := flag.Bool("json", false, "print JSON")
	keys := flag.Int("keys", 100, "API keys that the gateway knows")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s, *keys, *asJSON); err != nil {
		fmt.Fprintln(os.Stderr, "auth bench:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to clean up
	}
}

func run(ctx context.Context, s *roundrobin.Setup, keys int, asJSON bool) (err error) {
	done, err := s.Prepare(ctx)
	defer done()
	if err != nil {
		return err
	}
	c, err := newCredentials(s.Dir, keys)
	if err != nil {
		return err
	}
	var servers []*roundrobin.Contender
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Stop())
		}
	}()
	// The open route gets the same requests: a token is most of a request's bytes,
	// and what it costs to read them is no cost of looking at it.
	for _, route := range []struct{ name, before, authorization string }{
		{"open-key-sent", "", c.key}, {"key", key, c.key}, {"open-token-sent", "", c.token}, {"jwt", token, c.token},
	} {
		started, err := s.Start(route.name, s.Binary, fmt.Sprintf(caddyfile, route.before), c.env...)
		if err != nil {
			return err
		}
		target := load.Target{
			Address: started.Address, Path: "/api/webhook-events", Header: "Authorization: Bearer " + route.authorization + "\r\n",
		}
		servers = append(servers, &roundrobin.Contender{
			Name: route.name, Server: started, Target: target,
			Source: func(int) load.Source { return load.Get(target) },
		})
	}
	results, err := roundrobin.Run(ctx, s.Options, servers)
	if err != nil {
		return err
	}
	ratios := []roundrobin.Ratio{roundrobin.Compare(&results[1], &results[0]), roundrobin.Compare(&results[3], &results[2])}
	if asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"machine": roundrobin.Machine(), "servers": results, "ratios": ratios})
	}
	fmt.Printf("\nA route with credentials against the same route without: %d connections, %d requests a round, %d keys\n(%s)\n\n",
		s.Connections, s.Requests, keys, roundrobin.Machine())
	roundrobin.Print(os.Stdout, results, ratios)
	return nil
}

// credentials of one run.
type credentials struct {
	key, token string
	env        []string
}

func newCredentials(dir string, keys int) (*credentials, error) {
	pepper := auth.NewKey()
	c := new(credentials)
	records := make([]auth.KeyRecord, max(1, keys))
	for i := range records {
		c.key = auth.NewKey()
		records[i] = auth.KeyRecord{
			ID: fmt.Sprintf("key_%d", i), Hash: auth.HashKey(pepper, c.key), WorkspaceID: "bench", Permissions: []string{"events:read"},
		}
	}
	file := filepath.Join(dir, "keys.json")
	if err := auth.WriteKeyFile(file, records); err != nil {
		return nil, err
	}
	private, err := auth.GenerateRSAKey()
	if err != nil {
		return nil, err
	}
	public, err := auth.EncodePublicKeyPEM(&private.PublicKey)
	if err != nil {
		return nil, err
	}
	c.token, err = auth.MintToken(private, auth.Claims{Subject: "bench", WorkspaceID: "bench", Scope: []string{"events:read"}}, time.Hour)
	c.env = []string{"OSA_KEY_PEPPER=" + pepper, "OSA_KEYS_FILE=" + file, "OSA_JWT_PUBLIC_KEY=" + string(public)}
	return c, err
}
