package httperror_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/internal/httperror"
)

func TestErrors(t *testing.T) {
	cause := errors.New("cause")
	for _, tt := range []struct {
		err    *httperror.Error
		status int
		code   string
		header [2]string
		member string
	}{
		{httperror.ValidationFailed(httperror.Invalid{Field: "a", Message: "b"}), 400, httperror.CodeValidationFailed, [2]string{}, "details"},
		{httperror.Unauthenticated(`Bearer realm="osa"`, "jwt"), 401, httperror.CodeUnauthenticated, [2]string{"WWW-Authenticate", `Bearer realm="osa"`}, "auth_methods"},
		{httperror.AccessDenied([]string{"a"}, []string{"b"}), 403, httperror.CodeAccessDenied, [2]string{}, "required_permissions"},
		{httperror.NotFound("event", "evt_1"), 404, httperror.CodeNotFound, [2]string{}, "resource_id"},
		{httperror.MethodNotAllowed("x", "GET", "HEAD"), 405, httperror.CodeMethodNotAllowed, [2]string{"Allow", "GET, HEAD"}, ""},
		{httperror.Internal(cause), 500, httperror.CodeInternal, [2]string{}, ""},
		{httperror.Unavailable("x", 1500*time.Millisecond), 503, httperror.CodeUnavailable, [2]string{"Retry-After", "2"}, ""},
		{httperror.Unavailable("x", 0), 503, httperror.CodeUnavailable, [2]string{"Retry-After", "1"}, ""},
	} {
		if tt.err.Status != tt.status || tt.err.Code != tt.code || tt.err.Message == "" {
			t.Errorf("%+v, want %d %s", tt.err, tt.status, tt.code)
		}
		if name := tt.header[0]; name != "" && tt.err.Header.Get(name) != tt.header[1] {
			t.Errorf("%s: %s is %q, want %q", tt.code, name, tt.err.Header.Get(name), tt.header[1])
		}
		if tt.member != "" && tt.err.Members[tt.member] == nil {
			t.Errorf("%s lacks %s", tt.code, tt.member)
		}
		returned := tt.err.WithCause(cause).HandlerError()
		he, ok := errors.AsType[caddyhttp.HandlerError](returned)
		if !ok || he.StatusCode != tt.status || !errors.Is(returned, cause) {
			t.Errorf("%s: returned as %v", tt.code, returned)
		}
		if tt.err.Error() != tt.code+": cause" {
			t.Errorf("logged as %q", tt.err.Error())
		}
	}
	if text := (&httperror.Error{Status: http.StatusConflict, Code: "conflict", Message: "x"}).Error(); text != "conflict: x" {
		t.Errorf("%q", text)
	}
}
