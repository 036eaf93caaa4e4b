package badger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	bdg "github.com/osa-edge/osa-gateway/internal/third_party/badger"
	"github.com/osa-edge/osa-gateway/storage"
)

// A backup is one or more segments, one after the other: a full one, and then
// what changed since. A segment is a magic, the store's identity, the version it
// begins after, and Badger's own stream cut into frames of
//
//	length (4 bytes, 0 ends the segment), crc32c of what follows, data
//
// where the last frame's data is the end version. Badger's stream by itself does
// not tell a whole backup from one that was cut off, nor whose it is.
const (
	backupName    = "OSAGWBK"
	backupMagic   = backupName + "2"
	segmentHead   = len(backupMagic) + 16 + 8
	backupFrame   = 256 << 10
	maxFrame      = 1 << 20
	restoreWrites = 16
)

// ErrBackup is returned for what is no whole backup, or does not follow on the
// segment before it. ErrBackupCut is an ErrBackup: the end is missing.
var (
	ErrBackup    = errors.New("unusable backup")
	ErrBackupCut = fmt.Errorf("%w: cut off", ErrBackup)
)

// Backup implements storage.Store. What it writes may be appended to the
// segments before it and read by Restore as one.
func (s *Store) Backup(ctx context.Context, w io.Writer, since string) (next string, err error) {
	if err := s.gate.enter(ctx); err != nil {
		return "", err
	}
	defer s.gate.leave()
	from, err := s.continues(since)
	if err != nil {
		return "", err
	}
	// An iterator takes a block that it cannot read for the end of its table, and
	// says nothing. A backup that lacks what is behind it must not replace one
	// that has it.
	if err := s.db.VerifyTables(from.version); err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	buf := bufio.NewWriterSize(w, backupFrame)
	if _, err := buf.Write(from.appendHead(nil)); err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	frames := &frameWriter{w: buf, interrupted: func() error { return s.interrupted(ctx) }}
	// One reader, and so one snapshot. DB.Backup has several, each with a snapshot
	// of its own: what is committed between two of them is missing in this part if
	// the earlier one should have read it, and in the next, which begins after the
	// newest version that any of them saw.
	stream := s.db.NewStream()
	stream.NumGo, stream.SinceTs = 1, from.version
	version, err := stream.Backup(frames, from.version)
	if err == nil {
		// It may hold what is written and not synced yet. A store that lost that
		// would give its ids and versions out again, and the next backup would
		// begin after them.
		err = s.syncWritten()
	}
	version = max(version, from.version)
	if err == nil {
		err = frames.finish(version)
	}
	if err == nil {
		err = buf.Flush()
	}
	if err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	return point{from.store, version}.String(), nil
}

// continues returns the point that a backup goes on from, which must be one of
// this store's. One that lies ahead is of a state that was lost: the store was
// put back to an older one.
func (s *Store) continues(since string) (point, error) {
	if since == "" {
		return point{store: s.identity}, nil
	}
	p, err := parsePoint(since)
	if err != nil {
		return point{}, err
	}
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	if p.store != s.identity || p.version > txn.ReadTs() {
		return point{}, storage.ErrPoint
	}
	return p, nil
}

// frameWriter cuts a stream into frames.
type frameWriter struct {
	w           io.Writer
	interrupted func() error
	buf         []byte
}

func (f *frameWriter) Write(p []byte) (int, error) {
	if err := f.interrupted(); err != nil {
		return 0, err
	}
	f.buf = append(f.buf, p...)
	for len(f.buf) >= backupFrame {
		if err := f.frame(f.buf[:backupFrame]); err != nil {
			return 0, err
		}
		f.buf = f.buf[:copy(f.buf, f.buf[backupFrame:])]
	}
	return len(p), nil
}

func (f *frameWriter) frame(data []byte) error {
	head := binary.BigEndian.AppendUint32(make([]byte, 0, 8), uint32(len(data)))
	head = binary.BigEndian.AppendUint32(head, checksum(data))
	if _, err := f.w.Write(head); err != nil {
		return err
	}
	_, err := f.w.Write(data)
	return err
}

func (f *frameWriter) finish(version uint64) error {
	if len(f.buf) > 0 {
		if err := f.frame(f.buf); err != nil {
			return err
		}
	}
	end := binary.BigEndian.AppendUint64(nil, version)
	head := binary.BigEndian.AppendUint32(make([]byte, 0, 8), 0)
	head = binary.BigEndian.AppendUint32(head, checksum(end))
	_, err := f.w.Write(append(head, end...))
	return err
}

// segmentReader gives back the stream of one segment.
type segmentReader struct {
	ctx  context.Context
	r    *bufio.Reader
	left []byte
	size int64 // read so far
	next point // the segment's end
	done bool
}

