package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// rawStream is a connection on which every byte is the test's own.
type rawStream struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

func dialStream(t *testing.T, g *gateway.Gateway, request string) *rawStream {
	t.Helper()
	conn, err := net.DialTimeout("tcp", g.Addr, within)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(within))
	s := &rawStream{conn, t, bufio.NewReader(conn)}
	s.send(request)
	return s
}

func (s *rawStream) send(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		s.t.Fatal(err)
	}
}

// begun reads the head of the answer, which must be a stream's.
func (s *rawStream) begun(method string) *http.Response {
	s.t.Helper()
	resp, err := http.ReadResponse(s.in, &http.Request{Method: method})
	if err != nil {
		s.t.Fatal(err)
	}
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || ct != "text/event-stream" {
		s.t.Fatalf("%s, %s", resp.Status, ct)
	}
	return resp
}

// until reads on until the line has come.
func (s *rawStream) until(in *bufio.Reader, line string) (lines int) {
	s.t.Helper()
	for ; ; lines++ {
		got, err := in.ReadString('\n')
		if err != nil {
			s.t.Fatalf("%v before %q", err, line)
		}
		if strings.TrimRight(got, "\n") == line {
			return lines
		}
	}
}

// openStreams is what the admin endpoint tells of them.
func openStreams(t *testing.T, g *gateway.Gateway) (list struct {
	Totals struct {
		Open   int            `json:"open"`
		Closed map[string]int `json:"closed"`
	} `json:"totals"`
	Streams []struct {
		Principal, Position, Protocol string
		TakenOver                     bool `json:"taken_over"`
		LagEvents                     int  `json:"lag_events"`
	} `json:"streams"`
}) {
	t.Helper()
	client := &http.Client{Timeout: within, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(g.Dir, "admin.sock"))
		},
	}}
	resp, err := client.Get("http://127.0.0.1/osa/streams")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	if g.Redact(string(raw)) != string(raw) {
		t.Error("the admin endpoint shows a credential")
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestStreamOnTheWire: whatever a request looks like that asks for a stream, it
// gets one, which lives through a reload and ends in order.
func TestStreamOnTheWire(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	head := "Host: " + g.Addr + "\nAuthorization: Bearer " + g.Key + "\n"
	get := "GET " + gateway.StreamPath
	var streams []*rawStream
	var bodies []*bufio.Reader
	for _, request := range []string{
		get + " HTTP/1.1\n" + head + "\n",
		get + " HTTP/1.1\nConnection: close\n" + head + "\n",
		get + " HTTP/1.0\n" + head + "\n",
		get + " HTTP/1.0\nConnection: keep-alive\n" + head + "\n",
		get + " HTTP/1.1\n" + head + "\n" + get + " HTTP/1.1\n" + head + "\n",
		get + " HTTP/1.1\nContent-Type: application/json\nContent-Length: 2\n" + head + "\n{}",
		get + " HTTP/1.1\nContent-Type: application/json\nContent-Length: 2\nExpect: 100-continue\n" + head + "\n{}",
	} {
		s := dialStream(t, g, request)
		if strings.Contains(request, "100-continue") {
			if line, err := s.in.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
				t.Fatal(line, err)
			}
			_, _ = s.in.ReadString('\n')
		}
		resp := s.begun(http.MethodGet)
		if !resp.Close || len(resp.TransferEncoding) > 0 || resp.ContentLength >= 0 {
			t.Errorf("%q is answered with %v", strings.Split(request, "\n")[0], resp)
		}
		streams, bodies = append(streams, s), append(bodies, bufio.NewReader(resp.Body))
	}
	gateway.Eventually(t, within, "all are taken over", func() bool {
		list := openStreams(t, g)
		n := 0
		for _, s := range list.Streams {
			if s.TakenOver {
				n++
			}
			if !strings.HasPrefix(s.Principal, "api_key:") || !strings.HasPrefix(s.Protocol, "HTTP/1.") {
				t.Fatalf("listed as %+v", s)
			}
		}
		return n == len(streams) && list.Totals.Open == n
	})
	// What a client sends on its stream is nobody's concern.
	streams[0].send(strings.Repeat(get+" HTTP/1.1\n"+head+"\n", 50))
	seqs := post(t, g, "wf-wire", 20)
	if err := g.Reload(g.WriteConfig("Caddyfile.reloaded", gateway.Generation(t, 2))); err != nil {
		t.Fatal(err)
	}
	g.HTTP.CloseIdleConnections()
	seqs = append(seqs, post(t, g, "wf-wire", 20)...)
	for i, s := range streams {
		for _, seq := range seqs {
			s.until(bodies[i], fmt.Sprintf("id: evt_%d", seq))
		}
	}
	list := openStreams(t, g)
	for _, s := range list.Streams {
		if s.Position != fmt.Sprintf("evt_%d", seqs[len(seqs)-1]) || s.LagEvents != 0 {
			t.Errorf("listed as %+v", s)
		}
	}
	if len(list.Streams) != len(streams) {
		t.Errorf("%d are listed", len(list.Streams))
	}

	// All ways to leave.
	before := list.Totals.Closed["client_gone"]
	_ = streams[1].Close()
	_ = streams[2].Conn.(*net.TCPConn).CloseWrite()
	_ = streams[3].Conn.(*net.TCPConn).SetLinger(0)
	_ = streams[3].Close()
	gateway.Eventually(t, within, "three are gone", func() bool {
		now := openStreams(t, g).Totals
		return now.Open == len(streams)-3 && now.Closed["client_gone"] == before+3
	})

	// The end comes in order, with a word before it.
	if took := g.Terminate(); took > 5*time.Second {
		t.Errorf("the exit took %v", took)
	}
	for _, i := range []int{0, 4, 5, 6} {
		rest, err := io.ReadAll(bodies[i])
		if text := string(rest); err != nil || !strings.Contains(text, "retry: ") || !strings.HasSuffix(text, "\n\n") {
			t.Errorf("stream %d ends with %q, %v", i, text, err)
		}
	}
}

