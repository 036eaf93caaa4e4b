package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const defaultAddress = "http://localhost:3000"

// address is where `osa dev` listens.
type address struct {
	flag string // that names it
	host string
	port int
	// bind are the addresses to bind. For localhost they are the loopback addresses of
	// this machine.
	bind []string
}

// parseAddress reads the URL that a flag names.
func parseAddress(flag, raw string) (*address, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%s is %q; want a URL such as %s", flag, raw, defaultAddress)
	}
	if u.Scheme != "http" {
		return nil, fmt.Errorf("%s is %q; development is plain http: for https use `osa-gateway run` with OSA_ADDRESS, see Caddyfile.example", flag, raw)
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("%s is %q; want nothing but scheme, host and port", flag, raw)
	}
	port := 80
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil || port > 65535 {
			return nil, fmt.Errorf("%s is %q; %s is no port", flag, raw, p)
		}
	}
	a := &address{flag: flag, host: u.Hostname(), port: port}
	if a.host == "" {
		return nil, fmt.Errorf("%s is %q; it names no host", flag, raw)
	}
	return a, nil
}

// url returns the base URL of the gateway for this machine.
func (a *address) url() string {
	host := a.host
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	if a.port == 80 {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return "http://" + host
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(a.port))
}

// site returns the site address of the Caddyfile. It has no host name, because the bound
// addresses already limit who can reach the gateway.
func (a *address) site() string { return "http://:" + strconv.Itoa(a.port) }

// claim checks that the port is free on every address that will be bound. Caddy does not
// notice: it shares ports with other Caddy processes of the same user. Port 0 is replaced
// by a free one.
func (a *address) claim(ctx context.Context) error {
	if err := a.probe(ctx); err != nil {
		return a.explain(err)
	}
	return nil
}

// probe is claim with the system's error.
func (a *address) probe(ctx context.Context) error {
	candidates := []string{a.host}
	if a.host == "localhost" {
		candidates = []string{"127.0.0.1", "::1"}
	}
	var lastErr error
	for _, host := range candidates {
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(a.port)))
		if err != nil {
			// A machine without IPv6 is not an error; a port in use is.
			if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
				lastErr = err
				continue
			}
			return err
		}
		if a.port == 0 {
			a.port = ln.Addr().(*net.TCPAddr).Port
		}
		_ = ln.Close() // it was only a probe
		a.bind = append(a.bind, host)
	}
	if len(a.bind) == 0 {
		return lastErr
	}
	return nil
}

func (a *address) explain(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		who := holderOf(a.port)
		if who == "" {
			who = fmt.Sprintf("another program (find it with `lsof -nP -iTCP:%d -sTCP:LISTEN`)", a.port)
		}
		return fmt.Errorf("port %d is in use by %s: stop it, or take another port with %s http://%s",
			a.port, who, a.flag, net.JoinHostPort(a.host, strconv.Itoa(a.port+1)))
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %d needs privileges: take one from 1024 up with %s", a.port, a.flag)
	}
	return fmt.Errorf("listening on %s: %w", a.flag, err)
}

// holderOf names the process that listens on the port. It works on Linux, for processes of
// the same user.
func holderOf(port int) string {
	inodes := make(map[string]bool)
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		suffix := fmt.Sprintf(":%04X", port)
		for _, line := range strings.Split(string(b), "\n") {
			// sl local_address rem_address st … inode: the tenth column
			if c := strings.Fields(line); len(c) > 9 && strings.HasSuffix(c[1], suffix) && c[3] == "0A" {
				inodes["socket:["+c[9]+"]"] = true
			}
		}
	}
	if len(inodes) == 0 {
		return ""
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !inodes[target] {
			continue
		}
		pid := strings.Split(link, "/")[2]
		comm, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			return "process " + pid
		}
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(comm)), pid)
	}
	return ""
}
