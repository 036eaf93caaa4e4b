package stream

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"
)

var cables atomic.Int64

// cable leads to a host in a network namespace. It needs root.
type cable struct {
	namespace string
	server    string // the address on this side
}

func newCable(t *testing.T) *cable {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("a network to cut takes root")
	}
	n := cables.Add(1)
	name := fmt.Sprintf("osa%d-%d", os.Getpid()%100000, n)
	w := &cable{namespace: name, server: fmt.Sprintf("10.91.%d.1", n)}
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	ip("netns", "add", name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", name).Run() })
	ip("addr", "add", w.server+"/30", "dev", name)
	ip("link", "set", name, "up")
	ip("-n", name, "addr", "add", fmt.Sprintf("10.91.%d.2/30", n), "dev", "eth0")
	ip("-n", name, "link", "set", "eth0", "up")
	return w
}

// cut has nothing come back from the other end any more.
func (w *cable) cut(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("ip", "-n", w.namespace, "route", "add", "blackhole", w.server+"/32").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// dial connects from the other end.
func (w *cable) dial(t *testing.T, address string) net.Conn {
	t.Helper()
	type result struct {
		conn net.Conn
		err  error
	}
	got := make(chan result)
	go func() {
		// The thread is in the other namespace and ends with this goroutine.
		runtime.LockOSThread()
		fd, err := os.Open("/run/netns/" + w.namespace)
		if err == nil {
			defer fd.Close()
			err = unix.Setns(int(fd.Fd()), unix.CLONE_NEWNET)
		}
		var conn net.Conn
		if err == nil {
			dialer := net.Dialer{Timeout: 10 * time.Second, FallbackDelay: -1}
			conn, err = dialer.Dial("tcp4", address)
		}
		got <- result{conn, err}
	}()
	r := <-got
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { r.conn.Close() })
	return r.conn
}

// distant is a stream that the other end reads.
func (s *site) distant(t *testing.T, w *cable, h2 bool) {
	t.Helper()
	_, port, err := net.SplitHostPort(s.URL[strings.Index(s.URL, "://")+3:])
	if err != nil {
		t.Fatal(err)
	}
	conn := w.dial(t, net.JoinHostPort(w.server, port))
	config := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}
	if h2 {
		config.NextProtos = []string{"h2"}
	}
	if s.tls != nil {
		conn = tls.Client(conn, config)
	}
	req, _ := http.NewRequest(http.MethodGet, s.URL+"/stream", nil)
	var resp *http.Response
	if h2 {
		client, err := new(http2.Transport).NewClientConn(conn) //nolint:staticcheck // over a connection that is there
		if err != nil {
			t.Fatal(err)
		}
		resp, err = client.RoundTrip(req) //nolint:bodyclose // it has no end
		if err != nil {
			t.Fatal(err)
		}
	} else {
		if err := req.Write(conn); err != nil {
			t.Fatal(err)
		}
		if resp, err = http.ReadResponse(bufio.NewReader(conn), req); err != nil { //nolint:bodyclose // it has no end
			t.Fatal(err)
		}
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
}

// vanishing are the ways of carrying a stream that the kernel's TCP is below.
func vanishing(t *testing.T, timeout, heartbeat string, each func(t *testing.T, w *cable, s *site, h2 bool)) {
	for name, way := range ways(t) {
		for _, kept := range []bool{false, true} {
			if name == "HTTP/3" || name != "HTTP/1.1" && kept {
				continue
			}
			t.Run(fmt.Sprintf("%s, kept=%v", name, kept), func(t *testing.T) {
				w := newCable(t)
				s := newSite(t, func(s *site) {
					_, port, _ := net.SplitHostPort(s.URL[len("http://"):])
					s.server["listen"] = []string{":" + port}
					s.stream["keep_connections"] = kept
					s.http["grace_period"] = "1s" // the kernel keeps connections to nobody for longer
					s.stream["max_streams_per_principal"] = 2
					s.stream["write_timeout"], s.stream["heartbeat"] = timeout, heartbeat
					if way != nil {
						way(s)
					}
				})
				each(t, w, s, name == "HTTP/2")
			})
		}
	}
}

// TestVanishedClients: a client that is gone without a word holds its stream for
// the write timeout after the first byte that it has not acknowledged.
func TestVanishedClients(t *testing.T) {
	vanishing(t, "5s", "1s", func(t *testing.T, w *cable, s *site, h2 bool) {
		before := totals.closed[endTimeout].Load()
		s.distant(t, w, h2)
		s.eventually("it is open", func() bool { return len(the.streams()) == 1 })
		w.cut(t)
		s.eventually("it has ended", func() bool { return the.count() == 0 })
		if n := totals.closed[endTimeout].Load() - before; n != 1 {
			t.Errorf("%d ended with %s", n, endTimeout)
		}
	})
}

// TestNewStreamsDisplaceSilentOnes of the same owner, and of nobody else.
func TestNewStreamsDisplaceSilentOnes(t *testing.T) {
	vanishing(t, "10m", "50s", func(t *testing.T, w *cable, s *site, h2 bool) {
		before := totals.closed[endDisplaced].Load()
		s.distant(t, w, h2)
		s.distant(t, w, h2)
		s.eventually("both are open", func() bool { return len(the.streams()) == 2 })
		w.cut(t)
		// The new ones come from elsewhere on the network, with the same credentials.
		for _, open := range the.streams() {
			the.rename(open, "anonymous:127.0.0.1")
		}
		for n := range 2 {
			s.eventually("a new one is let in", func() bool {
				r := s.try("")
				if r.resp.StatusCode != http.StatusOK {
					r.close()
					return false
				}
				return true
			})
			s.eventually("a silent one has ended", func() bool { return totals.closed[endDisplaced].Load() == before+uint64(n)+1 })
		}
		if r := s.try(""); r.resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a stream beyond the limit displaced one that is read: %d", r.resp.StatusCode)
		}
		if n := the.count(); n != 2 {
			t.Errorf("%d are open", n)
		}
	})
}

// rename makes the stream somebody else's.
func (t *registry) rename(s *stream, owner string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byOwner[s.owner]--
	t.byOwner[owner]++
	s.owner = owner
}
