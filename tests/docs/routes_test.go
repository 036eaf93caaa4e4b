package docs

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// handler is one of a route.
type handler struct {
	Handler string `json:"handler"`

	Routes []route `json:"routes"` // of a subroute

	// of osa_signature
	Secrets []struct {
		ID        string `json:"id"`
		Value     string `json:"value"`
		NotBefore string `json:"not_before"`
		NotAfter  string `json:"not_after"`
	} `json:"secrets"`
	// only are the methods that the handler's matcher names; empty: all.
	only []string

	// of osa_auth
	Providers []string  `json:"providers"`
	Anonymous *struct{} `json:"anonymous"`

	Permissions []string `json:"permissions"` // of osa_require

	PathPrefix   string          `json:"path_prefix"` // of osa_events and osa_diagnostics
	MaxBody      int64           `json:"max_body"`    // of osa_guard
	ContentTypes []string        `json:"content_types"`
	StatusCode   json.RawMessage `json:"status_code"` // of error and respond
}

type route struct {
	Match []struct {
		Path   []string `json:"path"`
		Method []string `json:"method"`
	} `json:"match"`
	Handle []handler `json:"handle"`
}

// leaf is a handler that answers, and those before it.
type leaf struct {
	site, path string
	methods    []string // empty: all
	before     []handler
	handler
	// shaped: errors leave in our shape.
	shaped bool
}

func (l leaf) String() string {
	var names []string
	for _, h := range l.before {
		names = append(names, h.Handler)
	}
	return strings.ReplaceAll(strings.Join(append(names, l.Handler), "→")+l.path, "/", "_")
}

// has is the last handler of that name before the leaf.
func (l leaf) has(name string) *handler {
	for i := len(l.before) - 1; i >= 0; i-- {
		if l.before[i].Handler == name {
			return &l.before[i]
		}
	}
	return nil
}

// middleware pass requests on.
var middleware = []string{"osa_guard", "osa_auth", "osa_require", "osa_signature", "headers", "encode", "vars", "request_body", "log_append"}

// leaves are all of the snippet's.
func (r *running) leaves(t *testing.T) (all []leaf) {
	t.Helper()
	var config struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Listen []string `json:"listen"`
					Routes []route  `json:"routes"`
					Errors struct {
						Routes []route `json:"routes"`
					} `json:"errors"`
				} `json:"servers"`
			} `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(r.adapted(t), &config); err != nil {
		t.Fatal(err)
	}
	for _, srv := range config.Apps.HTTP.Servers {
		_, port, _ := strings.Cut(r.Addr, ":")
		if slices.ContainsFunc(srv.Listen, func(s string) bool { return strings.HasSuffix(s, ":"+port) }) {
			continue // ours
		}
		errors, _ := json.Marshal(srv.Errors)
		l := leaf{site: "http://" + strings.TrimPrefix(srv.Listen[0], "tcp/"), shaped: strings.Contains(string(errors), "osa_error")}
		all = append(all, walk(t, srv.Routes, l)...)
	}
	return all
}

// walk follows routes in their order; at is what has been met on the way.
func walk(t *testing.T, routes []route, at leaf) (all []leaf) {
	t.Helper()
	for _, r := range routes {
		here := at
		here.before = slices.Clone(at.before)
		for _, m := range r.Match {
			if len(m.Path) > 0 {
				here.path = m.Path[0]
			}
			if len(m.Method) > 0 {
				here.methods = m.Method
			}
		}
		for _, h := range r.Handle {
			switch {
			case h.Handler == "subroute":
				inner := here
				all = append(all, walk(t, h.Routes, inner)...)
			case slices.Contains(middleware, h.Handler):
				for _, m := range r.Match {
					h.only = m.Method
				}
				here.before = append(here.before, h)
				if len(r.Match) == 0 || len(r.Match[0].Path) == 0 { // holds for the routes that follow, too
					at.before = append(at.before, h)
				}
			default:
				l := here
				l.before = slices.Clone(here.before)
				l.handler = h
				all = append(all, l)
			}
		}
	}
	return all
}
