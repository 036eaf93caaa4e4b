package load

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"
	"time"
)

// Target is where requests go and what they carry besides a body.
type Target struct {
	// Address is host:port; plain HTTP.
	Address string
	// Path of the receiver.
	Path string
	// Secret signs the bodies; without it requests carry no signature.
	Secret string
	// Header are further header lines, each with its CRLF.
	Header string
}

// writer makes requests as bytes. It signs on its own account rather than with
// the gateway's package, so that a mistake there cannot hide itself.
type writer struct {
	head   []byte
	mac    hash.Hash
	events *Events
	body   []byte
	sum    [sha256.Size]byte
}

func newWriter(t Target, events *Events) *writer {
	w := &writer{events: events}
	w.head = append(w.head, "POST "+t.Path+" HTTP/1.1\r\nHost: "+t.Address+
		"\r\nUser-Agent: osa-load\r\nAccept: */*\r\nContent-Type: application/json\r\n"+t.Header...)
	if t.Secret != "" {
		w.mac = hmac.New(sha256.New, []byte(t.Secret))
	}
	return w
}

// append appends a whole request with the next event.
func (w *writer) append(dst []byte, now time.Time) []byte {
	w.body = w.events.Append(w.body[:0])
	dst = append(dst, w.head...)
	if w.mac != nil {
		dst = append(dst, "X-OSA-Signature: t="...)
		at := len(dst)
		dst = strconv.AppendInt(dst, now.Unix(), 10)
		w.mac.Reset()
		w.mac.Write(dst[at:])
		w.mac.Write([]byte{'.'})
		w.mac.Write(w.body)
		dst = append(dst, ",v1="...)
		dst = hex.AppendEncode(dst, w.mac.Sum(w.sum[:0]))
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(w.body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, w.body...)
}

// Source gives requests, one after the other; nil at its end. What it returns
// stays untouched until the run is over, or, if it is given room in dst, until
// dst is used again.
type Source interface {
	Next(dst []byte) []byte
}

// Prepared are requests that were made and signed before the run, so that this
// costs nothing while it lasts. They have to be sent within the signature's
// tolerance.
type Prepared struct {
	arena []byte
	ends  []int
	next  int
}

// maxPrepared bounds the memory of prepared requests.
const maxPrepared = 2 << 30

// Prepare makes n requests, or as many as fit 2 GiB.
func Prepare(t Target, events *Events, n int) *Prepared {
	w := newWriter(t, events)
	size := len(w.append(nil, time.Now())) + 64
	n = min(n, maxPrepared/size)
	p := &Prepared{arena: make([]byte, 0, n*size), ends: make([]int, 0, n)}
	now := time.Now()
	for i := range n {
		if i%1000 == 0 {
			now = time.Now()
		}
		p.arena = w.append(p.arena, now)
		p.ends = append(p.ends, len(p.arena))
	}
	return p
}

// Len is how many are left.
func (p *Prepared) Len() int { return len(p.ends) - p.next }

// Rewind makes all of them be sent again: to a server without memory it makes no
// difference, to the gateway they are duplicates.
func (p *Prepared) Rewind() { p.next = 0 }

// Next implements Source.
func (p *Prepared) Next([]byte) []byte {
	if p.next == len(p.ends) {
		return nil
	}
	start := 0
	if p.next > 0 {
		start = p.ends[p.next-1]
	}
	p.next++
	return p.arena[start:p.ends[p.next-1]:p.ends[p.next-1]]
}

// Repeat is one request without a body, for ever.
type Repeat struct{ request []byte }

// Get asks for the target's path, again and again.
func Get(t Target) Repeat {
	return Repeat{[]byte("GET " + t.Path + " HTTP/1.1\r\nHost: " + t.Address +
		"\r\nUser-Agent: osa-load\r\nAccept: */*\r\n" + t.Header + "\r\n")}
}

// Next implements Source.
func (r Repeat) Next([]byte) []byte { return r.request }

// Live makes and signs each request when it is sent: for runs that last longer
// than a signature holds. It costs the generator about 4 µs a request more.
type Live struct{ w *writer }

// NewLive returns an endless source.
func NewLive(t Target, events *Events) *Live { return &Live{newWriter(t, events)} }

// Next implements Source.
func (l *Live) Next(dst []byte) []byte { return l.w.append(dst[:0], time.Now()) }
