package auth

import (
	"net/http"
	"net/url"
	"strings"
)

// maxCredential bounds what is hashed or decoded for somebody unknown.
const maxCredential = 8 << 10

// bearerBytes are what a b64token consists of (RFC 6750 §2.1).
var bearerBytes = func() (t [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/" {
		t[c] = true
	}
	return t
}()

// bearer returns the credential of `Authorization: Bearer <b64token>`. Two
// headers are refused, because somebody else might look at the other one.
func bearer(h http.Header) (string, error) {
	values := h["Authorization"]
	switch {
	case len(values) == 0:
		return "", Missing
	case len(values) > 1:
		return "", MultipleHeaders
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		if values[0] == "" {
			return "", Missing
		}
		return "", NotBearer
	}
	if !ok || !isToken(token) {
		return "", Malformed
	}
	return token, nil
}

func isToken(s string) bool {
	body := strings.TrimRight(s, "=")
	if body == "" || len(s) > maxCredential {
		return false
	}
	for i := range len(body) {
		if !bearerBytes[body[i]] {
			return false
		}
	}
	return true
}

// queryCredentials are names that credentials are sent under in queries, in small
// letters and without - and _.
var queryCredentials = map[string]bool{
	"token": true, "accesstoken": true, "authtoken": true, "idtoken": true, "bearertoken": true, "apitoken": true,
	"apikey": true, "xapikey": true, "key": true, "accesskey": true, "apisecret": true, "secret": true, "clientsecret": true,
	"authorization": true, "auth": true, "jwt": true, "bearer": true, "credential": true, "credentials": true,
	"password": true, "passwd": true, "sessionid": true, "session": true, "sig": true, "signature": true,
}

var withoutSeparators = strings.NewReplacer("_", "", "-", "")

// inQuery reports whether the query has a parameter with the name of a credential.
func inQuery(query string) bool {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(name); err == nil {
			name = decoded
		}
		if queryCredentials[withoutSeparators.Replace(strings.ToLower(name))] {
			return true
		}
	}
	return false
}
