package opal

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/osa-edge/osa-gateway/internal/network"
	"github.com/osa-edge/osa-gateway/signature"
)

// WorkflowName is the one workflow that may be triggered: the documents permit
// no other.
const WorkflowName = "strategy_workflow"

// Agents are the agents that strategy_workflow runs unless OPAL says otherwise
// (docs/api.md §6).
var Agents = []string{
	"experiment_blueprinter", "audience_suggester", "content_review",
	"roadmap_generator", "integration_health", "personalization_idea_generator",
	"cmp_organizer", "customer_journey", "geo_audit",
}

// Settings are what Force Sync must know, with placeholders expanded. They may be
// wrong: only Force Sync needs them, and it reports what is wrong (docs/api.md §2.22).
type Settings struct {
	WebhookURL  string
	AuthKey     string
	WorkspaceID string
	BaseURL     string
	// CallbackPath is where on BaseURL OPAL sends its callbacks.
	CallbackPath string
	// Production asks for HTTPS on the way to OPAL.
	Production bool
}

// Setting is the state of one of the settings. It shows no more of the value
// than its host.
type Setting struct {
	// Variable is the environment variable of the documents.
	Variable   string `json:"variable"`
	Configured bool   `json:"configured"`
	Valid      bool   `json:"valid"`
	// Host is a URL's host: its path may name accounts and hooks.
	Host string `json:"host,omitempty"`
}

// Report is what is configured and everything that is wrong with it.
type Report struct {
	Valid    bool               `json:"valid"`
	Settings map[string]Setting `json:"settings"`
	Problems []string           `json:"problems"`
}

// Report checks the settings.
func (s *Settings) Report() Report {
	r := Report{Settings: make(map[string]Setting, 4), Problems: []string{}}
	add := func(name, variable, value, host string, problem error) {
		r.Settings[name] = Setting{Variable: variable, Configured: value != "", Valid: problem == nil, Host: host}
		if problem != nil {
			r.Problems = append(r.Problems, fmt.Sprintf("%s (%s) %v", name, variable, problem))
		}
	}
	host, err := checkURL(s.WebhookURL, s.Production)
	add("webhook_url", "OPAL_WEBHOOK_URL", s.WebhookURL, host, err)
	add("auth_key", "OPAL_STRATEGY_WORKFLOW_AUTH_KEY", s.AuthKey, "", checkKey(s.AuthKey))
	add("workspace_id", "OPAL_WORKSPACE_ID", s.WorkspaceID, "", checkWorkspace(s.WorkspaceID))
	host, err = checkURL(s.BaseURL, false)
	add("base_url", "BASE_URL", s.BaseURL, host, err)
	r.Valid = len(r.Problems) == 0
	return r
}

// CallbackURL is where OPAL sends its callbacks.
func (s *Settings) CallbackURL() string {
	return strings.TrimRight(s.BaseURL, "/") + s.CallbackPath
}

// checkURL returns the host, or what is wrong with the URL. The URL itself is
// never part of an error.
func checkURL(raw string, secure bool) (host string, err error) {
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

func checkKey(key string) error {
	if key == "" {
		return fmt.Errorf("is not set")
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return fmt.Errorf("contains characters that cannot stand in a header")
		}
	}
	if err := signature.CheckSecret("it", key); err != nil {
		// What follows the semicolon says how to make a secret; this one is OPAL's.
		reason, _, _ := strings.Cut(err.Error(), ";")
		return fmt.Errorf("is refused: %s; use the key that OPAL issued", reason)
	}
	return nil
}

func checkWorkspace(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("is not set")
	case strings.ContainsAny(id, "<>{}") || strings.HasPrefix(id, "your-"):
		return fmt.Errorf("is still a placeholder")
	case !isID(id):
		return fmt.Errorf("must be 1 to 256 characters without control characters")
	}
	return nil
}