// TestStreamHead: HEAD shows what GET would begin with and holds nothing.
func TestStreamHead(t *testing.T) {
	g := gateway.Start(t, gateway.Options{})
	head := "HEAD " + gateway.StreamPath + " HTTP/1.1\nHost: " + g.Addr + "\nAuthorization: Bearer " + g.Key + "\n\n"
	s := dialStream(t, g, head)
	s.begun(http.MethodHead)
	s.send(head) // the connection is kept
	s.begun(http.MethodHead)
	if n := openStreams(t, g).Totals.Open; n != 0 {
		t.Errorf("%d open", n)
	}
}

// TestStreamSlowRequests: who sends a request in drops, or announces what does
// not come, is sent away and holds no stream meanwhile.
func TestStreamSlowRequests(t *testing.T) {
	g := gateway.Start(t, gateway.Options{Edit: func(text string) string {
		text = gateway.Replace(t, text, "read_header 10s", "read_header 300ms")
		return gateway.Replace(t, text, "read_body_idle 15s", "read_body_idle 300ms")
	}})
	get := "GET " + gateway.StreamPath + " HTTP/1.1\nHost: " + g.Addr + "\nAuthorization: Bearer " + g.Key + "\n"
	for name, request := range map[string]string{
		"half a head":      get[:60],
		"a body announced": get + "Content-Type: application/json\nContent-Length: 5\n\n{",
	} {
		s := dialStream(t, g, request)
		answer, err := io.ReadAll(s)
		if errors.Is(err, os.ErrDeadlineExceeded) || strings.Contains(string(answer), " 200 ") {
			t.Errorf("%s: %v after %q", name, err, answer)
		}
		if n := openStreams(t, g).Totals.Open; n != 0 {
			t.Errorf("%s: %d open", name, n)
		}
	}
}

// TestStreamWithoutHTTP2: a server that speaks HTTP/1.1 alone stands before its
// connections, which then stay with it.
func TestStreamWithoutHTTP2(t *testing.T) {
	g := gateway.Start(t, gateway.Options{Edit: func(text string) string {
		return gateway.Replace(t, text, "\tservers {\n", "\tservers {\n\t\tprotocols h1\n")
	}})
	s := dialStream(t, g, "GET "+gateway.StreamPath+" HTTP/1.1\nHost: "+g.Addr+"\nAuthorization: Bearer "+g.Key+"\n\n")
	in := bufio.NewReader(s.begun(http.MethodGet).Body)
	for range 2 {
		seqs := post(t, g, "wf-h1", 5)
		s.until(in, fmt.Sprintf("id: evt_%d", seqs[4]))
	}
	if list := openStreams(t, g).Streams; len(list) != 1 || list[0].TakenOver {
		t.Errorf("listed as %+v", list)
	}
}
