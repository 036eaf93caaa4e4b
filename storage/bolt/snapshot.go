package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"go.etcd.io/bbolt"

	"github.com/osa-edge/osa-gateway/storage"
)

// A snapshot is a run of frames: length and checksum of what follows (4 bytes
// each, big-endian), and that. A checksum goes on from the one before, so that
// frames are neither left out nor put elsewhere. The first byte says what a frame
// is.
const (
	frameHead      = 'h' // snapshotMagic, counter of versions (8 bytes)
	frameDocuments = 'd' // documents: lengths of collection, key and value and the version (uvarints), then the three
	frameEnd       = 'e' // number of documents (8 bytes)

	snapshotMagic = "OSADOCS1"
	// A frame ends with the document that takes it beyond frameBytes.
	frameBytes = 256 << 10
	maxFrame   = frameBytes + storage.MaxValue + storage.MaxKey + 64
	// loadBytes is how much Load writes in one transaction.
	loadBytes = 4 << 20
)

// ErrSnapshot is returned for an invalid or incomplete snapshot.
var ErrSnapshot = errors.New("unusable snapshot of documents")

// Snapshot writes all documents as of one moment, and returns their number.
// While w blocks, writers that need the file to grow beyond its mapping wait.
func (d *Documents) Snapshot(ctx context.Context, w io.Writer) (n int, err error) {
	if err := d.inflight.begin(ctx); err != nil {
		return 0, err
	}
	defer d.inflight.end()
	out := &frameWriter{w: w, buf: make([]byte, 8, 8+frameBytes)}
	err = d.f.view(func(tx *bbolt.Tx) error {
		counter, err := getCounter(tx)
		if err != nil {
			return err
		}
		b, err := bucketOf(tx, documentsBucket)
		if err != nil {
			return err
		}
		out.buf = append(out.buf, frameHead)
		out.buf = append(out.buf, snapshotMagic...)
		out.buf = binary.BigEndian.AppendUint64(out.buf, counter)
		if err := out.flush(); err != nil {
			return err
		}
		c := b.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if d.inflight.closed.Load() {
				return storage.ErrClosed
			}
			if err := errors.Join(ctx.Err(), out.document(k, v)); err != nil {
				return err
			}
			n++
		}
		return out.flush()
	})
	if err == nil {
		out.buf = binary.BigEndian.AppendUint64(append(out.buf, frameEnd), uint64(n))
		err = out.flush()
	}
	if err != nil {
		return 0, fmt.Errorf("snapshot of documents: %w", err)
	}
	return n, nil
}

// frameWriter collects a frame after the 8 bytes of its header.
type frameWriter struct {
	w   io.Writer
	buf []byte
	sum uint32
}

func (f *frameWriter) document(k, v []byte) error {
	collection, key, ok := cutDocumentKey(k)
	if !ok {
		return damaged("the key %.80q is none", k)
	}
	version, value, err := decodeDocument(k, v)
	if err != nil {
		return err
	}
	if len(f.buf) == 8 {
		f.buf = append(f.buf, frameDocuments)
	}
	for _, n := range [...]uint64{uint64(len(collection)), uint64(len(key)), uint64(len(value)), version} {
		f.buf = binary.AppendUvarint(f.buf, n)
	}
	f.buf = append(append(append(f.buf, collection...), key...), value...)
	if len(f.buf) < frameBytes {
		return nil
	}
	return f.flush()
}

func (f *frameWriter) flush() error {
	data := f.buf[8:]
	if len(data) == 0 {
		return nil
	}
	f.sum = crc32.Update(f.sum, castagnoli, data)
	binary.BigEndian.PutUint32(f.buf, uint32(len(data)))
	binary.BigEndian.PutUint32(f.buf[4:], f.sum)
	_, err := f.w.Write(f.buf)
	f.buf = f.buf[:8]
	return err
}

// CheckSnapshot reads a snapshot, and no byte beyond its end, and returns the
// number of its documents.
func CheckSnapshot(ctx context.Context, r io.Reader) (n int, err error) {
	_, n, err = readSnapshot(ctx, r, func(storage.Document) error { return nil })
	return n, err
}

