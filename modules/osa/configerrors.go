package osa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/internal/strictjson"
)

// handlerPrefix is what the names of this gateway's handlers begin with.
const handlerPrefix = "osa_"

// collecting marks the context in which ConfigErrors loads the other handlers.
type collecting struct{}

// ConfigErrors adds to a handler's error what is wrong with every other handler
// of this gateway. Caddy loads one module after the other and stops at the first
// error, so that somebody who lacks five variables would need five starts to
// hear of them. A handler calls it with what its Provision or Validate found:
//
//	func (h *Handler) Validate() error { return osa.ConfigErrors(h.ctx, h.validate()) }
//
// No error costs nothing. After one, the configuration has failed, and the
// handlers that Caddy has not come to yet are loaded only to hear what they say.
func ConfigErrors(ctx caddy.Context, err error) error {
	if err == nil || ctx.Context == nil || ctx.Value(collecting{}) != nil {
		return err
	}
	i := slices.IndexFunc(ctx.Modules(), func(m caddy.Module) bool { _, ok := m.(*caddyhttp.App); return ok })
	if i < 0 {
		return err
	}
	c := collector{ctx: ctx, seen: make(map[string]bool)}
	c.report(err)
	c.osa()
	c.app(ctx.Modules()[i].(*caddyhttp.App))
	if len(c.problems) < 2 {
		return err
	}
	return fmt.Errorf("%d problems keep this gateway from starting:\n  - %s", len(c.problems), strings.Join(c.problems, "\n  - "))
}

// allProblems is ConfigErrors for the app. Caddy may come to it before it comes to
// the handlers, which then say what is wrong with the app too.
func (a *App) allProblems(err error) error {
	a.problems = err
	if err == nil || a.ctx.Context == nil || a.ctx.Value(collecting{}) != nil {
		return nil // nothing, or a collector is about to ask
	}
	err = fmt.Errorf("osa: %w", err)
	if slices.ContainsFunc(a.ctx.Modules(), func(m caddy.Module) bool { _, ok := m.(*caddyhttp.App); return ok }) {
		a.told = true
		return ConfigErrors(a.ctx, err)
	}
	if _, others := a.ctx.App("http"); others != nil && a.told {
		return others
	}
	return err
}

type collector struct {
	ctx      caddy.Context
	seen     map[string]bool // handlers and problems
	problems []string
}

func (c *collector) app(app *caddyhttp.App) {
	outer := c.ctx.Context
	defer func() { c.ctx.Context = outer }()
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		srv := app.Servers[name]
		c.ctx.Context = context.WithValue(context.WithValue(outer, collecting{}, true), caddyhttp.ServerCtxKey, srv)
		c.routes(srv.Routes)
		if srv.Errors != nil {
			c.routes(srv.Errors.Routes)
		}
		for _, route := range srv.NamedRoutes {
			c.routes(caddyhttp.RouteList{*route})
		}
	}
}

// osa has the app say what is wrong with it, unless it was the one that asked.
func (c *collector) osa() {
	ctx := c.ctx
	ctx.Context = context.WithValue(ctx.Context, collecting{}, true)
	app, err := ctx.App("osa")
	if err != nil {
		c.report(err)
		return
	}
	if a, ok := app.(*App); ok && a.problems != nil && !a.told {
		a.told = true
		c.report(fmt.Errorf("osa: %w", a.problems))
	}
}

// routes looks at what is still raw: Caddy drops the JSON of handlers that it
// has loaded, and those are in order.
func (c *collector) routes(routes caddyhttp.RouteList) {
	for _, route := range routes {
		for _, raw := range route.HandlersRaw {
			var v any
			if strictjson.Unmarshal(raw, &v) == nil {
				c.walk(v)
			}
		}
	}
}

// walk finds our handlers wherever they stand, in subroutes and in handlers of
// other plugins.
func (c *collector) walk(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			c.walk(e)
		}
	case map[string]any:
		if name, ok := v["handler"].(string); ok && strings.HasPrefix(name, handlerPrefix) {
			c.load(name, v)
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			c.walk(v[key])
		}
	}
}

// load has the handler say what is wrong with it. A snippet imported ten times
// is heard once.
func (c *collector) load(name string, config map[string]any) {
	delete(config, "handler")
	raw, err := json.Marshal(config)
	if err != nil || c.seen[name+string(raw)] {
		return
	}
	c.seen[name+string(raw)] = true
	id := "http.handlers." + name
	if _, err := c.ctx.LoadModuleByID(id, raw); err != nil {
		text := err.Error()
		for _, prefix := range []string{id + ": invalid configuration: ", "provision " + id + ": "} {
			text = strings.TrimPrefix(text, prefix)
		}
		c.report(errors.New(text))
	}
}

// report takes joined errors, one a line, apart. A module names itself on the
// first line only.
func (c *collector) report(err error) {
	self := ""
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(line)
		if name, _, ok := strings.Cut(line, ": "); ok && (strings.HasPrefix(name, handlerPrefix) || name == "osa") {
			self = name
		} else if self != "" {
			line = self + ": " + line
		}
		if line != "" && !c.seen[line] {
			c.seen[line] = true
			c.problems = append(c.problems, line)
		}
	}
}
