package sync

import (
	"fmt"
	"strings"

	"github.com/osa-edge/osa-gateway/modules/opal/client"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// WorkflowName is the only workflow that may be triggered.
const WorkflowName = "strategy_workflow"

// Agents are the agents that strategy_workflow runs, unless OPAL's response names others
// (docs/api.md §6).
var Agents = []string{
	"experiment_blueprinter", "audience_suggester", "content_review",
	"roadmap_generator", "integration_health", "personalization_idea_generator",
	"cmp_organizer", "customer_journey", "geo_audit",
}

// Settings are what Force Sync takes from the osa app. They may be missing or invalid:
// GET and POST report that (docs/api.md §2.22).
type Settings struct {
	osa.OPAL
	// BaseURL is the URL by which OPAL reaches the gateway.
	BaseURL string
	// Production requires https for the calls to OPAL.
	Production bool
}

func settingsOf(app *osa.App) Settings {
	return Settings{OPAL: app.OPAL(), BaseURL: app.BaseURL(), Production: !app.Development()}
}

// Setting is the state of a setting. Of its value it shows at most the host.
type Setting struct {
	// Variable is the environment variable that the documentation names.
	Variable   string `json:"variable"`
	Configured bool   `json:"configured"`
	Valid      bool   `json:"valid"`
	// Host is the host of a URL. The path is not shown: it may name accounts.
	Host string `json:"host,omitempty"`
}

// Report is the state of the settings, with all problems.
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
	host, err := client.CheckURL(s.WebhookURL, s.Production)
	add("webhook_url", "OPAL_WEBHOOK_URL", s.WebhookURL, host, err)
	add("auth_key", "OPAL_STRATEGY_WORKFLOW_AUTH_KEY", s.AuthKey, "", client.CheckKey(s.AuthKey))
	add("workspace_id", "OPAL_WORKSPACE_ID", s.Workspace, "", checkWorkspace(s.Workspace))
	host, err = client.CheckURL(s.BaseURL, false)
	add("base_url", "BASE_URL", s.BaseURL, host, err)
	r.Valid = len(r.Problems) == 0
	return r
}

// CallbackURL is the URL that OPAL sends its webhooks to.
func (s *Settings) CallbackURL() string { return s.BaseURL + s.CallbackPath }

func checkWorkspace(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("is not set")
	case strings.ContainsAny(id, "<>{}") || strings.HasPrefix(id, "your-"):
		return fmt.Errorf("is still a placeholder")
	case !client.IsID(id):
		return fmt.Errorf("must be 1 to 256 characters without control characters")
	}
	return nil
}
