package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/storage"
)

// scanned is the result of scanning an unsealed file.
type scanned struct {
	u *unsealed
	// next is the sequence number after the last valid batch, end its offset in
	// the file.
	next uint64
	end  int64
	// sum is the checksum of the last valid header, and lastAt the offset of that
	// batch, or 0.
	sum    uint32
	lastAt int64
	// dataSum is the checksum of the last batch with events, or 0.
	dataSum uint32
	// clean means that the last batch is the mark of a clean end.
	clean bool
	// damaged are the events of invalid batches that are followed by a valid one.
	damaged []storage.DamageError
}

// unknownEnd as the last sequence number means that the file is the newest one
// and ends with its last batch.
const unknownEnd = ^uint64(0)

// scanUnsealed reads the batches of a file up to the event `last`, which the
// next segment names. An invalid batch is damage if a valid one follows it, in
// this file or in another. Otherwise it is the incomplete end of the newest
// file. Bodies are read only for the last batch of the newest file.
func scanUnsealed(u *unsealed, last uint64) (*scanned, error) {
	if last != unknownEnd {
		last = min(last, u.head.base+maxEvents-1) // Later events are reported as missing elsewhere.
	}
	size, err := u.file.Size()
	if err != nil {
		return nil, err
	}
	s := &scanner{
		scanned: scanned{u: u, next: u.head.base, end: fileDataStart, sum: u.head.sum},
		win:     fileWindow{f: u.file, size: size},
	}
	for last == unknownEnd || s.next <= last {
		if !s.batch(last) && !s.resume(last) {
			break
		}
	}
	switch {
	case last != unknownEnd && s.next <= last:
		s.damage(last+1, "the end of the file cannot be read")
	case last == unknownEnd && s.clean:
		// A batch may have been started after the mark.
		s.clean = s.onlyZeros(s.end)
	case last == unknownEnd:
		err = s.cutTorn()
	}
	if err == nil && last == unknownEnd && s.win.unreadable != nil {
		// An unreadable batch may have been acknowledged.
		err = s.win.unreadable
	}
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	u.skipTo(int(s.next - u.head.base))
	u.mu.Unlock()
	return &s.scanned, nil
}

type scanner struct {
	scanned
	win fileWindow
	// head is the header of the batch that was read last, valid or not.
	head batchHead
	// before is the state before the last batch.
	before scanState
}

// scanState is the state of a scan before a batch.
type scanState struct {
	next   uint64
	end    int64
	sum    uint32
	lastAt int64
	data   uint32
}

// batch reads the batch at s.end. ok is false if there is no valid one.
func (s *scanner) batch(last uint64) bool {
	b := s.win.at(s.end, batchHeadLen)
	h, ok := parseBatchHead(b, s.u.salt)
	if !ok || h.prev != s.sum || h.first != s.next || s.end+h.size() > s.win.size ||
		h.first+uint64(h.count) > s.u.head.base+maxEvents || last != unknownEnd && h.count > 0 && h.first+uint64(h.count)-1 > last {
		s.head = batchHead{}
		return false
	}
	s.head = h
	events, ok := s.events(&h)
	if !ok {
		return false
	}
	s.before = scanState{s.next, s.end, s.sum, s.lastAt, s.dataSum}
	if s.clean = h.count == 0; !s.clean {
		s.u.add(s.end, &h, events)
		s.dataSum = h.sum
	}
	s.lastAt, s.sum = s.end, h.sum
	s.next += uint64(h.count)
	s.end += h.size()
	return true
}

// events decodes the metas of a batch. ok is false if they are invalid.
func (s *scanner) events(h *batchHead) (events []*event.Event, ok bool) {
	b := s.win.at(s.end+batchHeadLen, int(h.metasLen))
	if s.u.salt.sum(b) != h.metasSum {
		return nil, false
	}
	events = make([]*event.Event, 0, h.count)
	var bodies uint64
	err := entries(b, int(h.count), func(i int, meta []byte, n uint32) error {
		e, err := decodeMeta(meta, h.first+uint64(i))
		bodies += uint64(n)
		events = append(events, e)
		return err
	})
	return events, err == nil && bodies == uint64(h.bodiesLen)
}

