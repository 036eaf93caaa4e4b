package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

const listPath = "/api/webhook-events"

func statusWith(g *gateway.Gateway, credential string) int {
	return g.MustDo("GET", listPath, nil, "Authorization", "Bearer "+credential).Status
}

// becomes waits until a credential is answered with the status.
func becomes(t *testing.T, g *gateway.Gateway, credential string, status int, what string) {
	t.Helper()
	gateway.Eventually(t, within, what, func() bool { return statusWith(g, credential) == status })
}

// endsWith waits for the end of a stream and its reason.
func endsWith(t *testing.T, s *gateway.Stream, reason string) {
	t.Helper()
	if err := s.WaitEnd(within); err != nil {
		t.Fatal(err)
	}
	messages := s.Messages()
	if len(messages) == 0 || messages[len(messages)-1].Event != "stream_end" ||
		messages[len(messages)-1].Data != fmt.Sprintf(`{"reason":%q}`, reason) {
		t.Errorf("the stream ended with %+v, want %s", messages, reason)
	}
}

func goesOn(t *testing.T, g *gateway.Gateway, s *gateway.Stream, what string) {
	t.Helper()
	if err := s.WaitSeq(post(t, g, "wf-goes-on", 1)[0], within); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if ended, err := s.Ended(); ended {
		t.Errorf("%s: the stream has ended: %v", what, err)
	}
}

type healthAnswer struct {
	Status     string            `json:"status"`
	Message    string            `json:"message"`
	Components map[string]string `json:"components"`
}

func health(t *testing.T, g *gateway.Gateway) (h healthAnswer) {
	t.Helper()
	g.MustDo("GET", "/api/health", nil).JSON(t, &h)
	return h
}

// TestKeyFileIsRead: what the key file says holds, without a reload, for requests
// and for streams that are open.
func TestKeyFileIsRead(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	records := g.Records()
	stays := records[1:] // key_none, key_other, key_wide
	as := func(key string) *gateway.Stream { return g.MustOpen("", "Authorization", "Bearer "+key) }
	one, wide := as(g.Key), as(g.AllKey)

	// A new key works; another one is taken out.
	added := gateway.NewKey()
	g.WriteKeys(append([]map[string]any{g.Record("key_new", added, gateway.Workspace, "events:read")}, stays...)...)
	becomes(t, g, added, http.StatusOK, "a key that was added is accepted")
	endsWith(t, one, "credential_revoked")
	if got := statusWith(g, g.Key); got != http.StatusUnauthorized {
		t.Errorf("a key that was taken out of the file: %d", got)
	}
	goesOn(t, g, wide, "a key that stayed")

	// A key's record is changed.
	two := as(added)
	change := func(change func(map[string]any)) {
		t.Helper()
		r := g.Record("key_new", added, gateway.Workspace, "events:read")
		change(r)
		g.WriteKeys(append([]map[string]any{r}, stays...)...)
	}
	change(func(r map[string]any) { r["permissions"] = []string{"events:*", "opal:read"} })
	gateway.Eventually(t, within, "more permissions are there", func() bool {
		return g.MustDo("GET", "/api/opal/sync", nil, "Authorization", "Bearer "+added).Status == http.StatusOK
	})
	goesOn(t, g, two, "a key with more permissions")
	change(func(r map[string]any) { r["permissions"] = []string{"opal:read"} })
	endsWith(t, two, "credential_revoked")
	change(func(map[string]any) {})
	becomes(t, g, added, http.StatusOK, "the permission is back")
	three := as(added)
	change(func(r map[string]any) { r["workspace_id"] = "somewhere-else" })
	endsWith(t, three, "credential_revoked")
	four := as(added)
	change(func(r map[string]any) {
		r["workspace_id"], r["expires_at"] = "somewhere-else", time.Now().Add(-time.Second).UTC().Format(time.RFC3339)
	})
	endsWith(t, four, "credential_expired")
	if ended, _ := wide.Ended(); ended {
		t.Error("the stream of a key that was not touched has ended")
	}
	log := g.RawLog()
	for _, want := range []string{`"removed":["key_all"]`, `"added":["key_new"]`, `"changed":["key_new"]`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %s", want)
		}
	}
	for _, r := range records {
		if strings.Contains(log, r["hash"].(string)) {
			t.Error("a hash is in the log")
		}
	}
}

