package connections

import (
	"net"
	"net/http"
	"testing"
)

// TestUnreadIsPassedOver: a connection whose request waits to be read is not closed
// in place of one that is silent.
func TestUnreadIsPassedOver(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := New(nil)
	s.SetLimit(2)
	accept := func(sent string) net.Conn {
		t.Helper()
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := client.Write([]byte(sent)); err != nil {
			t.Fatal(err)
		}
		for sent != "" && !unread(conn) { // it is on its way, on this machine
		}
		s.State(conn, http.StateNew)
		return conn
	}
	asking, silent := accept("GET / HTTP/1.1\r\n"), accept("")
	accept("")
	if !isOpen(asking) || isOpen(silent) {
		t.Errorf("open: the one that asks %v, the silent one %v", isOpen(asking), isOpen(silent))
	}
}