// resume looks for a valid header after an invalid batch, and continues there.
func (s *scanner) resume(last uint64) bool {
	from := s.end + 1
	if s.head.sum != 0 {
		// The header is valid and its metas are not, so the offset of the next
		// batch is known.
		from = s.end + s.head.size()
		s.head = batchHead{}
	}
	at, h := s.search(from)
	if at == 0 || last != unknownEnd && h.first > last {
		return false
	}
	s.damage(h.first, "a batch is damaged")
	s.end, s.sum = at, h.prev
	return true
}

// damage records that the events before `next` cannot be read.
func (s *scanner) damage(next uint64, what string) {
	if next <= s.next {
		return
	}
	s.damaged = append(s.damaged, storage.DamageError{
		Range: storage.Range{First: s.next, Last: next - 1}, Where: s.u.path, Err: fmt.Errorf("%w: %s", errFormat, what),
	})
	s.next = next
}

// search returns the offset of the first header of this file from an offset on,
// or 0.
func (s *scanner) search(from int64) (int64, batchHead) {
	var magic [4]byte
	binary.LittleEndian.PutUint32(magic[:], batchMagic)
	for from+batchHeadLen <= s.win.size {
		b := s.win.at(from, int(min(windowSize, s.win.size-from)))
		for at := 0; ; at++ {
			i := bytes.Index(b[at:], magic[:])
			if i < 0 || at+i+batchHeadLen > len(b) {
				break
			}
			at += i
			h, ok := parseBatchHead(b[at:], s.u.salt)
			if ok && h.first >= s.next && h.first+uint64(h.count) <= s.u.head.base+maxEvents {
				return from + int64(at), h
			}
		}
		from += int64(len(b)) - batchHeadLen + 1
	}
	return 0, batchHead{}
}

// cutTorn removes the last batch of the newest file if its bodies did not reach
// the disk. The tables keep its positions. No reader asks for them, and they
// are not used again because nothing more is appended to the file.
func (s *scanner) cutTorn() error {
	if s.lastAt == 0 || s.clean {
		return nil
	}
	u := s.u
	b := u.batches[len(u.batches)-1]
	bodies := make([]byte, b.bodiesLen)
	if err := disk.ReadFull(u.file, bodies, b.off+batchHeadLen+int64(b.metasLen)); err != nil {
		return err
	}
	if u.salt.sum(bodies) == b.bodiesSum {
		return nil
	}
	u.mu.Lock()
	u.batches = u.batches[:len(u.batches)-1]
	u.n = b.pos
	u.loggedAt = u.loggedAt[:b.pos]
	u.mu.Unlock()
	p := s.before
	s.next, s.end, s.sum, s.lastAt, s.dataSum = p.next, p.end, p.sum, p.lastAt, p.data
	return nil
}

// onlyZeros reports whether nothing was written from an offset on.
func (s *scanner) onlyZeros(from int64) bool {
	for from < s.win.size {
		b := s.win.at(from, int(min(windowSize, s.win.size-from)))
		if len(bytes.TrimLeft(b, "\x00")) != 0 {
			return false
		}
		from += int64(len(b))
	}
	return true
}

// windowSize is how much of a file is read at once.
const windowSize = 1 << 20

// fileWindow reads a file from front to back in large pieces.
type fileWindow struct {
	f    io.ReaderAt
	size int64
	off  int64
	buf  []byte
	// unreadable is the first read error. Bytes that cannot be read are returned
	// as zeros.
	unreadable error
}

// at returns up to n bytes at off, fewer at the end of the file. They are valid
// until the next call.
func (w *fileWindow) at(off int64, n int) []byte {
	if n = int(min(int64(n), w.size-off)); n <= 0 {
		return nil
	}
	if off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		want := int(min(max(int64(n), windowSize), w.size-off))
		if cap(w.buf) < want {
			w.buf = make([]byte, want)
		}
		w.off, w.buf = off, w.buf[:want]
		if err := disk.ReadFull(w.f, w.buf, off); err != nil {
			w.readReadable()
		}
	}
	at := off - w.off
	return w.buf[at : at+int64(n)]
}

// readReadable fills the window with those pieces that can be read.
func (w *fileWindow) readReadable() {
	const piece = 4 << 10
	for i := 0; i < len(w.buf); i += piece {
		b := w.buf[i:min(i+piece, len(w.buf))]
		if err := disk.ReadFull(w.f, b, w.off+int64(i)); err != nil {
			clear(b)
			if w.unreadable == nil {
				w.unreadable = err
			}
		}
	}
}
