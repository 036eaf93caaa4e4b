package command

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func readAll(t *testing.T, r io.Reader) ([]message, *sseReader, error) {
	t.Helper()
	s := newSSEReader(r, "evt_0")
	var all []message
	for {
		m, err := s.next()
		if err != nil {
			return all, s, err
		}
		all = append(all, m)
	}
}

func TestSSE(t *testing.T) {
	tests := map[string]struct {
		in    string
		want  []message
		last  string
		retry time.Duration
	}{
		"one": {
			in:   "retry: 3000\n\nid: evt_1\nevent: error_notification\ndata: {\"a\":1}\n\n",
			want: []message{{id: "evt_1", ownID: true, event: "error_notification", data: `{"a":1}`}},
			last: "evt_1", retry: 3 * time.Second,
		},
		"comments are nothing":     {in: ": hi\n\n:\n\ndata: x\n\n", want: []message{{id: "evt_0", data: "x"}}, last: "evt_0"},
		"CR and CRLF":              {in: "data: a\r\n\r\ndata: b\r\rdata: c\n\n", want: []message{{id: "evt_0", data: "a"}, {id: "evt_0", data: "b"}, {id: "evt_0", data: "c"}}, last: "evt_0"},
		"lines of data are joined": {in: "data: a\ndata\ndata:b\n\n", want: []message{{id: "evt_0", data: "a\n\nb"}}, last: "evt_0"},
		"one space is taken off":   {in: "data:  a\n\n", want: []message{{id: "evt_0", data: " a"}}, last: "evt_0"},
		"an id holds on":           {in: "id: evt_7\ndata: a\n\ndata: b\n\n", want: []message{{id: "evt_7", ownID: true, data: "a"}, {id: "evt_7", data: "b"}}, last: "evt_7"},
		"an id without data":       {in: "id: evt_7\n\n", last: "evt_7"},
		"an empty id forgets":      {in: "id:\ndata: a\n\n", want: []message{{ownID: true, data: "a"}}},
		"an id with NUL is not":    {in: "id: a\x00b\ndata: a\n\n", want: []message{{id: "evt_0", data: "a"}}, last: "evt_0"},
		"a byte order mark":        {in: "\ufeffdata: a\n\n", want: []message{{id: "evt_0", data: "a"}}, last: "evt_0"},
		"bad retry":                {in: "retry: 1e3\nretry: -5\nretry:\ndata: a\n\n", want: []message{{id: "evt_0", data: "a"}}, last: "evt_0"},
		"endless retry":            {in: "retry: 99999999999999999999\n\n", last: "evt_0", retry: 24 * time.Hour},
		// What the end cuts off would otherwise be taken for seen.
		"cut before the blank line": {in: "data: a\n\nid: evt_9\ndata: b\n", want: []message{{id: "evt_0", data: "a"}}, last: "evt_0"},
		"cut within a line":         {in: "id: evt_9\ndata: {\"a\":", last: "evt_0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
				got, s, err := readAll(t, r)
				if err != io.EOF {
					t.Fatalf("ended with %v, want EOF", err)
				}
				if !reflect.DeepEqual(got, tt.want) {
					t.Errorf("messages\n got %+v\nwant %+v", got, tt.want)
				}
				if s.lastID != tt.last || s.retry != tt.retry {
					t.Errorf("last id %q, retry %v; want %q, %v", s.lastID, s.retry, tt.last, tt.retry)
				}
			}
		})
	}
}

// endless is a stream that never breaks a line, or never ends a message.
type endless string

func (e endless) Read(p []byte) (int, error) {
	return copy(p, strings.Repeat(string(e), 1+len(p)/len(e))), nil
}

func TestSSEBounds(t *testing.T) {
	for _, in := range []endless{"x", "data: abcdefgh\n"} {
		if _, _, err := readAll(t, in); !errors.Is(err, errMessageTooLarge) {
			t.Errorf("%q without end: %v, want %v", in, err, errMessageTooLarge)
		}
	}
}

func FuzzSSE(f *testing.F) {
	for _, seed := range []string{
		"retry: 3000\n\nid: evt_1\nevent: a\ndata: {}\n\n", ": c\r\n\r\ndata\rdata: x\r\r", "\ufeffid:\n\n", "id: \x00\n\n", "data: a",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, s1, err := readAll(t, strings.NewReader(string(in)))
		if err != io.EOF {
			t.Fatalf("ended with %v", err)
		}
		// How the network cuts a stream into pieces changes nothing.
		pieces, s2, _ := readAll(t, iotest.OneByteReader(strings.NewReader(string(in))))
		if !reflect.DeepEqual(whole, pieces) || s1.lastID != s2.lastID || s1.retry != s2.retry {
			t.Fatalf("in one piece %+v, byte by byte %+v", whole, pieces)
		}
		for _, m := range whole {
			if strings.ContainsAny(m.event, "\r\n") || strings.ContainsAny(m.id, "\r\n\x00") || strings.Contains(m.data, "\r") {
				t.Fatalf("a line break came through: %+v", m)
			}
		}
	})
}
