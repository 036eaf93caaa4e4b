package osa_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/internal/osatest"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// TestInvalidApp: every problem is named at once.
func TestInvalidApp(t *testing.T) {
	const app = `{"storage":{"engine":"memory","name":"none"},"retention":3600000000000,"queue_events":-1,"queue_bytes":-1,"max_connections":-1,
		"open_timeout":-1,"environment":"staging","opal":{"callback_path":"cb","run_timeout":1},"auth":{"a b":{"provider":"key"}}}`
	var cfg caddy.Config
	if err := json.Unmarshal([]byte(`{"admin":{"disabled":true},"apps":{"osa":`+app+`}}`), &cfg); err != nil {
		t.Fatal(err)
	}
	err := caddy.Validate(&cfg)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"retention is 1h", "queue_events", "queue_bytes", "max_connections", "open_timeout", "environment is \"staging\"", "callback_path", "run_timeout", "auth a b"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not name %q:\n%v", want, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	for name, tt := range map[string]struct{ osaEnv, nodeEnv, want string }{
		"nothing":             {"", "", osa.Production},
		"OSA_ENV":             {"development", "production", osa.Development},
		"NODE_ENV":            {"", "development", osa.Development},
		"OSA_ENV comes first": {"production", "development", osa.Production},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OSA_ENV", tt.osaEnv)
			t.Setenv("NODE_ENV", tt.nodeEnv)
			app := osatest.Stopped(t, memstore.New(), map[string]any{"environment": ""}).App
			if app.Environment != tt.want || app.Development() != (tt.want == osa.Development) {
				t.Errorf("%s, %v", app.Environment, app.Development())
			}
			if time.Duration(app.Retention) != 30*24*time.Hour || app.QueueEvents != 16384 || app.QueueBytes <= 0 || time.Duration(app.OpenTimeout) != 5*time.Second {
				t.Errorf("%+v", app)
			}
			if app.Ready() {
				t.Error("an app that has not started is ready")
			}
			if _, _, err := app.OpenLog(); err == nil {
				t.Error("an app that has not started has an open log")
			}
		})
	}
}
