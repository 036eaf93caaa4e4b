package command

import (
	"encoding/json"
	"net"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

func TestWithSimulator(t *testing.T) {
	at := &address{host: "localhost", port: 3001, bind: []string{"127.0.0.1", "::1"}}
	for name, config := range map[string]string{
		"nothing":      `{}`,
		"other apps":   `{"admin":{"listen":"unix/x"},"apps":{"osa":{"retention":9007199254740993}}}`,
		"other server": `{"apps":{"http":{"grace_period":1,"servers":{"srv0":{"listen":[":80"]}}}}}`,
	} {
		got, err := withSimulator([]byte(config), at)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var out struct {
			Apps struct {
				HTTP struct {
					Servers map[string]struct {
						Listen []string
						Routes []struct{ Handle []struct{ Handler string } }
					}
				}
			}
		}
		if err := json.Unmarshal(got, &out); err != nil {
			t.Fatal(err)
		}
		s := out.Apps.HTTP.Servers[simulatorServer]
		if !reflect.DeepEqual(s.Listen, []string{"127.0.0.1:3001", "[::1]:3001"}) || s.Routes[0].Handle[1].Handler != "osa_simulator" {
			t.Errorf("%s: %s", name, got)
		}
		for _, kept := range []string{`"srv0":{"listen":[":80"]}`, `"grace_period":1`, `"retention":9007199254740993`, `"admin":{"listen":"unix/x"}`} {
			if strings.Contains(config, kept) && !strings.Contains(string(got), kept) {
				t.Errorf("%s: %s is lost in %s", name, kept, got)
			}
		}
		if _, err := withSimulator(got, at); err == nil {
			t.Errorf("%s: a second simulator is added", name)
		}
	}
	for _, bad := range []string{``, `[]`, `{"apps":1}`} {
		if got, err := withSimulator([]byte(bad), at); err == nil {
			t.Errorf("%q becomes %s", bad, got)
		}
	}
}

// TestClaimSimulator: the first port after the gateway's that is free.
func TestClaimSimulator(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().(*net.TCPAddr).Port
	a, err := claimSimulator(t.Context(), nil, &address{port: taken - 1})
	if err != nil || a.port <= taken || a.port > taken+simulatorPorts || len(a.bind) == 0 {
		t.Errorf("beside port %d: %+v, %v", taken, a, err)
	}
	given, err := parseSimulator("http://127.0.0.1:" + strconv.Itoa(taken))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := claimSimulator(t.Context(), given, &address{port: 1}); err == nil || !strings.Contains(err.Error(), "--simulator http://127.0.0.1:") {
		t.Errorf("a port that is taken: %v", err)
	}
	if _, err := claimSimulator(t.Context(), nil, &address{port: 65535}); err == nil || !strings.Contains(err.Error(), "--simulator") {
		t.Errorf("no port is left: %v", err)
	}
	for _, raw := range []string{"http://0.0.0.0:3001", "http://example.com:3001", "https://localhost:3001", "localhost:3001"} {
		if _, err := parseSimulator(raw); err == nil || !strings.Contains(err.Error(), "--simulator is") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
