package stream

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/osa-edge/osa-gateway/event"
)

// TestStuckHTTP2Streams: a client that opens no more of its window is closed
// after the write timeout, and another stream on its connection goes on.
func TestStuckHTTP2Streams(t *testing.T) {
	for name, accept := range map[string]string{"detached": "text/event-stream", "with its handler": "*/*"} {
		t.Run(name, func(t *testing.T) { testStuckHTTP2Streams(t, accept) })
	}
}

func testStuckHTTP2Streams(t *testing.T, accept string) {
	s := newSite(t, func(s *site) {
		s.stream["write_timeout"] = "500ms"
		s.useHTTP2(t)
	})
	_, addr, _ := strings.Cut(s.URL, "://")
	tcp, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	conn := tls.Client(tcp, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{"h2"}})
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	// The connection's window is large, a stream's is 64 KiB and stays that.
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(framer.WriteSettings())
	must(framer.WriteWindowUpdate(0, 1<<28))
	var block bytes.Buffer
	head := hpack.NewEncoder(&block)
	open := func(id uint32, path string) {
		t.Helper()
		block.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", path}, {"accept", accept}} {
			must(head.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
		}
		must(framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}))
	}
	open(1, "/stream")
	open(3, "/stream?workflow_id=small")
	s.eventually("both are open", func() bool { return len(the.streams()) == 2 })
	timeouts := totals.closed[endTimeout].Load()
	big := strings.Repeat("x", 100_000)
	for range 5 {
		s.publish(&event.Event{WorkflowID: "w", Type: "error_notification", ErrorMessage: big})
	}
	for reset, small := false, 0; !reset || small < 2; {
		frame, err := framer.ReadFrame()
		must(err)
		switch f := frame.(type) {
		case *http2.RSTStreamFrame:
			if f.StreamID != 1 {
				t.Fatalf("stream %d is reset", f.StreamID)
			}
			reset = true
			s.publish(&event.Event{WorkflowID: "small", Type: "custom"})
		case *http2.DataFrame:
			if f.StreamID == 3 && bytes.Contains(f.Data(), []byte("retry: ")) {
				small++
			}
			if f.StreamID == 3 && bytes.Contains(f.Data(), []byte("id: ")) {
				small++
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				must(framer.WritePing(true, f.Data))
			}
		}
	}
	s.eventually("it is counted", func() bool { return totals.closed[endTimeout].Load() == timeouts+1 && the.count() == 1 })
}
