package osa

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Defaults of BaseURL and OPAL.
const (
	DefaultBaseURL          = "{env.BASE_URL}"
	DefaultOPALWebhookURL   = "{env.OPAL_WEBHOOK_URL}"
	DefaultOPALAuthKey      = "{env.OPAL_STRATEGY_WORKFLOW_AUTH_KEY}"
	DefaultOPALWorkspace    = "{env.OPAL_WORKSPACE_ID}"
	DefaultOPALCallbackPath = "/api/webhooks/opal-workflow"
	DefaultOPALRunTimeout   = 10 * time.Minute
)

// OPAL configures how the gateway and the OPAL platform reach each other. What is
// missing does not keep the gateway from starting: the handlers that need it report it.
type OPAL struct {
	// WebhookURL is where OPAL takes triggers; default {env.OPAL_WEBHOOK_URL}.
	WebhookURL string `json:"webhook_url,omitempty"`
	// AuthKey is the bearer key for WebhookURL; default
	// {env.OPAL_STRATEGY_WORKFLOW_AUTH_KEY}.
	AuthKey string `json:"auth_key,omitempty"`
	// Workspace is the workspace that runs belong to; default {env.OPAL_WORKSPACE_ID}.
	Workspace string `json:"workspace,omitempty"`
	// CallbackPath is the path of the gateway where OPAL sends its webhooks; default
	// /api/webhooks/opal-workflow.
	CallbackPath string `json:"callback_path,omitempty"`
	// RunTimeout ends a run of a workflow whose end OPAL does not report; default 10m.
	RunTimeout caddy.Duration `json:"run_timeout,omitempty"`
}

// maxRunTimeout is the longest RunTimeout.
const maxRunTimeout = 24 * time.Hour

// BaseURL returns the URL by which OPAL and clients reach the gateway, without a slash
// at the end. It is empty if none is configured, and may be invalid.
func (a *App) BaseURL() string { return a.baseURL }

// OPAL returns the configuration of OPAL, with defaults set and placeholders expanded.
// Its values may be empty or invalid.
func (a *App) OPAL() OPAL { return a.opal }

// provisionOPAL sets defaults and expands placeholders.
func (a *App) provisionOPAL(repl *caddy.Replacer) {
	expand := func(value, fallback string) string {
		if value == "" {
			value = fallback
		}
		return strings.TrimSpace(repl.ReplaceAll(value, ""))
	}
	if a.OPALConfig != nil {
		a.opal = *a.OPALConfig
	}
	o := &a.opal
	a.baseURL = strings.TrimRight(expand(a.BaseURLConfig, DefaultBaseURL), "/")
	o.WebhookURL = expand(o.WebhookURL, DefaultOPALWebhookURL)
	o.AuthKey = expand(o.AuthKey, DefaultOPALAuthKey)
	o.Workspace = expand(o.Workspace, DefaultOPALWorkspace)
	o.CallbackPath = expand(o.CallbackPath, DefaultOPALCallbackPath)
	if o.RunTimeout == 0 {
		o.RunTimeout = caddy.Duration(DefaultOPALRunTimeout)
	}
}

// validateOPAL checks what is a setting of the gateway itself.
func (a *App) validateOPAL() error {
	var errs []error
	if path := a.opal.CallbackPath; !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?# ") {
		errs = append(errs, fmt.Errorf("opal: callback_path is %q; it must be a path that begins with /", path))
	}
	if d := time.Duration(a.opal.RunTimeout); d < time.Second || d > maxRunTimeout {
		errs = append(errs, fmt.Errorf("opal: run_timeout is %v; it must be from 1s to 24h", d))
	}
	return errors.Join(errs...)
}

// unmarshalOPAL parses the block `opal`.
func (a *App) unmarshalOPAL(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	o := new(OPAL)
	a.OPALConfig = o
	texts := map[string]*string{
		"webhook_url": &o.WebhookURL, "auth_key": &o.AuthKey, "workspace": &o.Workspace, "callback_path": &o.CallbackPath,
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if seen[name] {
			return d.Errf("%s was already given", name)
		}
		seen[name] = true
		text, isText := texts[name]
		if !isText && name != "run_timeout" {
			return d.Errf("unknown option %q of opal: want webhook_url, auth_key, workspace, callback_path or run_timeout", name)
		}
		var value string
		if !d.AllArgs(&value) {
			return d.ArgErr()
		}
		if isText {
			*text = value
			continue
		}
		timeout, err := caddy.ParseDuration(value)
		if err != nil {
			return d.Errf("run_timeout: %v", err)
		}
		o.RunTimeout = caddy.Duration(timeout)
	}
	return nil
}
