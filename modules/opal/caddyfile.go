package opal

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ParseCaddyfile parses the directive osa_sync.
func ParseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	s := new(Sync)
	if err := s.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return s, nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	osa_sync {
//	    webhook_url   <url>        # default {env.OPAL_WEBHOOK_URL}
//	    auth_key      <key>        # default {env.OPAL_STRATEGY_WORKFLOW_AUTH_KEY}
//	    workspace_id  <id>         # default {env.OPAL_WORKSPACE_ID}
//	    base_url      <url>        # default {env.BASE_URL}
//	    callback_path <path>       # default /api/webhooks/opal-workflow
//	    answer_after  <duration>   # default 1.5s
//	    run_timeout   <duration>   # default 10m
//	}
//
// Everything is optional. POST needs an authenticated caller: osa_auth stands in
// front of it.
func (s *Sync) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	texts := map[string]*string{
		"webhook_url": &s.WebhookURL, "auth_key": &s.AuthKey, "workspace_id": &s.WorkspaceID,
		"base_url": &s.BaseURL, "callback_path": &s.CallbackPath,
	}
	durations := map[string]*caddy.Duration{"answer_after": &s.AnswerAfter, "run_timeout": &s.RunTimeout}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		name := d.Val()
		if seen[name] {
			return d.Errf("%s was already given", name)
		}
		seen[name] = true
		text, isText := texts[name]
		duration, isDuration := durations[name]
		if !isText && !isDuration {
			return d.Errf("unknown option %q of osa_sync: want webhook_url, auth_key, workspace_id, base_url, callback_path, answer_after or run_timeout", name)
		}
		var value string
		if !d.AllArgs(&value) {
			return d.ArgErr()
		}
		if isText {
			*text = value
			continue
		}
		parsed, err := caddy.ParseDuration(value)
		if err != nil {
			return d.Errf("%s: %v", name, err)
		}
		*duration = caddy.Duration(parsed)
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Sync)(nil)
