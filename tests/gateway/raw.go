package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Raw is a request written to the socket byte by byte: headers that no HTTP
// library would send, bodies that are not as long as they say.
type Raw struct {
	Method, Path string
	// Header lines as they stand, without line ends. Host is added.
	Header []string
	Body   []byte
	// NoLength leaves out Content-Length, for those who write their own framing.
	NoLength bool
	// CloseEarly closes the sending side after the body.
	CloseEarly bool
	// Timeout bounds the whole exchange; default 30 s.
	Timeout time.Duration
}

// Send writes the request on a connection of its own and reads the answer. An
// error means that the connection ended without one.
func (r Raw) Send(addr string) (*Response, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	timeout := r.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	method, path := r.Method, r.Path
	if method == "" {
		method = http.MethodPost
	}
	if path == "" {
		path = WebhookPath
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, addr)
	for _, line := range r.Header {
		b.WriteString(line + "\r\n")
	}
	if !r.NoLength {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.Body))
	}
	b.WriteString("\r\n")
	b.Write(r.Body)

	// The gateway may answer and close before it has read everything.
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(b.Bytes())
		if err == nil && r.CloseEarly {
			err = conn.(*net.TCPConn).CloseWrite()
		}
		written <- err
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		_ = conn.Close()
		<-written
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	_ = conn.Close()
	<-written
	if err != nil {
		return nil, err
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// Chunked frames a body in chunks of the size.
func Chunked(body []byte, size int) []byte {
	var b bytes.Buffer
	for len(body) > 0 {
		n := min(size, len(body))
		fmt.Fprintf(&b, "%x\r\n", n)
		b.Write(body[:n])
		b.WriteString("\r\n")
		body = body[n:]
	}
	b.WriteString("0\r\n\r\n")
	return b.Bytes()
}

// Stuck opens a connection, sends a request and never reads.
func Stuck(addr, request string) (stop func(), err error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	_ = conn.(*net.TCPConn).SetReadBuffer(1 << 10)
	if _, err := conn.Write([]byte(request)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return func() { _ = conn.Close() }, nil
}
