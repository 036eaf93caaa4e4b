package simulator

import (
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ParseCaddyfile parses the directive osa_simulator.
func ParseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	s := new(Simulator)
	if err := s.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return s, nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	osa_simulator {
//	    auth_key {env.OPAL_STRATEGY_WORKFLOW_AUTH_KEY}   # bearer key of triggers
//	    secret   {env.OSA_WEBHOOK_SHARED_SECRET}         # signs the webhooks
//	    duration 6s                 # of a workflow, under 20s
//
//	    slow    <factor>            # multiplies the duration
//	    fail    <agent...>          # these agents fail
//	    repeat  <n>                 # sends every webhook n times more
//	    reorder                     # sends webhooks out of order
//	    drop    <percent>           # does not send so many of the webhooks
//	    own_ids                     # new ids in place of the trigger's
//	    seed    <number>            # for other random results
//	}
//
// Everything is optional. All agents succeed unless you configure failures. A trigger may
// override the options in metadata.simulator, with duration_ms in place of duration.
func (s *Simulator) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		name := d.Val()
		if seen[name] {
			return d.Errf("%s was already given", name)
		}
		seen[name] = true
		if err := s.unmarshalOption(d, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Simulator) unmarshalOption(d *caddyfile.Dispenser, name string) error {
	args := d.RemainingArgs()
	switch name {
	case "reorder", "own_ids":
		if len(args) != 0 {
			return d.ArgErr()
		}
		s.Reorder = s.Reorder || name == "reorder"
		s.OwnIDs = s.OwnIDs || name == "own_ids"
		return nil
	case "fail":
		if len(args) == 0 {
			return d.ArgErr()
		}
		s.Fail = args
		return nil
	case "auth_key", "secret", "duration", "slow", "repeat", "drop", "seed":
	default:
		return d.Errf("unknown option %q of osa_simulator: want auth_key, secret, duration, slow, fail, repeat, reorder, drop, own_ids or seed", name)
	}
	if len(args) != 1 {
		return d.ArgErr()
	}
	value := args[0]
	var err error
	switch name {
	case "auth_key":
		s.AuthKey = value
	case "secret":
		s.Secret = value
	case "duration":
		var duration time.Duration
		duration, err = caddy.ParseDuration(value)
		s.Duration = caddy.Duration(duration)
	case "slow":
		s.Slow, err = strconv.ParseFloat(value, 64)
	case "repeat":
		s.Repeat, err = strconv.Atoi(value)
	case "drop":
		s.Drop, err = strconv.ParseFloat(value, 64)
	case "seed":
		s.Seed, err = strconv.ParseUint(value, 10, 64)
	}
	if err != nil {
		return d.Errf("%s: %v", name, err)
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Simulator)(nil)