// TestBrokenKeyFile changes nothing, and shows.
func TestBrokenKeyFile(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	records := g.Records()
	s := g.MustOpen("")
	if h := health(t, g); h.Status != "healthy" || h.Components != nil {
		t.Fatalf("health: %+v", h)
	}
	twice := append(g.Records(), records[0])
	for name, breaks := range map[string]func(){
		"not JSON":       func() { g.ReplaceFile(g.KeysPath(), []byte(`{"keys":[`)) },
		"two of one id":  func() { g.WriteKeys(twice...) },
		"another case":   func() { g.ReplaceFile(g.KeysPath(), []byte(`{"Keys":[]}`)) },
		"a member twice": func() { g.ReplaceFile(g.KeysPath(), []byte(`{"keys":[],"keys":[]}`)) },
	} {
		breaks()
		gateway.Eventually(t, within, name+": health is degraded", func() bool { return health(t, g).Status == "degraded" })
		h := health(t, g)
		if h.Components["credentials"] != "degraded" || strings.Contains(h.Message, g.Dir) {
			t.Errorf("%s: health says %+v", name, h)
		}
		var last struct {
			Health struct {
				Status     string            `json:"webhook_status"`
				Components map[string]string `json:"components"`
			} `json:"system_health"`
		}
		g.GetJSON("/api/diagnostics/last-webhook", &last)
		if last.Health.Status != "degraded" || last.Health.Components["credentials"] != "degraded" {
			t.Errorf("%s: system_health is %+v", name, last)
		}
		if m := string(g.MustDo("GET", "/metrics", nil).Body); !strings.Contains(m, `osa_credentials_file_ok{kind="key",name="key"} 0`) {
			t.Errorf("%s: the metric does not show it", name)
		}
		goesOn(t, g, s, name)
		g.WriteKeys(records...)
		gateway.Eventually(t, within, name+": health is back", func() bool { return health(t, g).Status == "healthy" })
	}
	goesOn(t, g, s, "mended")
	if n := strings.Count(g.RawLog(), "a changed file of credentials cannot be used"); n != 4 {
		t.Errorf("4 bad files are logged %d times", n)
	}
}

// TestReloadEndsStreams: a stream ends when no configuration in force accepts its
// key any more, and goes on when one does.
func TestReloadEndsStreams(t *testing.T) {
	inline := gateway.NewKey()
	var g *gateway.Gateway
	with := func(hash string) func(string) string {
		return func(text string) string {
			return gateway.Replace(t, text, "\t\t\t\tfile {env.OSA_KEYS_FILE}\n",
				"\t\t\t\tfile {env.OSA_KEYS_FILE}\n\t\t\t\trecord inline "+hash+" {\n\t\t\t\t\tpermissions events:read\n\t\t\t\t}\n")
		}
	}
	g = gateway.New(t, gateway.Options{})
	hash := g.Record("", inline, "")["hash"].(string)
	first := g.WriteConfig("Caddyfile", with(hash))
	g.Start()
	s, other := g.MustOpen("", "Authorization", "Bearer "+inline), g.MustOpen("")

	// Fails to load, and fails to start: its address cannot be listened on.
	bad := g.WriteConfig("Caddyfile.bad", func(text string) string {
		return gateway.Replace(t, text, "osa_auth key jwt", "osa_auth key nobody")
	})
	if out, err := g.ReloadCommand(bad); err == nil || !strings.Contains(out, "there is no provider") || !strings.Contains(out, "the app has jwt, key") {
		t.Errorf("an unknown provider: %v %s", err, out)
	}
	late := g.WriteConfig("Caddyfile.late", func(text string) string {
		return text + "\nhttp://192.0.2.1:1 {\n\tbind 192.0.2.1\n\trespond 200\n}\n"
	})
	if out, err := g.ReloadCommand(late); err == nil {
		t.Errorf("listens on somebody else's address: %s", out)
	}
	goesOn(t, g, s, "after reloads that failed")
	if got := statusWith(g, inline); got != http.StatusOK {
		t.Errorf("after reloads that failed, the key gets %d", got)
	}

	// The same key, in another configuration.
	if err := g.Reload(g.WriteConfig("Caddyfile.2", func(text string) string { return gateway.Generation(t, 2)(with(hash)(text)) })); err != nil {
		t.Fatal(err)
	}
	goesOn(t, g, s, "after a reload that keeps the key")
	// And without it.
	if err := g.Reload(g.WriteConfig("Caddyfile.3", gateway.Generation(t, 3))); err != nil {
		t.Fatal(err)
	}
	endsWith(t, s, "credential_revoked")
	goesOn(t, g, other, "a key that stayed")
	becomes(t, g, inline, http.StatusUnauthorized, "the key is refused")
	if err := g.Reload(first); err != nil {
		t.Fatal(err)
	}
	becomes(t, g, inline, http.StatusOK, "the key is back")
}

