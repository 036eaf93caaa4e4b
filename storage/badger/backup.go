package badger

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/bolt"
)

// A backup is one or more parts, one after the other: a full one, and then what
// came since. A part is a magic, the point that it begins after, and frames of
//
//	kind (1 byte), length (4 bytes), CRC-32C of kind and data, data
//
// First come all documents, then the log up to a sequence number that was the last
// or later when the documents were read, so that no document points beyond it. The
// last frame holds the point where the part ends: without it the part was cut off.
const (
	backupName  = "OSAGWBK"
	backupMagic = backupName + "3"
	partHead    = len(backupMagic) + positionSize
	frameHead   = 9
	frameBytes  = 256 << 10
	maxFrame    = 1 << 20
)

// Kinds of frames.
const (
	frameDocuments = 1
	frameLog       = 2
	frameEnd       = 3
)

// ErrBackup is returned for an invalid or incomplete backup, or one that does
// not continue the previous part. ErrBackupCut is an ErrBackup whose end is
// missing.
var (
	ErrBackup    = errors.New("unusable backup")
	ErrBackupCut = fmt.Errorf("%w: cut off", ErrBackup)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Backup implements storage.Store. The result may be appended to earlier parts;
// Restore reads them as one.
func (s *Store) Backup(ctx context.Context, w io.Writer, since string) (next string, err error) {
	if err := s.inflight.begin(ctx); err != nil {
		return "", err
	}
	defer s.inflight.end()
	from, err := s.continues(since)
	if err != nil {
		return "", err
	}
	ctx, cancel := s.withClose(ctx)
	defer cancel()
	buf := bufio.NewWriterSize(w, frameBytes)
	if _, err := buf.Write(from.append([]byte(backupMagic))); err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	end, err := s.backup(ctx, buf, from)
	if err == nil {
		err = buf.Flush()
	}
	if err != nil {
		return "", fmt.Errorf("backup: %w", errors.Join(err, s.interrupted(ctx)))
	}
	return end.String(), nil
}

func (s *Store) backup(ctx context.Context, w io.Writer, from position) (end position, err error) {
	documents := &frameWriter{w: w, kind: frameDocuments}
	if err := snapshot(ctx, s.documents, documents); err != nil {
		return end, err
	}
	log := &frameWriter{w: w, kind: frameLog}
	head, err := s.log.Export(ctx, log, from.seq)
	if err = errors.Join(err, log.flush()); err != nil {
		return end, err
	}
	if end, err = s.positionAt(max(head, from.seq)); err != nil {
		return end, err
	}
	last := &frameWriter{w: w, kind: frameEnd, buf: end.append(nil)}
	return end, last.flush()
}

func snapshot(ctx context.Context, docs *bolt.Documents, w *frameWriter) error {
	if _, err := docs.Snapshot(ctx, w); err != nil {
		return err
	}
	return w.flush()
}

// continues returns the position from which a backup continues. It must be a
// position of this store.
func (s *Store) continues(since string) (position, error) {
	if since == "" {
		return position{store: s.identity}, nil
	}
	p, err := parsePosition(since)
	if err != nil {
		return position{}, err
	}
	if p.store != s.identity || p.seq > s.log.Last() {
		return position{}, storage.ErrBackupPosition
	}
	if now, err := s.positionAt(p.seq); err == nil && now.check != 0 && now != p {
		return position{}, storage.ErrBackupPosition
	}
	return p, nil
}

// positionAt returns the position after the event seq. If that event was pruned
// or cannot be read, the position has no check.
func (s *Store) positionAt(seq uint64) (position, error) {
	p := position{store: s.identity, seq: seq}
	e, err := s.log.Event(seq)
	switch {
	case err == nil:
		p.check = max(1, binary.BigEndian.Uint64(e.BodyDigest[:8]))
	case !isNotFound(err) && !isDamage(err):
		return p, err
	}
	return p, nil
}

// frameWriter splits a stream into frames of one kind.
type frameWriter struct {
	w    io.Writer
	kind byte
	buf  []byte
}

func (f *frameWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if len(f.buf) == 0 && len(p) >= frameBytes {
			if err := f.frame(p[:frameBytes]); err != nil {
				return 0, err
			}
			p = p[frameBytes:]
			continue
		}
		take := min(len(p), frameBytes-len(f.buf))
		f.buf, p = append(f.buf, p[:take]...), p[take:]
		if len(f.buf) == frameBytes {
			if err := f.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// flush writes the remaining data as a frame.
func (f *frameWriter) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	err := f.frame(f.buf)
	f.buf = f.buf[:0]
	return err
}

func (f *frameWriter) frame(data []byte) error {
	head := append(make([]byte, 0, frameHead), f.kind)
	head = binary.BigEndian.AppendUint32(head, uint32(len(data)))
	head = binary.BigEndian.AppendUint32(head, frameSum(f.kind, data))
	if _, err := f.w.Write(head); err != nil {
		return err
	}
	_, err := f.w.Write(data)
	return err
}

func frameSum(kind byte, data []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte{kind}, castagnoli), castagnoli, data)
}
