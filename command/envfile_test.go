package command

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEnvFileRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringMatching(`[ -~äß…]{0,40}`).Draw(t, "value")
		prefix := rapid.SampledFrom([]string{forShell, forService}).Draw(t, "prefix")
		b, err := formatEnv("head", prefix, []variable{{name: "BEFORE", value: "x"}, {name: "NAME", value: value, comment: "two\nlines"}})
		if strings.ContainsAny(value, "'#") {
			if err == nil {
				t.Fatalf("%q cannot be written so that all readers agree, and was", value)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		vars, err := parseEnv(b)
		if err != nil || vars["NAME"] != value || vars["BEFORE"] != "x" || len(vars) != 2 {
			t.Fatalf("%q reads back as %q, %v", value, vars, err)
		}
	})
}

// A shell reads what we write as we mean it.
func TestEnvFileInAShell(t *testing.T) {
	for _, value := range []string{"plain", "opal_prod_a-b_c", "@/etc/x.pem", "a b", `$HOME "x" \n ; & |`, "*", "~", ""} {
		b, err := formatEnv("head", forShell, []variable{{name: "NAME", value: value}})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "env")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("sh", "-c", `. "$1"; printenv NAME`, "sh", file).Output()
		if got := strings.TrimSuffix(string(out), "\n"); err != nil || got != value {
			t.Errorf("%q is read as %q, %v", value, got, err)
		}
	}
}

func TestParseEnvRefuses(t *testing.T) {
	for _, in := range []string{"nonsense", "=x", "export =x", "A B=x"} {
		if _, err := parseEnv([]byte(in + "\n")); err == nil {
			t.Errorf("%q is taken", in)
		}
	}
}
