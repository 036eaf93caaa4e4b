package network_test

import (
	"net/netip"
	"testing"

	"github.com/osa-edge/osa-gateway/internal/network"
)

func TestOf(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7":                "192.0.2.7",
		"::ffff:192.0.2.7":         "192.0.2.7",
		"2001:db8:1:2:3:4:5:6":     "2001:db8:1:2::",
		"2001:db8:1:2:ffff::":      "2001:db8:1:2::",
		"fe80::1%eth0":             "fe80::",
		"::1":                      "::",
		"2001:db8:1:2:3:4:5:6%en0": "2001:db8:1:2::",
	} {
		if got := network.ClientOf(netip.MustParseAddr(in)); got != netip.MustParseAddr(want) {
			t.Errorf("%s counts for %s, want %s", in, got, want)
		}
	}
	if got := network.ClientOf(netip.Addr{}); got.IsValid() {
		t.Errorf("no address counts for %s", got)
	}
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "localhost.example.com": false, "10.0.0.1": false, "::2": false, "[::1]": false, "0.0.0.0": false,
	} {
		if got := network.IsLoopback(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