// Load adds the documents of a snapshot with their versions to an empty store;
// otherwise it returns storage.ErrConflict. It reads no byte beyond the end of
// the snapshot. After an error some documents may have been written.
func (d *Documents) Load(ctx context.Context, r io.Reader) error {
	if err := d.inflight.begin(ctx); err != nil {
		return err
	}
	defer d.inflight.end()
	err := d.f.view(func(tx *bbolt.Tx) error {
		b, err := bucketOf(tx, documentsBucket)
		if err != nil {
			return err
		}
		if k, _ := b.Cursor().First(); k != nil {
			return fmt.Errorf("%w: there are documents already", storage.ErrConflict)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("loading documents: %w", err)
	}
	var part []storage.Document
	size := 0
	write := func(counter uint64) error {
		err := d.commits.do(ctx, size, func(tx *bbolt.Tx) error { return loadDocuments(tx, part, counter) })
		part, size = part[:0], 0
		return err
	}
	counter, _, err := readSnapshot(ctx, r, func(doc storage.Document) error {
		part = append(part, doc)
		if size += len(doc.Value) + len(doc.Collection) + len(doc.Key); size < loadBytes {
			return nil
		}
		return write(0)
	})
	if err == nil {
		err = write(counter)
	}
	if err != nil {
		return fmt.Errorf("loading documents: %w", err)
	}
	return nil
}

// Import adds documents with their versions to an empty store. The next version
// is greater than counter and than all of theirs.
func (d *Documents) Import(ctx context.Context, docs []storage.Document, counter uint64) error {
	if err := d.inflight.begin(ctx); err != nil {
		return err
	}
	defer d.inflight.end()
	for len(docs) > 0 {
		n, size := 0, 0
		for n < len(docs) && (n == 0 || size < loadBytes) {
			size += len(docs[n].Collection) + len(docs[n].Key) + len(docs[n].Value)
			n++
		}
		part := docs[:n]
		if err := d.commits.do(ctx, size, func(tx *bbolt.Tx) error { return loadDocuments(tx, part, counter) }); err != nil {
			return fmt.Errorf("importing documents: %w", err)
		}
		docs = docs[n:]
	}
	return d.commits.do(ctx, 0, func(tx *bbolt.Tx) error { return loadDocuments(tx, nil, counter) })
}

// loadDocuments writes documents and raises the counter to their versions.
func loadDocuments(tx *bbolt.Tx, part []storage.Document, counter uint64) error {
	b, err := bucketOf(tx, documentsBucket)
	if err != nil {
		return err
	}
	before, err := getCounter(tx)
	if err != nil {
		return err
	}
	counter = max(counter, before)
	for _, doc := range part {
		k := documentKey(doc.Collection, doc.Key)
		counter = max(counter, doc.Version)
		if err := b.Put(k, encodeDocument(k, doc.Version, doc.Value)); err != nil {
			return err
		}
	}
	return putCounter(tx, counter)
}

// readSnapshot calls fn with each document of a snapshot, and returns the
// counter.
func readSnapshot(ctx context.Context, r io.Reader, fn func(storage.Document) error) (counter uint64, n int, err error) {
	in := frameReader{r: r}
	head, err := in.next()
	if err != nil {
		return 0, 0, err
	}
	if len(head) != 1+len(snapshotMagic)+8 || head[0] != frameHead || !bytes.HasPrefix(head[1:], []byte(snapshotMagic)) {
		return 0, 0, fmt.Errorf("%w: not written by this version", ErrSnapshot)
	}
	counter = binary.BigEndian.Uint64(head[1+len(snapshotMagic):])
	for {
		if err := ctx.Err(); err != nil {
			return 0, n, err
		}
		frame, err := in.next()
		if err != nil {
			return 0, n, err
		}
		switch frame[0] {
		case frameEnd:
			if len(frame) != 9 || binary.BigEndian.Uint64(frame[1:]) != uint64(n) {
				return 0, n, fmt.Errorf("%w: documents are missing", ErrSnapshot)
			}
			return counter, n, nil
		case frameDocuments:
		default:
			return 0, n, fmt.Errorf("%w: a frame of kind %q", ErrSnapshot, frame[0])
		}
		for rest := frame[1:]; len(rest) > 0; n++ {
			var doc storage.Document
			if doc, rest, err = cutDocument(rest); err != nil {
				return 0, n, err
			}
			if err := fn(doc); err != nil {
				return 0, n, err
			}
		}
	}
}

// cutDocument decodes the document at the start of b. It does not keep b.
func cutDocument(b []byte) (doc storage.Document, rest []byte, err error) {
	var v [4]uint64
	for i := range v {
		n, w := binary.Uvarint(b)
		if w <= 0 {
			return doc, nil, fmt.Errorf("%w: a damaged document", ErrSnapshot)
		}
		v[i], b = n, b[w:]
	}
	collection, key, value := v[0], v[1], v[2]
	if collection > storage.MaxKey || key > storage.MaxKey-collection || value > storage.MaxValue || collection+key+value > uint64(len(b)) || v[3] == 0 {
		return doc, nil, fmt.Errorf("%w: a damaged document", ErrSnapshot)
	}
	doc = storage.Document{
		Collection: string(b[:collection]), Key: string(b[collection : collection+key]),
		Value: append([]byte{}, b[collection+key:collection+key+value]...), Version: v[3],
	}
	return doc, b[collection+key+value:], nil
}

type frameReader struct {
	r   io.Reader
	buf []byte
	sum uint32
}

// next returns the next frame, which is not empty. It is valid until the next
// call.
func (f *frameReader) next() ([]byte, error) {
	var head [8]byte
	if err := readFull(f.r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size == 0 || size > maxFrame {
		return nil, fmt.Errorf("%w: damaged", ErrSnapshot)
	}
	if uint32(cap(f.buf)) < size {
		f.buf = make([]byte, size)
	}
	data := f.buf[:size]
	if err := readFull(f.r, data); err != nil {
		return nil, err
	}
	f.sum = crc32.Update(f.sum, castagnoli, data)
	if f.sum != binary.BigEndian.Uint32(head[4:]) {
		return nil, fmt.Errorf("%w: damaged", ErrSnapshot)
	}
	return data, nil
}

func readFull(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: cut off", ErrSnapshot)
	}
	return err
}
