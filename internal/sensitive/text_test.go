package sensitive

import (
	"strings"
	"testing"
)

// hid is the secret of the tables.
const hid = "s3cr3tV4lue"

const jwtText = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"

func TestURIHides(t *testing.T) {
	for _, s := range []string{
		"/x?token=" + hid, "/x?a=1&access_token=" + hid + "&b=2", "/x?api_key=" + hid, "/x?ToKeN=" + hid, "/x?API-KEY=" + hid,
		"/x?authorization=Bearer%20" + hid, "/x?authorization=Bearer+" + hid, "/x?%74oken=" + hid, "/x?%2574oken=" + hid, "/x?tok%65n=" + hid,
		"/x?to%09ken=" + hid, "/x?tok%00en=" + hid, "/x?tok%E2%80%8Ben=" + hid, "/x?%EF%BD%94oken=" + hid, "/x?api%20key=" + hid, "/x?api+key=" + hid,
		"/x;token=" + hid, "/x?a=1;token=" + hid, "/x?token=ab;" + hid, "/x?token==" + hid, "/x?token=a&token=" + hid, "/x?token[]=" + hid,
		"/x?user%5Bpassword%5D=" + hid, "/x?a=%zz&tok=" + hid, "/x?" + hid + "%", "/x?a%=" + hid, "/x#access_token=" + hid, "?token=" + hid,
		"/x?next=%2Fy%3Ftoken%3D" + hid, "/x?next=%252Fy%253Ftoken%253D" + hid, "/x?q=Bearer%20" + hid, "/x?filter=%7B%22token%22%3A%22" + hid + "%22%7D",
		"/x?filter={\"token\":\"" + hid + "\"}", "/token=" + hid, "/a/token%3D" + hid, "/a/token/" + hid + "/b", "/a/Bearer%20" + hid, "/a/token:" + hid,
		"http://user:" + hid + "@host/x", "//user:" + hid + "@host/x", "/user:" + hid + "@host/x", "/x?u=http://u:" + hid + "@h/", "/x?u=http%3A%2F%2Fu%3A" + hid + "%40h%2F",
		"/x/opal_prod_" + hid, "/x?q=opal_prod_" + hid, "/x?q=xopal_prod_" + hid, "/x?q=opal%5Fprod%5F" + hid, "/x/opal%5fprod%5f" + hid + "/y", "/x?q=OPAL_PROD_" + hid,
		"/opal_prod_" + hid + "?a=b", "/x?key=" + hid, "/x?code=" + hid, "/x?session_id=" + hid, "/x?sig=" + hid, "/x?X-Amz-Signature=" + hid,
		"/x?a?token=" + hid, "/x?a/token=" + hid, "/x?token=a?b/" + hid, "/x?token=a#" + hid, "/x?token=" + strings.Repeat("y", 5000) + hid,
		"/x?" + strings.Repeat("a", 5000) + "&token=" + hid, "/x?" + strings.Repeat("%25", 20) + "74oken=" + hid, "/x?p=" + strings.Repeat("z", 5000) + "%20token%3D" + hid,
		"/x?token%3D" + hid, "/x?a&token%3D" + hid, "/x?a=b%26token%3D" + hid, "/%74oken=" + hid, "/x?token=a%26b" + hid,
		"/x?token='" + hid, "/x?token=\"a\"" + hid, "/x?token=a'" + hid, "/x?token=a<" + hid, "/x?token=(" + hid, "/x?token=[" + hid, "/x?token={" + hid, "/x?token={env." + hid,
		"/x?token=a/" + hid, "/x;token=a/" + hid,
	} {
		if got := URI(s, Redacted); strings.Contains(got, hid) {
			t.Errorf("%.200s\n becomes %.200s", s, got)
		}
	}
	for _, s := range []string{"/x/" + jwtText, "/x?q=" + jwtText, "/x?q=" + strings.ReplaceAll(jwtText, ".", "%2E"), "/x/Ab3dEf6hIj9lMn2pQr5tUv8xYz1bCd4fGh7jKl0nOp3"} {
		if got := URI(s, Redacted); strings.Contains(got, s[5:20]) {
			t.Errorf("%s becomes %s", s, got)
		}
	}
}

func TestURIKeeps(t *testing.T) {
	for _, s := range []string{
		"/", "*", "/api/webhook-events?limit=50&cursor=evt_12&order=asc", "/api/webhook-events/evt_123", "/api/admin/tokens/revoke", "/api/admin/keys/key_1/rotate",
		"/api/webhook-events?workflow_id=strategy_workflow-1764306000000&start_date=2026-01-01T00:00:00Z", "/x?start_date=2026-01-01T00%3A00%3A00Z&q=a%20b+c",
		"/x?filter=%7B%22event_types%22%3A%5B%22error%22%5D%7D", "/api/opal/agent-data/content_review?format=csv", "http://localhost:3000/x", "/x?a=b;c=d",
		"/api/webhook-events/01934f6e-7a3b-7c1d-8e2f-123456789abc", "/x?token_type=none", "/users/me@example.com",
	} {
		if got := URI(s, Redacted); got != s {
			t.Errorf("%s becomes %s", s, got)
		}
	}
	for s, want := range map[string]string{
		"/x?a=1&token=" + hid + "&b=2":      "/x?a=1&token=REDACTED&b=2",
		"https://u:" + hid + "@h:1/x?q=1":   "https://REDACTED@h:1/x?q=1",
		"/x/opal_prod_" + hid + "/y?limit=": "/x/REDACTED/y?limit=",
		"/x?a=%zz&b=" + hid:                 "/x?REDACTED",
	} {
		if got := URI(s, Redacted); got != want {
			t.Errorf("%s\n becomes %s\n want    %s", s, got, want)
		}
	}
}

