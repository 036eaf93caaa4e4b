package sealed

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/checksum"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

// Whatever a file holds, reading it ends, and takes no more memory than its size
// allows.
func FuzzOpen(f *testing.F) {
	events := generate(1, 5)
	for _, e := range events[:4] {
		e.Body = e.Body[:20]
		storagetest.Seal(e)
	}
	events[4].BodyRef = "elsewhere"
	file, _ := write(f, Header{Base: 1, Salt: 2}, events)
	f.Add(file.b)
	f.Add(file.b[:len(file.b)-trailerSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		fixSums(b)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if s, err := Open(bytes.NewReader(b), int64(len(b))); err == nil {
			readAll(t, s)
		}
		if s, err := Recover(t.Context(), bytes.NewReader(b), int64(len(b)), 10); err == nil {
			readAll(t, s)
		}
		runtime.ReadMemStats(&after)
		// Blocks are read some ten times, and may unpack to freeSize each.
		if took := after.TotalAlloc - before.TotalAlloc; took > uint64(64<<20+400*len(b)+20*maxFreeSize*(len(b)/blockHeaderSize)) {
			t.Fatalf("%d bytes took %d", len(b), took)
		}
	})
}

func readAll(t *testing.T, s *Reader) {
	_ = s.Scan(0, s.Info().Count, func(*event.Event) bool { return true })
	_, _ = s.Verify(t.Context())
	_, _ = s.BodyRefs()
	_, _ = s.LoggedBefore(time.Unix(0, 5))
	_ = s.Damaged()
	_ = s.PositionsReceived(time.Unix(0, 5), time.Unix(0, 1<<62))
	_ = s.Keys().Hashes(func(h uint64) bool {
		_, _, err := s.Keys().Get(h)
		return err == nil
	})
	_, _ = BuildIndex(t.Context(), s, 1)
}

// fixSums makes the checksums right of what the foot names, so that the fuzzer
// gets past them.
func fixSums(b []byte) {
	if len(b) < headerSize+trailerSize {
		return
	}
	le := binary.LittleEndian
	end := b[len(b)-trailerSize:]
	salt := le.Uint64(end[24:])
	le.PutUint64(b[24:], salt)
	le.PutUint32(b[60:], checksum.Salted(salt, 0, b[:60]))
	for off := int64(headerSize); off+blockHeaderSize <= int64(len(b)); {
		h := b[off : off+blockHeaderSize]
		metas, bodies := int64(le.Uint32(h[12:])), int64(le.Uint32(h[20:]))
		next := off + blockHeaderSize + metas + bodies
		if le.Uint32(h) != blockMagic || next > int64(len(b)) {
			break
		}
		at := off + blockHeaderSize
		le.PutUint32(h[28:], checksum.Salted(salt, uint64(at), b[at:at+metas]))
		le.PutUint32(h[32:], checksum.Salted(salt, uint64(at+metas), b[at+metas:next]))
		le.PutUint32(h[68:], checksum.Salted(salt, uint64(off), h[:68]))
		off = next
	}
	section := func(at, size int64, sum int) {
		if at >= 0 && size >= 0 && at+size <= int64(len(b)) && at+size >= at {
			le.PutUint32(end[sum:], checksum.Salted(salt, uint64(at), b[at:at+size]))
		}
	}
	table, tableSize := int64(le.Uint64(end[56:])), int64(le.Uint32(end[64:]))*blockEntrySize
	section(table, tableSize, 68)
	section(table+tableSize, int64(le.Uint64(end[72:])), 84)
	le.PutUint32(end[trailerSize-4:], checksum.Salted(salt, uint64(len(b)-trailerSize), end[:trailerSize-4]))
}
