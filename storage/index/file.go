package index

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/osa-edge/osa-gateway/internal/checksum"
	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/storage"
)

// FileHeader identifies the segment that the table in a file belongs to.
type FileHeader struct {
	// Base is the segment's first sequence number, and Count its number of
	// events.
	Base  uint64
	Count int
	// Salt is the segment's salt.
	Salt uint64
	// Seed is the seed of the hashes.
	Seed Seed
	// Footer is the checksum of the sealed segment's footer. It tells the table
	// from one of an earlier file with the same name.
	Footer uint32
}

// A file with a table of its own is a header of 64 bytes and the table:
//
//	magic (8), version (1), 3 zeros, count (4), base (8), salt (8), seed (8),
//	bytes of the table (8), checksum of the footer (4), 8 zeros, CRC-32C
const (
	fileMagic   = "OSA.IDX\n"
	fileVersion = 1
	fileHeader  = 64
	sumFile     = 3 << 62
)

// WriteFile writes a file that holds only the table. f is empty. The caller
// need not sync it, because the checksums detect an incomplete file.
func WriteFile(f disk.File, m *MemTable, h FileHeader) error {
	// The header is written last, so that a crash leaves no header in front of
	// missing data.
	size, err := m.Write(&fileWriter{f: f, off: fileHeader}, h.Salt)
	if err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	if _, err := f.WriteAt(h.append(nil, size), 0); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}

func (h *FileHeader) append(b []byte, size int64) []byte {
	b = append(b, fileMagic...)
	b = append(b, fileVersion, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.Count))
	b = binary.LittleEndian.AppendUint64(b, h.Base)
	b = binary.LittleEndian.AppendUint64(b, h.Salt)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Seed))
	b = binary.LittleEndian.AppendUint64(b, uint64(size))
	b = binary.LittleEndian.AppendUint32(b, h.Footer)
	b = append(b, make([]byte, 8)...)
	return binary.LittleEndian.AppendUint32(b, checksum.Salted(h.Salt, sumFile, b))
}

// OpenFile reads what WriteFile wrote. Its errors are storage.ErrDamaged and
// storage.ErrFormat. The caller then rebuilds the file.
func OpenFile(r io.ReaderAt, size int64) (*Reader, FileHeader, error) {
	var b [fileHeader]byte
	if err := readAt(r, b[:], 0); err != nil {
		return nil, FileHeader{}, err
	}
	if string(b[:8]) != fileMagic {
		return nil, FileHeader{}, damaged("not an index file")
	}
	if b[8] != fileVersion {
		return nil, FileHeader{}, fmt.Errorf("%w: index file of version %d", storage.ErrFormat, b[8])
	}
	h := FileHeader{
		Count:  int(binary.LittleEndian.Uint32(b[12:])),
		Base:   binary.LittleEndian.Uint64(b[16:]),
		Salt:   binary.LittleEndian.Uint64(b[24:]),
		Seed:   Seed(binary.LittleEndian.Uint64(b[32:])),
		Footer: binary.LittleEndian.Uint32(b[48:]),
	}
	if binary.LittleEndian.Uint32(b[60:]) != checksum.Salted(h.Salt, sumFile, b[:60]) {
		return nil, FileHeader{}, damaged("checksum of an index file's header")
	}
	if want := int64(binary.LittleEndian.Uint64(b[40:])); want != size-fileHeader {
		return nil, FileHeader{}, damaged("index file of %d bytes, not %d", size, want+fileHeader)
	}
	t, err := OpenReader(r, fileHeader, size-fileHeader)
	if err != nil {
		return nil, FileHeader{}, err
	}
	if t.salt != h.Salt {
		return nil, FileHeader{}, damaged("table of another index file")
	}
	return t, h, nil
}

// fileWriter writes to a file from an offset on.
type fileWriter struct {
	f   io.WriterAt
	off int64
}

func (w *fileWriter) Write(b []byte) (int, error) {
	n, err := w.f.WriteAt(b, w.off)
	w.off += int64(n)
	return n, err
}
