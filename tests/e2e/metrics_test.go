package e2e

import (
	"regexp"
	"strconv"
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
