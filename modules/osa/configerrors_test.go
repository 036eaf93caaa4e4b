package osa_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/osa-edge/osa-gateway/modules/osa"
)

// needy is a handler that lacks things.
type needy struct {
	Lacks []string `json:"lacks,omitempty"`
	Early bool     `json:"early,omitempty"`
	ctx   caddy.Context
}

func init() { caddy.RegisterModule(new(needy)) }

func (*needy) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.osa_needy", New: func() caddy.Module { return new(needy) }}
}

func (n *needy) Provision(ctx caddy.Context) error {
	n.ctx = ctx
	if n.Early {
		return osa.ConfigErrors(ctx, errors.New("osa_needy: cannot even begin"))
	}
	return nil
}

func (n *needy) Validate() error {
	var errs []error
	for _, l := range n.Lacks {
		errs = append(errs, errors.New(l+" is missing"))
	}
	if errs == nil {
		return nil
	}
	return osa.ConfigErrors(n.ctx, errors.Join(append([]error{errors.New("osa_needy: it is in need")}, errs...)...))
}

func (*needy) ServeHTTP(_ http.ResponseWriter, _ *http.Request, _ caddyhttp.Handler) error {
	return nil
}

func TestConfigErrors(t *testing.T) {
	const (
		good   = `{"handler":"osa_needy"}`
		first  = `{"handler":"osa_needy","lacks":["A","B"]}`
		nested = `{"handler":"subroute","routes":[{"handle":[{"handler":"headers"},{"handler":"subroute","routes":[{"handle":[{"handler":"osa_needy","lacks":["C"]}]}]}]}]}`
		early  = `{"handler":"osa_needy","early":true}`
		other  = `{"handler":"osa_needy","lacks":["D"]}`
	)
	tests := map[string]struct {
		routes, errors, second string
		want                   []string
	}{
		"none":               {routes: good},
		"alone":              {routes: good + "," + other, want: []string{"D is missing"}},
		"of one handler":     {routes: first, want: []string{"A is missing", "B is missing"}},
		"everywhere":         {routes: good + "," + first + "," + nested, errors: early, second: other, want: []string{"A", "B", "C", "cannot even begin", "D"}},
		"inside comes first": {routes: nested + "," + first, want: []string{"C is missing", "A is missing", "B is missing"}},
		"a snippet is heard once": {
			routes: first + "," + nested + "," + first + "," + first, want: []string{"A is missing", "B is missing", "C is missing"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			servers := `"a":{"listen":[":0"],"routes":[{"handle":[` + tt.routes + `]}],"errors":{"routes":[{"handle":[` + tt.errors + `]}]}}`
			if tt.second != "" {
				servers += `,"b":{"listen":[":1"],"routes":[{"handle":[` + tt.second + `]}]}`
			}
			var cfg caddy.Config
			if err := json.Unmarshal([]byte(`{"admin":{"disabled":true},"apps":{"http":{"servers":{`+servers+`}}}}`), &cfg); err != nil {
				t.Fatal(err)
			}
			err := caddy.Validate(&cfg)
			if tt.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if n := strings.Count(err.Error(), want); n != 1 {
					t.Errorf("%q stands %d times in:\n%v", want, n, err)
				}
			}
		})
	}
}
