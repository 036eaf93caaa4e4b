package command

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for raw, want := range map[string]string{
		"http://localhost:3000":  "http://localhost:3000",
		"http://localhost:3000/": "http://localhost:3000",
		"http://localhost":       "http://localhost",
		"http://127.0.0.1:80":    "http://127.0.0.1",
		"http://[::1]:3000":      "http://[::1]:3000",
		"http://[::1]":           "http://[::1]",
		// Whoever listens everywhere is reached at home by name.
		"http://0.0.0.0:3000": "http://localhost:3000",
		"http://[::]:3000":    "http://localhost:3000",
	} {
		a, err := parseAddress("--address", raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		} else if got := a.url(); got != want {
			t.Errorf("%s is reached at %s, want %s", raw, got, want)
		}
	}
	for _, raw := range []string{
		"", "localhost:3000", ":3000", "http://", "http://:3000", "https://localhost", "ftp://localhost",
		"http://localhost:x", "http://localhost:70000", "http://localhost/path", "http://u:p@localhost", "http://localhost?x", "http://localhost#x",
	} {
		if a, err := parseAddress("--address", raw); err == nil {
			t.Errorf("%q is taken for %+v", raw, a)
		}
	}
}

func TestClaim(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().(*net.TCPAddr).Port
	for _, host := range []string{"localhost", "127.0.0.1", "0.0.0.0"} {
		a := &address{host: host, port: taken}
		err := a.claim(t.Context())
		if err == nil {
			t.Errorf("%s: the port is taken, and was claimed", host)
			continue
		}
		for _, want := range []string{fmt.Sprintf("port %d is in use by", taken), fmt.Sprintf("%s:%d", host, taken+1)} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q lacks %q", host, err, want)
			}
		}
	}
	free := &address{host: "localhost"}
	if err := free.claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if free.port == 0 || len(free.bind) == 0 {
		t.Errorf("claimed %+v", free)
	}
	if args := free.bindArgs(); !strings.HasPrefix(args, "127.0.0.1") && !strings.HasPrefix(args, "[::1]") {
		t.Errorf("bind %s", args)
	}
}
