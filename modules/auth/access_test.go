package auth_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/internal/chaintest"
	"github.com/osa-edge/osa-gateway/internal/osatest"
	"github.com/osa-edge/osa-gateway/modules/auth"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

func init() { chaintest.Register("osa_require", auth.ParseRequire) }

const keys = `
	key {
		pepper {env.AUTH_TEST_PEPPER}
		file {env.AUTH_TEST_KEYS}
		record inline {env.AUTH_TEST_HASH} {
			permissions events:read opal:read
		}
	}
	jwt {
		public_key {env.AUTH_TEST_PEM}
	}`

func bearerOf(credential string) http.Header {
	if credential == "" {
		return nil
	}
	return http.Header{"Authorization": {"Bearer " + credential}}
}

// TestAnonymous: requests without credentials are let in where the configuration
// says so, as a principal that may read and nothing more. Whoever shows a credential
// is judged by it.
func TestAnonymous(t *testing.T) {
	_, c := start(t)
	t.Setenv("AUTH_TEST_WORKSPACE", "ws-open")
	chaintest.Handle("ask", func(w http.ResponseWriter, r *http.Request) error {
		p, workspace, err := osa.RequireWorkspace(r, osa.PermEventsRead)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(w, p.Method, " ", workspace, " ", strings.Join(osa.RequiredOf(r), "+"))
		return err
	})
	s := chaintest.StartWith(t, app(t, keys), `
		route {
			osa_guard
			@alone path /alone
			osa_auth @alone {
				anonymous {env.AUTH_TEST_WORKSPACE} events:read
			}
			@before path /before
			osa_auth @before {
				anonymous ws-open events:read
			}
			osa_auth @before key
			@both path /both
			osa_auth @both key {
				anonymous ws-open events:read
			}
			@all path /all
			osa_auth @all {
				anonymous ws-open events:read workspace:*
			}
			@other path /other
			osa_auth @other {
				anonymous ws-open opal:read
			}
			@guarded path /guarded
			osa_auth @guarded {
				anonymous ws-open events:read
			}
			osa_require @guarded opal:read
			probe ask
		}
		handle_errors {
			osa_error
		}`)
	for _, tt := range []struct {
		path, credential string
		status           int
		body             string
	}{
		{"/alone", "", 200, "anonymous ws-open events:read"},
		{"/alone", c.reader, 401, ""}, // nobody here looks at credentials
		{"/before", "", 200, "anonymous ws-open events:read"},
		{"/before", c.reader, 200, "api_key ws-r events:read"},
		{"/before", auth.NewKey(), 401, ""},
		{"/before", "x", 401, ""},
		{"/both", "", 200, "anonymous ws-open events:read"},
		{"/both", c.reader, 200, "api_key ws-r events:read"},
		{"/both", c.ended, 401, ""},
		{"/all", "", 200, "anonymous  events:read"},
		{"/other", "", 403, ""},
		{"/guarded", "", 403, ""},
		{"/nobody", "", 401, ""},
		{"/nobody", c.reader, 401, ""},
	} {
		r := s.Send("GET", tt.path, bearerOf(tt.credential), nil)
		if r.StatusCode != tt.status || tt.body != "" && r.Body != tt.body {
			t.Errorf("%s with %.12q: %d %s, want %d %s", tt.path, tt.credential, r.StatusCode, r.Body, tt.status, tt.body)
		}
		if tt.status == 401 && r.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: a 401 without a challenge", tt.path)
		}
	}
	// A body of somebody unknown is not read for them.
	if r := s.Send("POST", "/alone", http.Header{"Content-Type": {"application/json"}}, strings.NewReader("{}")); r.StatusCode != 200 {
		t.Errorf("with a body: %d %s", r.StatusCode, r.Body)
	}
}

// TestRequire: osa_require guards what knows nothing of permissions.
func TestRequire(t *testing.T) {
	_, c := start(t)
	chaintest.Handle("work", func(w http.ResponseWriter, r *http.Request) error {
		_, err := fmt.Fprint(w, strings.Join(osa.RequiredOf(r), "+"))
		return err
	})
	s := chaintest.StartWith(t, app(t, keys), `
		route {
			osa_guard
			@known not path /nobody
			osa_auth @known key jwt
			@one path /one
			osa_require @one events:read
			@two path /two /nobody
			osa_require @two events:read opal:read
			@twice path /twice
			osa_require @twice events:read
			osa_require @twice opal:read
			probe work
		}
		handle_errors {
			osa_error
		}`)
	for _, tt := range []struct {
		path, credential string
		status           int
		body             string
	}{
		{"/one", c.reader, 200, "events:read"},
		{"/one", c.admin, 200, "events:read"},
		{"/one", "", 401, ""},
		{"/two", c.inline, 200, "events:read+opal:read"},
		{"/two", c.reader, 403, `"required_permissions":["events:read","opal:read"]`},
		{"/twice", c.inline, 200, "events:read+opal:read"},
		{"/twice", c.reader, 403, `"required_permissions":["opal:read"]`},
		{"/nobody", c.inline, 401, ""},
		{"/free", c.reader, 200, ""},
	} {
		r := s.Send("GET", tt.path, bearerOf(tt.credential), nil)
		if r.StatusCode != tt.status || tt.status == 200 && r.Body != tt.body || !strings.Contains(r.Body, tt.body) {
			t.Errorf("%s with %.12q: %d %s, want %d %s", tt.path, tt.credential, r.StatusCode, r.Body, tt.status, tt.body)
		}
	}
	if n := chaintest.Counter(t, `osa_auth_rejected_total{method="api_key",reason="lacks_permission"}`); n < 2 {
		t.Errorf("%v refusals for a permission are counted", n)
	}
	for _, tt := range []struct{ site, want string }{
		{"osa_require events:reed", `osa_require: unknown permission "events:reed"; there are events:read`},
		{"osa_require events:*", `osa_require: unknown permission "events:*"`},
		{"osa_auth {\n anonymous {env.AUTH_TEST_UNSET} events:read\n}", "osa_auth: anonymous (environment variable AUTH_TEST_UNSET) does not name a workspace"},
		{"osa_auth {\n anonymous acme opal:trigger\n}", `osa_auth: anonymous: callers without credentials cannot have "opal:trigger"; they can have events:read`},
		{"osa_auth {\n anonymous acme *\n}", `cannot have "*"`},
	} {
		_, err := chaintest.LoadWith(t, app(t, keys), tt.site)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want it to say %s", tt.site, err, tt.want)
		}
	}
	g := osatest.New(t, nil)
	if _, err := g.Load("http.handlers.osa_require", map[string]any{}); err == nil || !strings.Contains(err.Error(), "no permission is named") {
		t.Errorf("without a permission: %v", err)
	}
	if _, err := g.Load("http.handlers.osa_auth", map[string]any{"anonymous": map[string]any{"workspace": "acme"}}); err == nil ||
		!strings.Contains(err.Error(), "anonymous: no permission is named") {
		t.Errorf("anonymous without a permission: %v", err)
	}
}
