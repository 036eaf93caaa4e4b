package redact

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const hidden = "s3cr3tV4lue"

// provisioned is an encoder as Caddy makes it of the Caddyfile text.
func provisioned(t testing.TB, text string) *Encoder {
	t.Helper()
	e := new(Encoder)
	if err := e.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	if err := e.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	return e
}

// logged is what a logger with the encoder writes.
func logged(t testing.TB, e zapcore.Encoder, log func(*zap.Logger)) string {
	t.Helper()
	var out strings.Builder
	log(zap.New(zapcore.NewCore(e, zapcore.AddSync(&out), zap.DebugLevel)))
	return out.String()
}

type stringer string

func (s stringer) String() string { return string(s) }

// verbose is an error that says more when it is asked.
type verbose struct{}

func (verbose) Error() string { return "short" }
func (verbose) Format(s fmt.State, _ rune) {
	_, _ = s.Write([]byte("long token=" + hidden))
}

// TestFields: every kind of field that may hold a secret, in an entry and in a
// logger's own fields.
func TestFields(t *testing.T) {
	request := &http.Request{
		Method: "GET", Host: "h", RequestURI: "/x?limit=1&token=" + hidden, RemoteAddr: "127.0.0.1:1", Proto: "HTTP/1.1",
		Header: http.Header{"X-Api-Key": {hidden}, "Authorization": {"Bearer " + hidden}, "Referer": {"https://h/?token=" + hidden}, "Accept": {"*/*"}},
	}
	request = request.WithContext(t.Context())
	for name, f := range map[string]zap.Field{
		"string":            zap.String("api_key", hidden),
		"value":             zap.String("note", "Bearer "+hidden),
		"uri":               zap.String("uri", "/x?a=1&%74oken="+hidden),
		"path":              zap.String("path", "x/opal_prod_"+hidden),
		"strings":           zap.Strings("cookie", []string{hidden}),
		"request":           zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: request, ShouldLogCredentials: true}),
		"response headers":  zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: http.Header{"Set-Cookie": {"a=" + hidden}, "Location": {"/?token=" + hidden}}, ShouldLogCredentials: true}),
		"reflected":         zap.Reflect("headers", http.Header{"X-Auth-Token": {hidden}}),
		"reflected secret":  zap.Any("credentials", map[string]string{"a": hidden}),
		"any":               zap.Any("panic", struct{ Password string }{hidden}),
		"error":             zap.Error(errors.New("dial postgres://u:" + hidden + "@h/db")),
		"verbose error":     zap.Error(verbose{}),
		"errors":            zap.Errors("errors", []error{errors.New("token=" + hidden)}),
		"stringer":          zap.Stringer("url", stringer("https://u:"+hidden+"@h/")),
		"bytes":             zap.ByteString("stack", []byte("f(token="+hidden+")")),
		"binary":            zap.Binary("secret", []byte(hidden)),
		"array of arrays":   zap.Array("x", zapcore.ArrayMarshalerFunc(func(a zapcore.ArrayEncoder) error { return a.AppendReflected([]any{"token=" + hidden}) })),
		"array of objects":  zap.Objects("x", []zapcore.ObjectMarshalerFunc{func(o zapcore.ObjectEncoder) error { o.AddString("token", hidden); return nil }}),
		"object":            zap.Dict("credentials", zap.String("a", hidden)),
		"inline":            zap.Inline(zapcore.ObjectMarshalerFunc(func(o zapcore.ObjectEncoder) error { o.AddString("token", hidden); return nil })),
		"key":               zap.Int("opal_prod_"+hidden, 1),
		"key of an object":  zap.Dict("x", zap.Int("opal_prod_"+hidden, 1)),
		"unencodable value": zap.Reflect("x", map[string]any{"token": hidden, "c": make(chan int)}),
	} {
		for _, format := range []string{"json", "console"} {
			e := provisioned(t, "osa_redact "+format)
			for how, line := range map[string]string{
				"entry":     logged(t, e, func(l *zap.Logger) { l.Info("x", f) }),
				"logger":    logged(t, e, func(l *zap.Logger) { l.With(f).Info("x", zap.Int("n", 1)) }),
				"namespace": logged(t, e, func(l *zap.Logger) { l.With(zap.Namespace("ns"), f).Info("x", f) }),
			} {
				if strings.Contains(line, hidden) || line == "" {
					t.Errorf("%s, %s, %s: %s", name, format, how, line)
				}
				if format == "json" && !json.Valid([]byte(line)) {
					t.Errorf("%s, %s: no JSON: %s", name, how, line)
				}
			}
		}
	}
	line := logged(t, provisioned(t, "osa_redact json"), func(l *zap.Logger) { l.Info("sent Bearer "+hidden, zap.Stack("stack")) })
	if strings.Contains(line, hidden) {
		t.Errorf("the message: %s", line)
	}
}

