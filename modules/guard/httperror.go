package guard

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// statuses are the codes and messages of the statuses that the API guide names. The code of
// other statuses is made from their HTTP status text.
var statuses = map[int]struct{ code, message string }{
	http.StatusBadRequest:            {httperror.CodeValidationFailed, "Request validation failed"},
	http.StatusUnauthorized:          {httperror.CodeUnauthenticated, "Invalid or missing authentication credentials"},
	http.StatusForbidden:             {httperror.CodeAccessDenied, "Insufficient permissions for this operation"},
	http.StatusNotFound:              {httperror.CodeNotFound, "The requested resource was not found"},
	http.StatusMethodNotAllowed:      {httperror.CodeMethodNotAllowed, "The resource does not support this method"},
	http.StatusRequestTimeout:        {httperror.CodeRequestTimeout, "The request did not arrive in time"},
	http.StatusConflict:              {httperror.CodeConflict, "The request conflicts with the state of the resource"},
	http.StatusPreconditionFailed:    {httperror.CodePrecondition, "The resource was changed meanwhile"},
	http.StatusRequestEntityTooLarge: {httperror.CodePayloadTooLarge, "The request body is larger than this route accepts"},
	http.StatusUnsupportedMediaType:  {httperror.CodeUnsupportedMedia, "The request body has a content type that this route does not accept"},
	http.StatusMisdirectedRequest:    {httperror.CodeMisdirected, "This gateway does not serve the host that the request names"},
	http.StatusTooManyRequests:       {httperror.CodeRateLimited, "Request rate limit exceeded"},
	499:                              {"client_closed_request", "The client closed the request"},
	http.StatusInternalServerError:   {httperror.CodeInternal, "An unexpected error occurred"},
	http.StatusBadGateway:            {httperror.CodeUpstream, "External service unavailable"},
	http.StatusServiceUnavailable:    {httperror.CodeUnavailable, "Service temporarily unavailable"},
	http.StatusGatewayTimeout:        {httperror.CodeTimeout, "Operation timed out"},
}

// httpErrorOf returns the HTTP error of an error that a handler returned. Of errors of
// other modules, such as reverse_proxy, the client gets the status only: the text may name
// upstream addresses.
func httpErrorOf(err error) httperror.Error {
	if p, ok := errors.AsType[*httperror.Error](err); ok {
		return *p
	}
	if over, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return httperror.Error{Status: http.StatusRequestEntityTooLarge, Members: map[string]any{"max_bytes": over.Limit}}
	}
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return httperror.Error{Status: he.StatusCode}
	}
	return httperror.Error{Status: http.StatusInternalServerError}
}

// complete adds the code, message, members and headers that every error of the status has.
func (e *Error) complete(p httperror.Error, r *http.Request) *httperror.Error {
	if p.Status < 400 || p.Status > 599 {
		p.Status = http.StatusInternalServerError
	}
	std, known := statuses[p.Status]
	if !known {
		std.message = http.StatusText(p.Status)
		std.code = strings.ReplaceAll(strings.ToLower(std.message), " ", "_")
		if std.code == "" {
			std.code, std.message = "error", "The request failed"
		}
	}
	if p.Code == "" {
		p.Code = std.code
	}
	if p.Message == "" {
		p.Message = std.message
	}
	members := make(map[string]any, len(p.Members)+2)
	if p.Code == std.code {
		e.addMembers(members, p.Status, r)
	}
	maps.Copy(members, p.Members)
	if p.Status == http.StatusInternalServerError && members["error_id"] == nil {
		members["error_id"] = newID("err_")
	}
	p.Members = members

	p.Header = maps.Clone(p.Header)
	if p.Header == nil {
		p.Header = make(http.Header)
	}
	switch p.Status {
	case http.StatusUnauthorized:
		setDefault(p.Header, "Www-Authenticate", `Bearer realm="osa"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		setDefault(p.Header, "Retry-After", "1")
	}
	return &p
}

func setDefault(h http.Header, name, value string) {
	if h.Get(name) == "" {
		h.Set(name, value)
	}
}

// addMembers adds the members of the API guide's section on status codes, for errors of
// handlers that do not set them.
func (e *Error) addMembers(m map[string]any, status int, r *http.Request) {
	switch status {
	case http.StatusBadRequest:
		m["details"] = []httperror.Invalid{}
	case http.StatusUnauthorized:
		m["auth_methods"] = []string{}
	case http.StatusForbidden:
		m["required_permissions"], m["current_permissions"] = []string{}, []string{}
	case http.StatusNotFound:
		m["resource_type"], m["resource_id"] = "route", r.URL.Path
	case http.StatusInternalServerError:
		m["support_contact"] = nil
		if e.SupportContact != "" {
			m["support_contact"] = e.SupportContact
		}
	case http.StatusBadGateway:
		m["service_name"] = e.ServiceName
		m["retry_suggestions"] = []string{
			"Try again with exponential backoff",
			"Do not repeat a request that changes something before its outcome is known",
		}
	case http.StatusServiceUnavailable:
		m["maintenance"] = nil
	case http.StatusGatewayTimeout:
		m["timeout_details"] = map[string]any{
			"operation_type":        "upstream_request",
			"timeout_duration_ms":   time.Since(osa.ReceivedAt(r)).Milliseconds(),
			"retry_recommendations": []string{"Try again with exponential backoff", "Ask for less in one request"},
		}
	}
}
