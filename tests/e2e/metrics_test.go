package e2e

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// TestStoreMetrics: what the store takes of its disk, what is left, and what must
// be; also after a reload, whose configuration has a registry of its own.
func TestStoreMetrics(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	g.MustPost(gateway.Event("wf-metrics", "geo_audit", "1", nil))
	for _, when := range []string{"at first", "after a reload"} {
		body := g.MustDo("GET", "/metrics", nil).Body
		for series, least := range map[string]float64{
			"osa_store_disk_bytes": 1 << 16, "osa_store_free_bytes": 1 << 20, "osa_store_needed_bytes": 256 << 20,
		} {
			m := regexp.MustCompile(`(?m)^` + series + `\{store="[^"]+"\} (\S+)$`).FindSubmatch(body)
			if m == nil {
				t.Errorf("%s there is no %s", when, series)
				continue
			}
			if v, err := strconv.ParseFloat(string(m[1]), 64); err != nil || v < least {
				t.Errorf("%s %s is %s, want %v at least", when, series, m[1], least)
			}
		}
		if err := g.Reload(g.WriteConfig("Caddyfile.n", gateway.Generation(t, 2))); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMetricsBehindAProxy: metrics are for local networks. What a proxy forwards
// counts as its client's only if the proxy is trusted. If it is not, nobody knows
// whose it is, and it is refused.
func TestMetricsBehindAProxy(t *testing.T) {
	const local, public = "10.1.2.3", "203.0.113.7"
	trust := func(text string) string {
		return gateway.Replace(t, text, "\tservers {\n", "\tservers {\n\t\ttrusted_proxies static 127.0.0.0/8 ::1\n")
	}
	for _, proxy := range []struct {
		name    string
		edit    func(string) string
		trusted bool
	}{{"not trusted", nil, false}, {"trusted", trust, true}} {
		g := gateway.Start(t, gateway.Options{Edit: proxy.edit})
		defer func() {
			// It is said once, and not of a proxy that is trusted.
			if n, want := strings.Count(g.Log(), "no trusted proxy"), map[bool]int{false: 1}[proxy.trusted]; n != want {
				t.Errorf("%s: the log warns %d times, want %d", proxy.name, n, want)
			}
		}()
		for _, tt := range []struct {
			name          string
			header, value string
			// The answers if the proxy is trusted and if it is not.
			trusted, untrusted int
		}{
			{"direct", "Accept", "*/*", 200, 200},
			{"a public client", "X-Forwarded-For", public, 403, 403},
			{"a local client", "X-Forwarded-For", local, 200, 403},
			{"no address", "X-Forwarded-For", "", 200, 403},
			{"RFC 7239", "Forwarded", "for=" + public, 403, 403},
			{"nginx", "X-Real-Ip", public, 403, 403},
			{"the scheme alone", "X-Forwarded-Proto", "https", 403, 403},
			{"the host alone", "X-Forwarded-Host", "gateway.test", 403, 403},
			{"an intermediary", "Via", "1.1 balancer", 403, 403},
		} {
			t.Run(proxy.name+"/"+tt.name, func(t *testing.T) {
				want := tt.untrusted
				if proxy.trusted {
					want = tt.trusted
				}
				r, err := g.Do("GET", "/metrics", nil, tt.header, tt.value)
				if err != nil {
					t.Fatal(err)
				}
				if r.Status != want {
					t.Errorf("%s: %q is answered with %d, want %d", tt.header, tt.value, r.Status, want)
				}
			})
		}
	}
}
