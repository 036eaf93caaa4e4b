package sealed

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage/index"
)

var update = flag.Bool("update", false, "write the golden files")

// goldenRecords are short, so that they are stored as they are, or long, so that
// they are packed. Metas are no events: how those are encoded is not of this file.
func goldenRecords(n, size int) []*Record {
	var out []*Record
	for i := range n {
		at := time.Date(2026, 1, 2, 3, 4, i, 0, time.UTC)
		e := &event.Event{
			Seq: 7 + uint64(i), ReceivedAt: at, LoggedAt: at.Add(time.Hour), WorkspaceID: "ws", Source: "opal",
			DedupKey: event.DedupKey(fmt.Sprint(i / 2)),
		}
		r := &Record{
			Meta: bytes.Repeat([]byte(fmt.Sprint("meta ", i, " ")), size), Body: bytes.Repeat([]byte(fmt.Sprint("body ", i, " ")), size), Event: e,
		}
		if i == 2 {
			e.BodyRef, r.Body = "ref", nil
		}
		out = append(out, r)
	}
	return out
}

// Files of the version at hand are read for ever. Those without packed sections
// are also written as they were; how well S2 packs may change.
func TestGolden(t *testing.T) {
	h := Header{Base: 7, Salt: 0x0123456789abcdef, Seed: 5, PrevLast: 3, PrevSum: 0xaabbccdd, Sum: 0x11223344}
	for _, c := range []struct {
		name    string
		records []*Record
		exact   bool
	}{
		{"plain.v1", goldenRecords(4, 2), true},
		{"packed.v1", goldenRecords(20, 400), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := new(memFile)
			rest := c.records
			if _, err := Write(f, h, func() (*Record, error) {
				if len(rest) == 0 {
					return nil, io.EOF
				}
				r := rest[0]
				rest = rest[1:]
				return r, nil
			}); err != nil {
				t.Fatal(err)
			}
			name := "testdata/" + c.name
			if *update {
				if err := os.WriteFile(name, f.b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if c.exact && !bytes.Equal(b, f.b) {
				t.Errorf("written otherwise: %d bytes, not %d", len(f.b), len(b))
			}
			checkGolden(t, b, h, c.records)
		})
	}
}

func checkGolden(t *testing.T, b []byte, h Header, want []*Record) {
	s, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	last := want[len(want)-1].Event
	if i := s.Info(); i.Header != h || i.Count != len(want) || i.ReceivedMax != last.ReceivedAt || i.LoggedMax != last.LoggedAt {
		t.Fatalf("%+v", i)
	}
	if refs, err := s.BodyRefs(); err != nil || len(refs) != 1 || refs[0] != "ref" {
		t.Fatal(refs, err)
	}
	c := s.Cursor()
	for i, r := range want {
		if err := c.seek(i); err != nil {
			t.Fatal(err)
		}
		if err := c.loadBodies(); err != nil {
			t.Fatal(err)
		}
		at := i - c.header.first
		var meta, body uint32
		if at > 0 {
			meta, body = c.ends[2*at-2], c.ends[2*at-1]
		}
		if !bytes.Equal(c.metas[meta:c.ends[2*at]], r.Meta) || !bytes.Equal(c.bodies[body:c.ends[2*at+1]], r.Body) {
			t.Fatalf("record %d differs", i)
		}
		pair := index.RangeSet(i/2*2, min(i/2*2+2, len(want)))
		if set, ok, err := s.Keys().Get(h.Seed.Key(r.Event)); err != nil || !ok || set.And(pair).Len() != pair.Len() {
			t.Fatalf("key %d: %v", i, err)
		}
	}
}