// TestPublicKeyIsSwapped: another PEM file, without a reload.
func TestPublicKeyIsSwapped(t *testing.T) {
	next := gateway.NewCredentials(t)
	dir := gateway.TempDir(t)
	pem := filepath.Join(dir, "jwt.pem")
	g := gateway.New(t, gateway.Options{Env: map[string]string{"OSA_JWT_PUBLIC_KEY": "@" + pem}})
	g.ReplaceFile(pem, []byte(g.PublicPEM()))
	g.Start()
	old, young := g.Token(gateway.Claims("events:read")), next.Token(gateway.Claims("events:read"))
	s := g.MustOpen("", "Authorization", "Bearer "+old)
	if a, b := statusWith(g, old), statusWith(g, young); a != http.StatusOK || b != http.StatusUnauthorized {
		t.Fatalf("before: %d and %d", a, b)
	}
	g.ReplaceFile(pem, []byte("no PEM"))
	gateway.Eventually(t, within, "health is degraded", func() bool { return health(t, g).Status == "degraded" })
	goesOn(t, g, s, "with a broken file")
	g.ReplaceFile(pem, []byte(next.PublicPEM()))
	becomes(t, g, young, http.StatusOK, "the next key verifies")
	if got := statusWith(g, old); got != http.StatusUnauthorized {
		t.Errorf("a token of the old key, verified before: %d", got)
	}
	endsWith(t, s, "credential_revoked")
	if h := health(t, g); h.Status != "healthy" {
		t.Errorf("health: %+v", h)
	}
}

// TestTokensAreReadExactly: names of claims are compared exactly, and a name that
// is given twice is refused.
func TestTokensAreReadExactly(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	post(t, g, "wf-default", 1)
	now := time.Now()
	claims := func(more string) string {
		return fmt.Sprintf(`{"iss":"osa-system","aud":"admin-interface","sub":"s","jti":"j","scope":"events:read","iat":%d%s}`, now.Unix(), more)
	}
	const header = `{"alg":"RS256","typ":"JWT"}`
	exp := fmt.Sprintf(`,"exp":%d`, now.Add(time.Hour).Unix())
	past := fmt.Sprintf(`,"exp":%d`, now.Add(-time.Hour).Unix())
	late := strings.Replace(exp, "exp", "EXP", 1)
	const ws = `,"workspace_id":"ws_a"`
	for name, tt := range map[string]struct {
		header, claims string
		status         int
	}{
		"good":                      {header, claims(exp + ws), 200},
		"a workspace beside":        {header, claims(exp + ws + `,"Workspace_ID":"default-workspace"`), 200},
		"a workspace before":        {header, claims(exp + `,"WORKSPACE_ID":"default-workspace"` + ws), 200},
		"a scope beside":            {header, strings.Replace(claims(exp+ws), `"scope":"events:read"`, `"scope":"opal:read","Scope":"events:read"`, 1), 403},
		"only another case":         {header, claims(exp + `,"Workspace_ID":"default-workspace"`), 401},
		"EXP revives":               {header, claims(past + ws + late), 401},
		"EXP is no exp":             {header, claims(ws + late), 401},
		"Aud is no aud":             {header, strings.Replace(claims(exp+ws), `"aud"`, `"Aud"`, 1), 401},
		"Aud beside another aud":    {header, strings.Replace(claims(exp+ws), `"aud":"admin-interface"`, `"aud":"x","AUD":"admin-interface"`, 1), 401},
		"a claim twice":             {header, claims(exp + ws + ws), 401},
		"exp twice":                 {header, claims(past + exp + ws), 401},
		"any claim twice":           {header, claims(exp + ws + `,"x":1,"x":2`), 401},
		"a claim twice, escaped":    {header, claims(exp + ws + `,"workspace\u005fid":"default-workspace"`), 401},
		"alg twice":                 {`{"alg":"none","alg":"RS256","typ":"JWT"}`, claims(exp + ws), 401},
		"typ twice":                 {`{"alg":"RS256","typ":"x","typ":"JWT"}`, claims(exp + ws), 401},
		"aud is an array":           {header, strings.Replace(claims(exp+ws), `"admin-interface"`, `["x","admin-interface"]`, 1), 200},
		"aud is an array of others": {header, strings.Replace(claims(exp+ws), `"admin-interface"`, `["x"]`, 1), 401},
	} {
		r := g.MustDo("GET", listPath, nil, "Authorization", "Bearer "+g.SignedToken(tt.header, tt.claims))
		if r.Status != tt.status {
			t.Errorf("%s: %d, want %d", name, r.Status, tt.status)
		}
		if strings.Contains(string(r.Body), "wf-default") {
			t.Errorf("%s reads another workspace", name)
		}
	}
}

// TestCredentialsInAQuery: the refusal says where they belong.
func TestCredentialsInAQuery(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	for query, told := range map[string]bool{
		"token=x": true, "access_token=x": true, "Access-Token=x": true, "api_key=x": true, "apiKey=x": true, "limit=1&%61uthorization=x": true,
		"jwt=": true, "": false, "limit=1": false, "workflow_id=token": false,
	} {
		members := wantError(t, g.MustDo("GET", listPath+"?"+query, nil), http.StatusUnauthorized, "authentication_failed")
		if got := strings.Contains(fmt.Sprint(members["message"]), "Authorization"); got != told {
			t.Errorf("%s: %v", query, members["message"])
		}
	}
}