// openSegment reads a segment's head; io.EOF where there is no further one. The
// first segment comes after the zero point.
func openSegment(ctx context.Context, r *bufio.Reader, after point) (*segmentReader, error) {
	head := make([]byte, segmentHead)
	n, err := io.ReadFull(r, head)
	if n == 0 && errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && after != (point{}) {
		return nil, ErrBackupCut
	}
	if err != nil || !bytes.HasPrefix(head, []byte(backupName)) {
		return nil, fmt.Errorf("%w: no backup of this gateway", ErrBackup)
	}
	if !bytes.HasPrefix(head, []byte(backupMagic)) {
		return nil, fmt.Errorf("%w: written by another version of this gateway, which can restore it", ErrBackup)
	}
	since := parseHead(head)
	if after != (point{}) && since.store != after.store {
		return nil, fmt.Errorf("%w: its parts are of several stores", ErrBackup)
	}
	if since.version != after.version {
		return nil, fmt.Errorf("%w: a part that begins after version %d follows one that ends with %d", ErrBackup, since.version, after.version)
	}
	return &segmentReader{ctx: ctx, r: r, size: int64(n), next: since}, nil
}

func (s *segmentReader) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.left)
	s.left = s.left[n:]
	return n, nil
}

func (s *segmentReader) fill() error {
	if s.done {
		return io.EOF
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	var head [8]byte
	if err := s.readFull(head[:]); err != nil {
		return err
	}
	size, sum := binary.BigEndian.Uint32(head[:]), binary.BigEndian.Uint32(head[4:])
	s.done = size == 0
	if s.done {
		size = 8
	}
	if size > maxFrame {
		return fmt.Errorf("%w: damaged", ErrBackup)
	}
	data := make([]byte, size)
	if err := s.readFull(data); err != nil {
		return err
	}
	if checksum(data) != sum {
		return fmt.Errorf("%w: damaged", ErrBackup)
	}
	if s.done {
		s.next.version = binary.BigEndian.Uint64(data)
		return io.EOF
	}
	s.left = data
	return nil
}

func (s *segmentReader) readFull(p []byte) error {
	n, err := io.ReadFull(s.r, p)
	s.size += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrBackupCut
	}
	return err
}

// restoreJump is how far a restored store's sequence and versions are moved on:
// beyond anything that the backed-up store may have issued after the backup.
const restoreJump = 1 << 32

// Restore makes a store in dir, which must not hold one, of the segments in r.
// Its next event's sequence number is 1<<32 higher than it would have been, so
// that no id is given out twice: ids have holes, and a hole means nothing. It is
// a store of its own: backups of it do not go on from those of the lost one. Where
// it fails dir holds no usable store.
func Restore(ctx context.Context, r io.Reader, dir string, opt Options) error {
	opt = opt.withDefaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		return errors.Join(fmt.Errorf("restore: %s is not empty", dir), err)
	}
	db, err := bdg.Open(badgerOptions(dir, opt.Logger))
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	err = loadSegments(ctx, db, bufio.NewReaderSize(r, backupFrame))
	if err == nil {
		err = settle(db)
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return errors.Join(fmt.Errorf("restore: %w", err), emptyDir(dir))
	}
	return nil
}

func loadSegments(ctx context.Context, db *bdg.DB, r *bufio.Reader) error {
	var end point
	for n := 0; ; n++ {
		seg, err := openSegment(ctx, r, end)
		if errors.Is(err, io.EOF) && n > 0 {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: nothing in it", ErrBackup)
		}
		if err != nil {
			return err
		}
		if err := db.Load(seg, restoreWrites); err != nil {
			return err
		}
		// Load is content when a segment ends between two lists.
		if !seg.done {
			return ErrBackupCut
		}
		end = seg.next
	}
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// BackupEnd is where the whole segments of a backup end.
type BackupEnd struct {
	Next     string // the point that the next one goes on from
	Segments int
	Size     int64 // in bytes
}

// CheckBackup reads the segments in r without restoring them. With an error it
// tells how far they are whole nevertheless.
func CheckBackup(ctx context.Context, r io.Reader) (end BackupEnd, err error) {
	in := bufio.NewReaderSize(r, backupFrame)
	var at point
	for {
		seg, err := openSegment(ctx, in, at)
		if errors.Is(err, io.EOF) && end.Segments > 0 {
			return end, nil
		}
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: nothing in it", ErrBackup)
		}
		if err != nil {
			return end, err
		}
		if _, err := io.Copy(io.Discard, seg); err != nil {
			return end, err
		}
		at, end.Next = seg.next, seg.next.String()
		end.Segments++
		end.Size += seg.size
	}
}