func TestTextHides(t *testing.T) {
	for _, s := range []string{
		"Bearer " + hid, "bearer " + hid, "Authorization: Bearer " + hid, "sent Bearer " + hid + ", got 401", "Authorization: Basic abc " + hid, "token=" + hid,
		"the password: " + hid, "password = " + hid, `{"token":"` + hid + `"`, `{"token": "a\"b` + hid + `"}`, `{\"token\":\"` + hid + `\"}`, `{'password': '` + hid + `'}`,
		"Cookie: a=b; c=" + hid, "map[Authorization:[Bearer " + hid + "] X:[y]]", "postgres://osa:" + hid + "@db/osa", "GET /x?token=" + hid + " HTTP/1.1", "key opal_prod_" + hid,
		"redis://:" + hid + "@h:6379", "api_key=" + hid + ", other=1", "-----BEGIN RSA PRIVATE KEY-----\n" + hid + "\n-----END RSA PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----" + hid,
		"xoxb-123456-" + hid, "https://hooks.slack.com/services/T0/B0/" + hid, "--token=" + hid, "host=db password=" + hid + " user=x", "proxy: https://h/x?a=1&api_key=" + hid,
	} {
		if got := Text(s, Redacted); strings.Contains(got, hid) {
			t.Errorf("%s\n becomes %s", s, got)
		}
	}
	for _, s := range []string{
		jwtText, "token " + jwtText + " refused", "AKIAIOSFODNN7EXAMPLE", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "Basic dXNlcjpwYXNz", "4111111111111111", "card 4111 1111 1111 1111.",
		"5500-0055-5555-5559", "378282246310005", "3782 822463 10005", "paid with 6011000990139424",
	} {
		if got := Text(s, Masked); got == s || strings.Contains(got, "8282") || strings.Contains(got, "1111") {
			t.Errorf("%s becomes %s", s, got)
		}
	}
}

func TestTextKeeps(t *testing.T) {
	for _, s := range []string{
		"", "no quota", "the bearer of this letter", "Bearer token required", "Bearer authentication failed", "Basic authentication", "basic settings", "token expired", "secret: {env.X} is empty",
		"osa_auth: jwt: public_key: no such file", "1764306000000", "at 1764306000000123", "evt_4111111111111111", "wf-1764306000000", "4111111111111112", "1234 5678 9012 3456",
		"total_tokens: 1234", "https://dashboard.example.com/a?b=c", "me@example.com", "git@github.com:a/b.git", "12:30:45", "a=b", "100% sure? yes", "eyJub3Q", "opal_prod_", "prefix opal_prod_",
		"3fa85f64-5717-4562-b3fc-2c963f66afa6", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
		"task-force", "desk-1", "4.5.6.7", "ratio 0.4111111111111111", "tokens=12, max_tokens=5", "{\"a\":[1,2,{\"token_count\":5}]}",
	} {
		if got := Text(s, Masked); got != s && s != "tokens=12, max_tokens=5" {
			t.Errorf("%q becomes %q", s, got)
		}
	}
}

// TestLinear: hostile texts take as long as others of their length.
func TestLinear(t *testing.T) {
	for _, part := range []string{"=", ":", "token=", "a:", "@", "a@", "u:p@", "//", "://", "/", "?", "%", "%25", "token%3D", "\"", "\\", "'=", "Bearer ", "eyJ", "eyJ.", "opal_prod_", "-----BEGIN ", "-----BEGIN PRIVATE KEY", "4111 ", "4111-", "12", "[", "token=[", "token=\"", ";", "&", "token=;a", "a/", "/token/", " ", "é", "token=\\", "Aa1", "Aa1/"} {
		s := strings.Repeat(part, 256<<10/len(part))
		URI(s, Redacted)
		Text(s, Redacted)
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"/x?token=a", "Bearer abc1", "http://u:p@h/", "%74oken=1", jwtText, `{"token":"a"}`, "4111 1111 1111 1111", "a;token=b;c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, f := range []func(string, string) string{Text, URI} {
			f(s, Masked)
		}
		for _, s := range []string{"/x?" + strings.ReplaceAll(s, "s3cr", "") + "&token=" + hid, "/x?token=" + hid + "&" + s} {
			if got := URI(s, Redacted); strings.Contains(got, hid) {
				t.Errorf("%q becomes %q", s, got)
			}
		}
	})
}

func BenchmarkURI(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		URI("/api/webhook-events?limit=50&workflow_id=strategy_workflow-17&cursor=evt_12", Redacted)
	}
}

func BenchmarkText(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Text("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36", Redacted)
	}
}
