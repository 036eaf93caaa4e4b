package connections

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"testing"

	"pgregory.net/rapid"
)

// fake is a connection that nothing can be asked about.
type fake struct {
	net.Conn
	from   string
	closed bool
}

func (f *fake) RemoteAddr() net.Addr {
	if f.from == "" {
		return &net.UnixAddr{}
	}
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.from))
}

func (f *fake) Close() error {
	f.closed = true
	return nil
}

func TestRoom(t *testing.T) {
	s := New(nil)
	s.SetLimit(3)
	var c [8]*fake
	for i := range c {
		c[i] = new(fake)
	}
	enter := func(i int, states ...http.ConnState) {
		s.State(c[i], http.StateNew)
		for _, state := range states {
			s.State(c[i], state)
		}
	}
	want := func(open int, closed ...int) {
		t.Helper()
		if got := s.Open(); got != open {
			t.Errorf("%d are open, want %d", got, open)
		}
		for i, f := range c {
			is := false
			for _, n := range closed {
				is = is || n == i
			}
			if f.closed != is {
				t.Errorf("%d: closed is %v", i, f.closed)
			}
		}
	}
	enter(0, http.StateActive, http.StateIdle)
	enter(1)
	enter(2)
	want(3)
	enter(3)
	want(3, 1) // the oldest without a request
	s.State(c[1], http.StateClosed)
	enter(4, http.StateActive)
	want(3, 1, 2)
	enter(5, http.StateActive)
	want(3, 1, 2, 3)
	enter(6, http.StateActive)
	want(3, 1, 2, 3, 0) // the idle one
	enter(7)
	want(3, 1, 2, 3, 0, 7) // all others are in use
	s.State(c[7], http.StateClosed)
	s.State(c[4], http.StateClosed)
	want(2, 1, 2, 3, 0, 7)
	if s.Closed(NoRequest) != 3 || s.Closed(Idle) != 1 || s.Closed(Refused) != 1 {
		t.Errorf("closed: %d %d %d", s.Closed(NoRequest), s.Closed(Idle), s.Closed(Refused))
	}
}

// TestSource: a source that has a quarter of those that wait makes room for others.
func TestSource(t *testing.T) {
	s := New(nil)
	s.SetLimit(8)
	enter := func(from string) *fake {
		f := &fake{from: from}
		s.State(f, http.StateNew)
		return f
	}
	var crowd, stranger []*fake
	for i := range 5 {
		crowd = append(crowd, enter(fmt.Sprintf("192.0.2.%d:1", i)))
	}
	for i := range 20 {
		stranger = append(stranger, enter(fmt.Sprintf("[2001:db8::%d]:1", i)))
	}
	for i, f := range crowd {
		if f.closed {
			t.Errorf("%d of the crowd was closed", i)
		}
	}
	open := 0
	for _, f := range stranger {
		if !f.closed {
			open++
		}
	}
	if open != 3 || stranger[19].closed {
		t.Errorf("the stranger has %d", open)
	}
	for i := range 3 {
		enter(fmt.Sprintf("198.51.100.%d:1", i))
	}
	if open = s.unused.bySource[sourceOf(stranger[0])].n; open != 1 || !crowd[0].closed || crowd[1].closed {
		t.Errorf("the stranger has %d, the oldest of the crowd is closed: %v", open, crowd[0].closed)
	}
}

// TestModel: whatever connections do, the bound holds, none that carries a request
// is closed, and all are forgotten in the end.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(nil)
		limit := rapid.IntRange(1, 6).Draw(t, "limit")
		s.SetLimit(limit)
		from := rapid.SampledFrom([]string{"", "192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1", "[2001:db8::2]:1"})
		busy := map[*fake]bool{}
		var all []*fake
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			if len(all) == 0 || rapid.Bool().Draw(t, "new") {
				f := &fake{from: from.Draw(t, "from")}
				all = append(all, f)
				s.State(f, http.StateNew)
			} else {
				f := all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
				state := rapid.SampledFrom([]http.ConnState{http.StateActive, http.StateIdle, http.StateClosed}).Draw(t, "state")
				if f.closed {
					state = http.StateClosed
				}
				s.State(f, state)
				busy[f] = state == http.StateActive
				f.closed = f.closed || state == http.StateClosed
			}
			open := 0
			for _, f := range all {
				if f.closed && busy[f] {
					t.Fatal("one that carries a request was closed")
				}
				if !f.closed {
					open++
				}
			}
			if open != s.Open() || open > limit {
				t.Fatalf("%d are open, %d counted, %d allowed", open, s.Open(), limit)
			}
		}
		for _, f := range all {
			s.State(f, http.StateClosed)
		}
		if s.Open() != 0 || len(s.unused.bySource)+len(s.idle.bySource) > 0 || s.unused.all.first != nil || s.idle.all.last != nil {
			t.Fatal("something is left")
		}
	})
}

// pair is a real connection, both sides.
func pair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
	})
	return server, client
}

// TestTakenOver: a connection that has left its server is counted until it is
// closed.
func TestTakenOver(t *testing.T) {
	s := New(nil)
	s.SetLimit(1)
	nc, _ := pair(t)
	s.State(nc, http.StateNew)
	s.State(nc, http.StateActive)
	s.State(nc, http.StateHijacked)
	if s.Open() != 1 {
		t.Errorf("%d are open", s.Open())
	}
	other, _ := pair(t)
	if s.State(other, http.StateNew); isOpen(other) || !isOpen(nc) {
		t.Error("there was room for a second one")
	}
	s.State(other, http.StateClosed)
	_ = nc.Close()
	if s.Open() != 0 {
		t.Errorf("%d are open", s.Open())
	}
	third, _ := pair(t)
	if s.State(third, http.StateNew); !isOpen(third) {
		t.Error("there was no room")
	}
}

// TestShort: descriptors that others have taken count as well.
func TestShort(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("a socket is no small number there")
		return
	}
	highest := 0
	s := New(func() int { return highest })
	first, _ := pair(t)
	s.State(first, http.StateNew)
	second, _ := pair(t)
	highest = 2
	if s.State(second, http.StateNew); isOpen(first) || !isOpen(second) {
		t.Error("the first one did not make room for the second")
	}
	s.State(second, http.StateActive)
	third, _ := pair(t)
	if s.State(third, http.StateNew); isOpen(third) || !isOpen(second) {
		t.Error("the third one was let in")
	}
	if s.Closed(NoRequest) != 1 || s.Closed(Refused) != 1 {
		t.Errorf("closed: %d %d", s.Closed(NoRequest), s.Closed(Refused))
	}
}

func BenchmarkRequest(b *testing.B) {
	s := New(nil)
	for range 10000 {
		s.State(new(fake), http.StateNew)
	}
	nc := new(fake)
	s.State(nc, http.StateNew)
	b.ReportAllocs()
	for b.Loop() {
		s.State(nc, http.StateActive)
		s.State(nc, http.StateIdle)
	}
}
