package backup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
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
	// FrameBytes is the size of the frames that a Writer writes.
	FrameBytes = 256 << 10
	// EndSize is the size of the last frame of a part.
	EndSize  = frameHead + positionSize
	maxFrame = 1 << 20
)

// Kinds of frames.
const (
	frameDocuments = 1
	frameLog       = 2
	frameEnd       = 3
)

// ErrInvalid is returned for an invalid or incomplete backup, or one that does
// not continue the previous part. ErrCut is an ErrInvalid whose end is
// missing.
var (
	ErrInvalid = errors.New("unusable backup")
	ErrCut     = fmt.Errorf("%w: cut off", ErrInvalid)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Writer writes one part of a backup.
type Writer struct{ w io.Writer }

// NewWriter writes the header of a part that continues at a position.
func NewWriter(w io.Writer, from Position) (*Writer, error) {
	_, err := w.Write(from.append([]byte(backupMagic)))
	return &Writer{w}, err
}

// Documents writes the section of the documents, which comes first.
func (w *Writer) Documents(write func(io.Writer) error) error {
	return w.section(frameDocuments, write)
}

// Log writes the section of the log, which comes second.
func (w *Writer) Log(write func(io.Writer) error) error { return w.section(frameLog, write) }

// End ends the part at a position.
func (w *Writer) End(at Position) error {
	return w.section(frameEnd, func(w io.Writer) error {
		_, err := w.Write(at.append(nil))
		return err
	})
}

func (w *Writer) section(kind byte, write func(io.Writer) error) error {
	f := &frameWriter{w: w.w, kind: kind}
	return errors.Join(write(f), f.flush())
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
		if len(f.buf) == 0 && len(p) >= FrameBytes {
			if err := f.frame(p[:FrameBytes]); err != nil {
				return 0, err
			}
			p = p[FrameBytes:]
			continue
		}
		take := min(len(p), FrameBytes-len(f.buf))
		f.buf, p = append(f.buf, p[:take]...), p[take:]
		if len(f.buf) == FrameBytes {
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
