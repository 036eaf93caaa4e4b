package segment

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/internal/disk/simdisk"
	"github.com/osa-edge/osa-gateway/storage"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenHead and goldenMarks are what the golden files hold.
var (
	goldenHead  = fileHead{salt: 0x0123456789abcdef, base: 7, predLast: 4, predSum: 0xfeedbeef, seed: 0x1122334455667788}
	goldenMarks = manifest{seed: 0x1122334455667788, floor: 42, skipped: []storage.Range{{First: 5, Last: 6}, {First: 100, Last: 199}}}
)

// goldenFile is an unsealed file of two batches and the mark of a clean end.
func goldenFile(t testing.TB) []byte {
	h := goldenHead
	b := h.encode()
	s := newSalted(h.salt)
	large := newEvent(8, 4)
	large.Body, large.BodyRef = nil, "00112233445566778899aabbccddeeff"
	var head batchHead
	var err error
	b, head, err = appendBatch(b, s, h.sum, []*event.Event{newEvent(7, 12), large})
	if err == nil {
		b, head, err = appendBatch(b, s, head.sum, batch(9, 1, 0))
	}
	if err != nil {
		t.Fatal(err)
	}
	mark := endMark(s, head.sum, 10)
	return append(b, mark...)
}

func goldenStream(t testing.TB) []byte {
	var buf bytes.Buffer
	w := frameWriter{w: &buf}
	if err := w.begin(frameBatch, []byte("payload"), 5); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("bytes")); err != nil {
		t.Fatal(err)
	}
	if err := w.frame(frameEnd, nil); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// The bytes of every form are those of the golden files: what was written once is
// read by all later versions.
func TestGolden(t *testing.T) {
	for name, b := range map[string][]byte{
		"unsealed_v1.hex": goldenFile(t), "floor_v1.hex": goldenMarks.encode(), "frames_v1.hex": goldenStream(t),
	} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(hex.Dump(b)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.Dump(b); got != string(want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}

// scanBytes reads an unsealed file.
func scanBytes(t testing.TB, b []byte, last uint64) (*scanned, error) {
	h, err := parseFileHead(b[:min(len(b), fileDataStart)])
	if err != nil {
		return nil, err
	}
	d := simdisk.New()
	if err := d.MkdirAll("/"); err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteFile(d, "/f", b); err != nil {
		t.Fatal(err)
	}
	f, err := d.Open("/f")
	if err != nil {
		t.Fatal(err)
	}
	return scanUnsealed(newUnsealed(f, "/f", h, func(*storage.DamageError) {}), last)
}

func TestReadGolden(t *testing.T) {
	b := goldenFile(t)
	h := goldenHead
	h.encode()
	if got, err := parseFileHead(b); err != nil || got != h {
		t.Fatalf("%+v, %v", got, err)
	}
	clear(b[:fileHeadCopy])
	s, err := scanBytes(t, b, unknownEnd)
	if err != nil || s.next != 10 || !s.clean || len(s.damaged) != 0 || s.end != int64(len(b)) {
		t.Fatalf("%+v, %v", s, err)
	}
	m, err := parseManifest(goldenMarks.encode())
	if err != nil || m.floor != 42 || m.seed != goldenMarks.seed || len(m.skipped) != 2 {
		t.Fatalf("%+v, %v", m, err)
	}
}

// FuzzUnsealed: whatever stands in a file, it is scanned without a panic, and
// what is found is consistent.
func FuzzUnsealed(f *testing.F) {
	b := goldenFile(f)
	f.Add(b, unknownEnd)
	f.Add(b[:len(b)-50], uint64(9))
	f.Add(b[:1100], uint64(8))
	f.Add(b, uint64(1)<<50)
	f.Fuzz(func(t *testing.T, b []byte, last uint64) {
		s, err := scanBytes(t, b, last)
		if err != nil {
			return
		}
		if s.next < s.u.head.base || s.u.count() > maxEvents && last == unknownEnd {
			t.Fatalf("next %d, base %d, %d positions", s.next, s.u.head.base, s.u.count())
		}
		c := s.u.cursor()
		for pos := range min(s.u.count(), maxEvents) {
			if e, err := c.event(pos); err == nil && e.BodyRef == "" {
				_, _ = c.body(e)
			}
		}
	})
}

func FuzzMarks(f *testing.F) {
	f.Add(goldenMarks.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseManifest(b); err == nil && !bytes.Equal(m.encode(), b) {
			t.Fatalf("%x was read as %+v", b, m)
		}
	})
}