// TestKeeps: what gives nothing away is written as the wrapped encoder writes it.
func TestKeeps(t *testing.T) {
	fields := []zap.Field{
		zap.String("uri", "/api/webhook-events?limit=5&cursor=abc"), zap.Int("token", 5), zap.Bool("password", true), zap.Duration("d", time.Second), zap.Float64("f", 1.5),
		zap.Time("t", time.Unix(0, 0)), zap.Strings("agents", []string{"a", "b"}), zap.Reflect("m", map[string]any{"a": 1, "b": "<x>"}), zap.Error(errors.New("no quota")),
		zap.Binary("raw", []byte{1, 2}), zap.Dict("o", zap.String("a", "b")), zap.Namespace("ns"), zap.Int("total_tokens", 7), zap.Error(nil), zap.Skip(),
	}
	inner := new(logging.JSONEncoder)
	if err := inner.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	for name, log := range map[string]func(*zap.Logger){
		"entry":  func(l *zap.Logger) { l.Info("hello", fields...) },
		"logger": func(l *zap.Logger) { l.With(fields...).Info("hello") },
	} {
		cut := func(s string) string { _, rest, _ := strings.Cut(s, `"msg"`); return rest } // the time differs
		if got, want := cut(logged(t, provisioned(t, "osa_redact"), log)), cut(logged(t, inner, log)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestCaddyfile(t *testing.T) {
	for text, want := range map[string]string{
		"osa_redact":                                             `{}`,
		"osa_redact json":                                        `{"wrap":{"format":"json"}}`,
		"osa_redact {\nwrap console\n}":                          `{"wrap":{"format":"console"}}`,
		"osa_redact osa_redact":                                  `{"wrap":{"format":"osa_redact"}}`,
		"osa_redact console {\nlevel_format upper\n}":            `{"wrap":{"format":"console","level_format":"upper"}}`,
		"osa_redact {\nwrap console {\nlevel_format upper\n}\n}": `{"wrap":{"format":"console","level_format":"upper"}}`,
	} {
		e := new(Encoder)
		if err := e.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got, err := json.Marshal(e); err != nil || string(got) != want {
			t.Errorf("%q: %s, want %s (%v)", text, got, want, err)
		}
	}
	for _, text := range []string{"osa_redact nothing", "osa_redact json extra", "osa_redact {\nwrap\n}", "osa_redact {\nwrap json\nwrap json\n}", "osa_redact {\nwhat json\n}"} {
		if err := new(Encoder).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// BenchmarkAccessLine: a line of the access log, beside Caddy's own filter with the
// headers that open doors.
func BenchmarkAccessLine(b *testing.B) {
	filter := new(logging.FilterEncoder)
	err := filter.UnmarshalCaddyfile(caddyfile.NewTestDispenser(`filter {
		wrap json
		request>headers>Authorization replace REDACTED
		request>headers>Proxy-Authorization replace REDACTED
		request>headers>Cookie replace REDACTED
		request>headers>X-Osa-Signature replace REDACTED
		request>headers>X-Api-Key replace REDACTED
		resp_headers>Set-Cookie replace REDACTED
	}`))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: b.Context()})
	defer cancel()
	if err := filter.Provision(ctx); err != nil {
		b.Fatal(err)
	}
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://localhost:3000/", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.RequestURI = "/api/webhook-events?limit=50&workflow_id=strategy_workflow-17&order=asc"
	r.RemoteAddr = "127.0.0.1:40000"
	r.Header = http.Header{
		"Authorization": {"Bearer opal_prod_abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"}, "User-Agent": {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"},
		"Accept": {"application/json"}, "Accept-Encoding": {"gzip, deflate, br"}, "Accept-Language": {"en-GB,en;q=0.9"}, "Referer": {"https://dashboard.example.com/engine/admin"},
		"X-Forwarded-For": {"192.0.2.1"}, "Content-Type": {"application/json"},
	}
	answer := http.Header{"Content-Type": {"application/json"}, "X-Request-Id": {"01934f6e-7a3b-7c1d-8e2f-123456789abc"}, "X-Content-Type-Options": {"nosniff"}, "Cache-Control": {"no-store"}, "Server": {"Caddy"}}
	fields := []zap.Field{
		zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r}), zap.Int("bytes_read", 0), zap.String("user_id", "key_1"), zap.Duration("duration", time.Millisecond),
		zap.Int("size", 1024), zap.Int("status", 200), zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: answer}),
	}
	for name, e := range map[string]zapcore.Encoder{"filter": filter, "osa_redact": provisioned(b, "osa_redact json")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				line, err := e.EncodeEntry(zapcore.Entry{Level: zap.InfoLevel, LoggerName: "http.log.access", Message: "handled request"}, fields)
				if err != nil {
					b.Fatal(err)
				}
				line.Free()
			}
		})
	}
}
