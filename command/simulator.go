package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/osa-edge/osa-gateway/internal/network"
	"github.com/osa-edge/osa-gateway/internal/strictjson"
)

// simulatorPorts is how many ports after the gateway's are tried for the simulator.
const simulatorPorts = 20

// simulatorServer is the name of the simulator's server in Caddy's configuration.
const simulatorServer = "osa_simulator"

// parseSimulator reads the URL of --simulator, nil if there is none.
func parseSimulator(raw string) (*address, error) {
	if raw == "" {
		return nil, nil
	}
	a, err := parseAddress("--simulator", raw)
	if err != nil {
		return nil, err
	}
	if !network.IsLoopback(a.host) {
		return nil, fmt.Errorf("--simulator is %q; the simulator listens on this machine alone, such as on http://localhost:3001", raw)
	}
	return a, nil
}

// claimSimulator finds where the simulator listens: at the address given, or else at
// the first free port of localhost after the gateway's.
func claimSimulator(ctx context.Context, given, gateway *address) (*address, error) {
	if given != nil {
		return given, given.claim(ctx)
	}
	last := min(gateway.port+simulatorPorts, 65535)
	for port := gateway.port + 1; port <= last; port++ {
		a := &address{flag: "--simulator", host: "localhost", port: port}
		err := a.probe(ctx)
		if err == nil {
			return a, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) {
			return nil, a.explain(err)
		}
	}
	return nil, fmt.Errorf("no port from %d to %d is free for the simulator: name one with --simulator http://localhost:<port>", gateway.port+1, last)
}

// withSimulator adds a server to a configuration of Caddy: the simulator, and nothing
// else, at the address.
func withSimulator(config []byte, at *address) ([]byte, error) {
	listen := make([]string, len(at.bind))
	for i, host := range at.bind {
		listen[i] = net.JoinHostPort(host, strconv.Itoa(at.port))
	}
	server := map[string]any{
		"listen":          listen,
		"automatic_https": map[string]any{"disable": true},
		"routes":          handledBy("osa_guard", "osa_simulator"),
		"errors":          map[string]any{"routes": handledBy("osa_error")},
	}
	return withServer(config, simulatorServer, server)
}

func handledBy(handlers ...string) []any {
	var handle []any
	for _, name := range handlers {
		handle = append(handle, map[string]any{"handler": name})
	}
	return []any{map[string]any{"handle": handle}}
}

// withServer adds a server to the app http of a configuration. All else stays as it is.
func withServer(config []byte, name string, server any) ([]byte, error) {
	value, err := json.Marshal(server)
	if err != nil {
		return nil, err
	}
	path := []string{"apps", "http", "servers"}
	levels := make([]map[string]json.RawMessage, len(path)+1)
	for i, raw := 0, json.RawMessage(config); ; i++ {
		levels[i] = make(map[string]json.RawMessage)
		if raw != nil {
			if err := strictjson.Unmarshal(raw, &levels[i]); err != nil {
				return nil, fmt.Errorf("reading the configuration: %w", err)
			}
		}
		if i == len(path) {
			break
		}
		raw = levels[i][path[i]]
	}
	if _, taken := levels[len(path)][name]; taken {
		return nil, fmt.Errorf("the configuration has a server %s, which is the simulator's name: call it otherwise", name)
	}
	levels[len(path)][name] = value
	for i := len(path) - 1; i >= 0; i-- {
		if levels[i][path[i]], err = json.Marshal(levels[i+1]); err != nil {
			return nil, err
		}
	}
	return json.Marshal(levels[0])
}
