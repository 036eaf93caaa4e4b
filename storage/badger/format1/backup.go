package format1

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A backup is one or more segments, one after the other: a full one, and then
// what changed since. A segment is a magic, the store's identity, the version it
// begins after, and Badger's own stream cut into frames of
//
//	length (4 bytes, 0 ends the segment), crc32c of what follows, data
//
// where the last frame's data is the end version.
const (
	backupName  = "OSAGWBK"
	segmentHead = len(BackupMagic) + 16 + 8
	readBuffer  = 256 << 10
	maxFrame    = 1 << 20
)

// BackupMagic is how a backup of this format begins.
const BackupMagic = backupName + "2"

// ErrBackup is returned for an invalid or incomplete backup, or one that does
// not continue the previous segment. ErrBackupCut is an ErrBackup whose end is
// missing.
var (
	ErrBackup    = errors.New("unusable backup")
	ErrBackupCut = fmt.Errorf("%w: cut off", ErrBackup)
)

// identity identifies a store.
type identity [2]uint64

// position is the state of a store at a version.
type position struct {
	store   identity
	version uint64
}

// String returns the form that callers keep: the identity in hexadecimal and
// the version.
func (p position) String() string {
	return fmt.Sprintf("%016x%016x-%d", p.store[0], p.store[1], p.version)
}

// parseHead reads the point that a segment begins after.
func parseHead(head []byte) (p position) {
	head = head[len(BackupMagic):]
	return position{
		store:   identity{binary.BigEndian.Uint64(head), binary.BigEndian.Uint64(head[8:])},
		version: binary.BigEndian.Uint64(head[16:]),
	}
}

// segmentReader returns the content of one segment as a stream.
type segmentReader struct {
	ctx  context.Context
	r    *bufio.Reader
	left []byte
	size int64    // read so far
	next position // The segment's end.
	done bool
}

// openSegment reads the header of a segment, or returns io.EOF if there is
// none. The first segment comes after the zero position.
func openSegment(ctx context.Context, r *bufio.Reader, after position) (*segmentReader, error) {
	head := make([]byte, segmentHead)
	n, err := io.ReadFull(r, head)
	if n == 0 && errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && after != (position{}) {
		return nil, ErrBackupCut
	}
	if err != nil || !bytes.HasPrefix(head, []byte(backupName)) {
		return nil, fmt.Errorf("%w: no backup of this gateway", ErrBackup)
	}
	if !bytes.HasPrefix(head, []byte(BackupMagic)) {
		return nil, fmt.Errorf("%w: written by another version of this gateway, which can restore it", ErrBackup)
	}
	since := parseHead(head)
	if after != (position{}) && since.store != after.store {
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

// BackupEnd describes the complete segments of a backup.
type BackupEnd struct {
	Next     string // the point that the next one goes on from
	Segments int
	Size     int64 // in bytes
}

// CheckBackup verifies the segments in r without restoring them. After an error
// the result describes the complete segments before it.
func CheckBackup(ctx context.Context, r io.Reader) (end BackupEnd, err error) {
	in := bufio.NewReaderSize(r, readBuffer)
	var at position
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
