package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

const jsonType = "Content-Type: application/json"

// header makes the header line that carries a signature.
func header(value string) string { return "X-OSA-Signature: " + value }

// TestWrongSignatures: every way in which a signature can be wrong is 401 with
// one message, and leaves nothing.
func TestWrongSignatures(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	post(t, g, "wf-signed", 3)
	before := count(t, g)

	body := gateway.Event("wf-signed", "content_review", stamp(), nil)
	now := time.Now()
	ts := fmt.Sprint(now.Unix())
	good := g.Sign(body, now)
	mac := gateway.MAC(g.Secret, ts, body)
	at := func(t string) string { return "t=" + t + ",v1=" + gateway.MAC(g.Secret, t, body) }

	lines := map[string][]string{
		"none":                    {},
		"empty":                   {header("")},
		"spaces":                  {"X-OSA-Signature:    "},
		"two headers":             {header(good), header(good)},
		"one good, one bad":       {header(good), header("t=1,v1=00")},
		"comma-joined":            {header(good + "," + good)},
		"comma and space":         {header(good + ", " + good)},
		"no t":                    {header("v1=" + mac)},
		"no v1":                   {header("t=" + ts)},
		"empty v1":                {header("t=" + ts + ",v1=")},
		"short v1":                {header("t=" + ts + ",v1=" + mac[:62])},
		"odd v1":                  {header("t=" + ts + ",v1=" + mac[:63])},
		"long v1":                 {header("t=" + ts + ",v1=" + mac + "00")},
		"v1 is no hex":            {header("t=" + ts + ",v1=" + strings.Repeat("zz", 32))},
		"v1 in base64":            {header("t=" + ts + ",v1=" + strings.Repeat("QUJD", 11))},
		"two t":                   {header("t=" + ts + ",t=" + ts + ",v1=" + mac)},
		"two different t":         {header("t=1,t=" + ts + ",v1=" + mac)},
		"t after v1":              {header("v1=" + mac + ",t=" + ts)},
		"t empty":                 {header(at(""))},
		"t 0":                     {header(at("0"))},
		"t negative":              {header(at("-" + ts))},
		"t with a sign":           {header(at("+" + ts))},
		"t hexadecimal":           {header(at(fmt.Sprintf("0x%x", now.Unix())))},
		"t with a zero before it": {header(at("0" + ts))},
		"t of 20 digits":          {header(at("17000000001700000000"))},
		"t in milliseconds":       {header(at(fmt.Sprint(now.UnixMilli())))},
		"t with a fraction":       {header(at(ts + ".0"))},
		"t in exponent form":      {header(at("1e9"))},
		"t with a space":          {header(at(ts + " "))},
		"t of other digits":       {header("t=١٧٠٠٠٠٠٠٠٠,v1=" + mac)},
		"only v0":                 {header("t=" + ts + ",v0=" + mac)},
		"hundreds of wrong v1":    {header("t=" + ts + strings.Repeat(",v1="+strings.Repeat("0", 64), 200))},
		"wrong by a bit":          {header("t=" + ts + ",v1=" + flip(mac))},
		"another secret":          {header("t=" + ts + ",v1=" + gateway.MAC("another-secret-of-thirty-two-characters", ts, body))},
		"of another body":         {header(g.Sign([]byte(`{}`), now))},
		"of the body alone":       {header("t=" + ts + ",v1=" + gateway.MAC(g.Secret, "", body))},
		"semicolons":              {header("t=" + ts + ";v1=" + mac)},
		"quoted":                  {header(`t="` + ts + `",v1="` + mac + `"`)},
		"X-OSA-Timestamp differs": {header(good), fmt.Sprintf("X-OSA-Timestamp: %d", now.Unix()-1)},
		"X-OSA-Timestamp empty":   {header(good), "X-OSA-Timestamp:"},
		"two X-OSA-Timestamp":     {header(good), "X-OSA-Timestamp: " + ts, "X-OSA-Timestamp: " + ts},
		"by another header":       {"X-Hub-Signature-256: sha256=" + gateway.MAC("x", ts, body)},
		"by a key":                {"Authorization: Bearer " + g.Key},
	}
	message := ""
	send := func(t *testing.T, raw gateway.Raw) *gateway.Response {
		t.Helper()
		resp, err := raw.Send(g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	refused := func(t *testing.T, resp *gateway.Response) {
		t.Helper()
		members := wantError(t, resp, http.StatusUnauthorized, "authentication_failed")
		if resp.Header.Get("Www-Authenticate") == "" {
			t.Error("401 without WWW-Authenticate")
		}
		if methods := fmt.Sprint(members["auth_methods"]); methods != "[hmac]" {
			t.Errorf("auth_methods is %s", methods)
		}
		if text := members["message"].(string); message == "" {
			message = text
		} else if text != message {
			t.Errorf("the message %q tells it from others (%q)", text, message)
		}
	}
	refuse := func(t *testing.T, raw gateway.Raw) { t.Helper(); refused(t, send(t, raw)) }
	for name, h := range lines {
		t.Run(name, func(t *testing.T) { refuse(t, gateway.Raw{Header: append(h, jsonType), Body: body}) })
	}

	// The body is signed byte for byte.
	for name, changed := range map[string]string{
		"re-serialised":      strings.Replace(string(body), `":`, `": `, 1),
		"byte order mark":    "\ufeff" + string(body),
		"newline at the end": string(body) + "\n",
		"space before":       " " + string(body),
		"a byte less":        string(body[:len(body)-1]),
		"empty":              "",
	} {
		t.Run("body "+name, func(t *testing.T) {
			refuse(t, gateway.Raw{Header: []string{header(good), jsonType}, Body: []byte(changed)})
		})
	}

	// Too old and too new.
	for _, offset := range []int{-301, 301, -100_000, 100_000} {
		t.Run(fmt.Sprintf("%+d seconds", offset), func(t *testing.T) {
			refused(t, inOneSecond(func(now int64) *gateway.Response {
				return send(t, gateway.Raw{Header: []string{header(at(fmt.Sprint(now + int64(offset)))), jsonType}, Body: body})
			}))
		})
	}

	if after := count(t, g); after != before {
		t.Errorf("the log had %d events and has %d", before, after)
	}
	if got := g.MustPost(body); got.Status != "processed" {
		t.Errorf("the event itself is answered with %+v: something of the refused ones was kept", got)
	}
	if strings.Contains(g.RawLog(), mac) || strings.Contains(g.RawLog(), g.Secret) {
		t.Error("a signature or the secret is in the log")
	}
}

// TestRightSignatures: what is within the rules passes.
func TestRightSignatures(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	send := func(t *testing.T, body []byte, lines ...string) *gateway.Response {
		t.Helper()
		resp, err := gateway.Raw{Header: append(lines, jsonType), Body: body}.Send(g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	accepted := func(t *testing.T, resp *gateway.Response) {
		t.Helper()
		if resp.Status != http.StatusOK {
			t.Errorf("answered with %d: %s", resp.Status, resp.Body)
		}
	}
	for _, offset := range []int64{-300, -299, 0, 299, 300} {
		t.Run(fmt.Sprintf("%+d seconds", offset), func(t *testing.T) {
			accepted(t, inOneSecond(func(now int64) *gateway.Response {
				body := gateway.Event("wf", "geo_audit", stamp(), nil)
				return send(t, body, header(g.Sign(body, time.Unix(now+offset, 0))))
			}))
		})
	}
	now := time.Now()
	ts := fmt.Sprint(now.Unix())
	body := gateway.Event("wf", "geo_audit", stamp(), nil)
	mac := gateway.MAC(g.Secret, ts, body)
	for name, lines := range map[string][]string{
		"several v1":           {header("t=" + ts + ",v1=" + strings.Repeat("0", 64) + ",v1=" + mac)},
		"v0 beside v1":         {header("t=" + ts + ",v0=abc,v1=" + mac)},
		"with X-OSA-Timestamp": {header(g.Sign(body, now)), "X-OSA-Timestamp: " + ts},
		"header in other case": {"x-osa-signature: " + g.Sign(body, now)},
		"spaces around":        {"X-OSA-Signature:  " + g.Sign(body, now) + "  "},
	} {
		t.Run(name, func(t *testing.T) { accepted(t, send(t, body, lines...)) })
	}
}

// inOneSecond asks with the second that it is, and again if the clock moved on
// before the answer came, which made it another question.
func inOneSecond(ask func(now int64) *gateway.Response) *gateway.Response {
	for {
		now := time.Now().Unix()
		if resp := ask(now); time.Now().Unix() == now {
			return resp
		}
	}
}

// flip changes the first digit.
func flip(mac string) string {
	if mac[0] == '0' {
		return "1" + mac[1:]
	}
	return "0" + mac[1:]
}
