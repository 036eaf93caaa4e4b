package client

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/osa-edge/osa-gateway/internal/network"
	"github.com/osa-edge/osa-gateway/signature"
)

// MaxIDLength is the longest id of a workflow, an agent or a workspace, in characters.
const MaxIDLength = 256

// IsID reports whether s can be the id of a workflow, an agent or a workspace: 1 to
// MaxIDLength characters, no control characters.
func IsID(s string) bool {
	return s != "" && utf8.RuneCountInString(s) <= MaxIDLength && !strings.ContainsFunc(s, unicode.IsControl)
}

// CheckURL checks a configured URL and returns its host. With secure it must be https,
// unless its host is this machine. No error contains the URL: its path may name accounts.
func CheckURL(raw string, secure bool) (host string, err error) {
	if raw == "" {
		return "", fmt.Errorf("is not set")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("is not a URL")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("must begin with https:// or http://")
	case u.Hostname() == "" || strings.ContainsAny(u.Hostname(), "<>{} "):
		return "", fmt.Errorf("names no host")
	case u.User != nil:
		return u.Host, fmt.Errorf("must not contain credentials")
	case u.Fragment != "":
		return u.Host, fmt.Errorf("must not contain a fragment")
	case strings.ContainsAny(u.Path, "<>{}"):
		return u.Host, fmt.Errorf("still contains a placeholder")
	case secure && u.Scheme != "https" && !network.IsLoopback(u.Hostname()):
		return u.Host, fmt.Errorf("must be https: the key would cross the network in the clear")
	}
	return u.Host, nil
}

// CheckKey checks a configured key of OPAL. No error contains the key.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("is not set")
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return fmt.Errorf("contains characters that cannot stand in a header")
		}
	}
	if err := signature.CheckSecret("it", key); err != nil {
		// The rest of the error says how to make a secret. This one is issued by OPAL.
		reason, _, _ := strings.Cut(err.Error(), ";")
		return fmt.Errorf("is refused: %s; use the key that OPAL issued", reason)
	}
	return nil
}
