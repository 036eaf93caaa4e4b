package main

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/osa-edge/osa-gateway/tests/bench/load"
	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
)

// path is that of the receiver, on every server.
const path = "/api/webhooks/opal-workflow"

// head is what all servers have in common: no access log, no TLS, the admin
// endpoint on a socket.
const head = `{
	admin {$BENCH_ADMIN}
	persist_config off
	auto_https off
	log {
		level WARN
	}
`

// The peers. Plain Caddy has no handler that reads a body and does nothing else.
// The cheapest way to have it read is a placeholder: {http.request.body} takes
// the whole body off the connection. With nothing but respond, Caddy's handlers
// do not look at the body, and net/http reads and discards it after the answer,
// so that the connection can be used again: the bytes are read in either case.
const (
	discarding = head + `}
http://{$BENCH_ADDRESS} {
	respond 200
}
`
	reading = head + `}
http://{$BENCH_ADDRESS} {
	vars body {http.request.body}
	respond 200
}
`
	keeping = head + `
	osa {
		storage badger {
			path store
		}
	}
}
http://{$BENCH_ADDRESS} {
	osa_guard
	osa_signature osa {
		secret main {env.OSA_WEBHOOK_SHARED_SECRET} {
			workspace bench
		}
	}
	osa_webhook opal
	handle_errors {
		osa_error
	}
}
`
)

func (b *bench) start(name, binary, caddyfile string, stores bool) (*roundrobin.Contender, error) {
	s, err := b.Start(name, binary, caddyfile, "OSA_WEBHOOK_SHARED_SECRET="+b.secret)
	if err != nil {
		return nil, err
	}
	target := load.Target{Address: s.Address, Path: path, Secret: b.secret}
	return &roundrobin.Contender{
		Name: name, Server: s, Target: target, Stores: stores,
		Source: func(n int) load.Source { return load.Prepare(target, b.events(), n) },
	}, nil
}

// events are bodies that no server has seen.
func (b *bench) events() *load.Events {
	b.Seed++
	return load.NewEvents(b.bodySize, b.Seed)
}

func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
