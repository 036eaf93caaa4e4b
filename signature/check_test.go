package signature_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/signature"
)

func TestCheckSecretRefuses(t *testing.T) {
	r := key()
	for name, value := range map[string]string{
		"empty":                "",
		"spaces":               strings.Repeat(" ", 40),
		"short":                r[:31],
		"trailing newline":     r + "\n",
		"leading space":        " " + r,
		"two lines":            r + "\n" + r,
		"NUL":                  r + "\x00" + r,
		"not text":             r + "\xff\xfe" + r,
		"documentation":        "your-32-character-hmac-secret",
		"documentation, long":  "your-32-character-production-auth-key",
		"development, webhook": "dev-webhook-secret-32-characters-min",
		"development, key":     "dev-auth-key-32-characters-minimum",
		"angle brackets":       "<OPAL_STRATEGY_WORKFLOW_AUTH_KEY>",
		"changeme":             "ChangeMe-" + r,
		"password":             "MyPassword" + r,
		"one character":        strings.Repeat("x", 64),
		"few characters":       "abacabadabacabaeabacabadabacabaf"[:32],
		"repeated part":        strings.Repeat("q8Zt3LkM", 4),
		"repeated, cut":        strings.Repeat("q8Zt3LkMw1", 4)[:35],
		"repeated digits":      strings.Repeat("0123456789abcdef", 2),
		"alphabet":             "abcdefghijklmnopqrstuvwxyz012345",
		"alphabet backwards":   "zyxwvutsrqponmlkjihgfedcba987654",
		"Caddy placeholder":    "{evn.OSA_WEBHOOK_SHARED_SECRET_NAME}",
		"shell placeholder":    "${OSA_WEBHOOK_SHARED_SECRET_FROM_VAULT}",
	} {
		t.Run(name, func(t *testing.T) {
			err := signature.CheckSecret("OSA_TEST_SECRET", value)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), "OSA_TEST_SECRET") {
				t.Errorf("does not name the secret: %v", err)
			}
			if v := strings.TrimSpace(value); v != "" && (strings.Contains(err.Error(), v) || strings.Contains(err.Error(), v[:len(v)/2])) {
				t.Errorf("reveals the value")
			}
		})
	}
}

func TestCheckSecretAcceptsWhatIsRandom(t *testing.T) {
	for range 2000 {
		b := make([]byte, 32)
		_, _ = rand.Read(b)
		for _, v := range []string{fmt.Sprintf("%x", b), base64.StdEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b), "dev-" + fmt.Sprintf("%X", b)} {
			if err := signature.CheckSecret("x", v); err != nil {
				t.Fatalf("refused a random secret: %v", err)
			}
		}
	}
}

func TestSecretsDoNotPrintThemselves(t *testing.T) {
	k := key()
	s := signature.NewSecret("primary", []byte(k), time.Time{}, time.Time{})
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if out := fmt.Sprintf(format, s); strings.Contains(out, k) || !strings.Contains(out, "primary") {
			t.Errorf("%s prints %d bytes", format, len(out))
		}
	}
}
