package osa_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/internal/osatest"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// TestOPALConfiguration: the Caddyfile and JSON say the same, and what neither says
// comes from the environment.
func TestOPALConfiguration(t *testing.T) {
	t.Setenv("BASE_URL", "https://env.test/")
	t.Setenv("OPAL_WEBHOOK_URL", " https://opal.test/hook ")
	t.Setenv("OPAL_STRATEGY_WORKFLOW_AUTH_KEY", "env-key")
	t.Setenv("OPAL_WORKSPACE_ID", "env-workspace")
	t.Setenv("OSA_TEST_KEY", "other-key")
	for name, tt := range map[string]struct {
		option  string
		baseURL string
		want    osa.OPAL
	}{
		"nothing": {"osa", "https://env.test", osa.OPAL{
			WebhookURL: "https://opal.test/hook", AuthKey: "env-key", Workspace: "env-workspace",
			CallbackPath: "/api/webhooks/opal-workflow", RunTimeout: caddy.Duration(10 * time.Minute),
		}},
		"an empty block": {"osa {\n opal\n}", "https://env.test", osa.OPAL{
			WebhookURL: "https://opal.test/hook", AuthKey: "env-key", Workspace: "env-workspace",
			CallbackPath: "/api/webhooks/opal-workflow", RunTimeout: caddy.Duration(10 * time.Minute),
		}},
		"everything": {`osa {
			base_url https://gateway.test//
			opal {
				webhook_url https://other.test/
				auth_key {env.OSA_TEST_KEY}
				workspace acme
				callback_path /cb
				run_timeout 5m
			}
		}`, "https://gateway.test", osa.OPAL{
			WebhookURL: "https://other.test/", AuthKey: "other-key", Workspace: "acme",
			CallbackPath: "/cb", RunTimeout: caddy.Duration(5 * time.Minute),
		}},
		"variables that are not set": {`osa {
			base_url {env.OSA_TEST_NONE}
			opal {
				workspace {env.OSA_TEST_NONE}
			}
		}`, "", osa.OPAL{
			WebhookURL: "https://opal.test/hook", AuthKey: "env-key",
			CallbackPath: "/api/webhooks/opal-workflow", RunTimeout: caddy.Duration(10 * time.Minute),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			parsed := new(osa.App)
			if err := parsed.UnmarshalCaddyfile(caddyfile.NewTestDispenser(tt.option)); err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(parsed)
			if err != nil {
				t.Fatal(err)
			}
			var options map[string]any
			if err := json.Unmarshal(raw, &options); err != nil {
				t.Fatal(err)
			}
			app := osatest.Stopped(t, memstore.New(), options).App
			if app.OPAL() != tt.want || app.BaseURL() != tt.baseURL {
				t.Errorf("%q %+v\nwant %q %+v", app.BaseURL(), app.OPAL(), tt.baseURL, tt.want)
			}
			if again, _ := json.Marshal(app.OPALConfig); strings.Contains(string(again), "other-key") {
				t.Error("the configuration that Caddy keeps has a placeholder's value")
			}
		})
	}
}
