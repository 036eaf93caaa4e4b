package osa

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/dustin/go-humanize"
)

// ParseGlobalOption parses the global option `osa`.
func ParseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("the osa option was already given")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "osa", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile sets up the app from Caddyfile tokens. Syntax:
//
//	osa {
//	    storage         <engine> [{
//	        <engine's options>
//	    }]
//	    retention       <duration>
//	    queue_events    <number>
//	    queue_bytes     <size>
//	    open_timeout    <duration>
//	    max_connections <number>
//	    environment     production|development
//	    base_url        <url>
//	    opal {
//	        webhook_url   <url>
//	        auth_key      <key>
//	        workspace     <id>
//	        callback_path <path>
//	        run_timeout   <duration>
//	    }
//	    auth {
//	        <provider> [<name>] {
//	            <provider's options>
//	        }
//	    }
//	}
//
// A provider's name is its module's, unless another one is given.
//
// Everything is optional: without it, the log is kept by badger in Caddy's data
// directory for 30 days.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // option name
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
		if unmarshal, ok := map[string]func(*caddyfile.Dispenser) error{
			"storage": a.unmarshalStorage, "auth": a.unmarshalAuth, "opal": a.unmarshalOPAL,
		}[name]; ok {
			if err := unmarshal(d); err != nil {
				return err
			}
			continue
		}
		if !d.NextArg() {
			return d.ArgErr()
		}
		value := d.Val()
		if d.NextArg() {
			return d.ArgErr()
		}
		if err := a.unmarshalValue(d, name, value); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) unmarshalStorage(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	engine := d.Val()
	mod, err := caddyfile.UnmarshalModule(d, "osa.storage."+engine)
	if err != nil {
		return err
	}
	a.StorageRaw = caddyconfig.JSONModuleObject(mod, "engine", engine, nil)
	return nil
}

func (a *App) unmarshalValue(d *caddyfile.Dispenser, name, value string) error {
	switch name {
	case "retention", "open_timeout":
		dur, err := caddy.ParseDuration(value)
		if err != nil {
			return d.Errf("%s: %v", name, err)
		}
		if name == "retention" {
			a.Retention = caddy.Duration(dur)
		} else {
			a.OpenTimeout = caddy.Duration(dur)
		}
	case "queue_events", "max_connections":
		n, err := strconv.Atoi(value)
		if err != nil {
			return d.Errf("%s: %q is not a number", name, value)
		}
		if n < 1 {
			return d.Errf("%s is %d; it must be positive", name, n)
		}
		if name == "queue_events" {
			a.QueueEvents = n
		} else {
			a.MaxConnections = n
		}
	case "queue_bytes":
		n, err := humanize.ParseBytes(value)
		if err != nil {
			return d.Errf("queue_bytes: %v", err)
		}
		a.QueueBytes = int64(n)
	case "environment":
		a.Environment = value
	case "base_url":
		a.BaseURLConfig = value
	default:
		return d.Errf("unknown option %q of osa: want storage, retention, queue_events, queue_bytes, open_timeout, max_connections, environment, base_url, opal or auth", name)
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*App)(nil)
