package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/osa-edge/osa-gateway/internal/strictjson"
)

// adminError is an error response of the admin endpoint.
type adminError struct {
	status  int
	message string
}

func (e *adminError) Error() string {
	if e.message == "" {
		return fmt.Sprintf("it answered %d %s", e.status, http.StatusText(e.status))
	}
	return fmt.Sprintf("it answered %d: %s", e.status, e.message)
}

// getAdmin sends a GET to Caddy's admin endpoint at an address such as localhost:2019 or
// unix//run/caddy.sock. The error of an error response is an *adminError. Caddy's own
// AdminAPIRequest returns such errors as text only.
func getAdmin(address, uri string) (*http.Response, error) {
	addr, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		return nil, fmt.Errorf("%q is no address: %w", address, err)
	}
	if addr.PortRangeSize() > 1 {
		return nil, fmt.Errorf("%q is more than one address", address)
	}
	origin := "http://" + addr.JoinHostPort(0)
	if addr.IsUnixNetwork() {
		origin = "http://127.0.0.1" // a Host that Caddy lets in
		addr.Host, _, _ = strings.Cut(addr.Host, "|")
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, origin+uri, nil)
	if err != nil {
		return nil, err
	}
	if !addr.IsUnixNetwork() {
		req.Header.Set("Origin", origin)
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, addr.Network, addr.JoinHostPort(0))
		},
	}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < http.StatusBadRequest {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var told struct {
		Error string `json:"error"`
	}
	if errors.Join(err, strictjson.Unmarshal(body, &told)) != nil {
		told.Error = ""
	}
	return nil, &adminError{resp.StatusCode, told.Error}
}
