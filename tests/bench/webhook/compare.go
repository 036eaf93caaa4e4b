package main

import (
	"context"
	"errors"

	"github.com/osa-edge/osa-gateway/tests/bench/roundrobin"
)

// compare has plain Caddy and the gateway take turns.
func (b *bench) compare(ctx context.Context) (results []roundrobin.Result, ratios []roundrobin.Ratio, err error) {
	type candidate struct {
		name, binary, caddyfile string
		stores                  bool
	}
	candidates := []candidate{
		{"caddy-respond", b.Binary, discarding, false},
		{"caddy-read-respond", b.Binary, reading, false},
		{"gateway", b.Binary, keeping, true},
	}
	for _, o := range b.others {
		candidates = append(candidates, candidate{o.name, o.binary, keeping, true})
	}
	var servers []*roundrobin.Contender
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Stop())
		}
	}()
	for _, c := range candidates {
		s, err := b.start(c.name, c.binary, c.caddyfile, c.stores)
		if err != nil {
			return nil, nil, err
		}
		servers = append(servers, s)
	}
	if results, err = roundrobin.Run(ctx, b.Options, servers); err != nil {
		return nil, nil, err
	}
	for i, c := range candidates {
		for j := range i {
			if c.stores {
				ratios = append(ratios, roundrobin.Compare(&results[i], &results[j]))
			}
		}
	}
	return results, ratios, nil
}
