package sealed

import (
	"encoding/binary"

	"github.com/osa-edge/osa-gateway/internal/checksum"
	"github.com/osa-edge/osa-gateway/storage/index"
)

// trailer is the fixed-size end of a file. Its fields, with their sizes in bytes:
//
//	8  magic
//	1  version
//	3  zeros
//	4  number of events
//	8  base
//	8  salt
//	8  seed
//	8  last sequence number of the predecessor
//	4  checksum of the predecessor
//	4  own checksum
//	8  offset of the footer
//	4  number of blocks
//	4  CRC-32C of the table of blocks
//	8  size of the refs
//	4  number of refs
//	4  CRC-32C of the refs
//	8  size of the keys
//	28 zeros
//	4  CRC-32C of all of this
type trailer struct {
	Header
	count    int
	table    int64
	blocks   int
	tableSum uint32
	refsSize int64
	refs     int
	refsSum  uint32
	keysSize int64
	// sum is the checksum of all this and, because it covers their checksums, of
	// the footer.
	sum uint32
}

func (f *trailer) refsOffset() int64 { return f.table + int64(f.blocks)*blockEntrySize }
func (f *trailer) keysOffset() int64 { return f.refsOffset() + f.refsSize }

// append encodes the trailer for the given offset, and sets f.sum.
func (f *trailer) append(b []byte, off int64) []byte {
	start := len(b)
	b = append(b, trailerMagic...)
	b = append(b, version, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(f.count))
	b = binary.LittleEndian.AppendUint64(b, f.Base)
	b = binary.LittleEndian.AppendUint64(b, f.Salt)
	b = binary.LittleEndian.AppendUint64(b, uint64(f.Seed))
	b = binary.LittleEndian.AppendUint64(b, f.PrevLast)
	b = binary.LittleEndian.AppendUint32(b, f.PrevSum)
	b = binary.LittleEndian.AppendUint32(b, f.Sum)
	b = binary.LittleEndian.AppendUint64(b, uint64(f.table))
	b = binary.LittleEndian.AppendUint32(b, uint32(f.blocks))
	b = binary.LittleEndian.AppendUint32(b, f.tableSum)
	b = binary.LittleEndian.AppendUint64(b, uint64(f.refsSize))
	b = binary.LittleEndian.AppendUint32(b, uint32(f.refs))
	b = binary.LittleEndian.AppendUint32(b, f.refsSum)
	b = binary.LittleEndian.AppendUint64(b, uint64(f.keysSize))
	b = append(b, make([]byte, trailerSize-4-(len(b)-start))...)
	f.sum = checksum.Salted(f.Salt, uint64(off), b[start:])
	return binary.LittleEndian.AppendUint32(b, f.sum)
}

// parse decodes and checks the trailer of a file of the given size.
func (f *trailer) parse(b []byte, size int64) error {
	const end = trailerSize - 4
	if string(b[:8]) != trailerMagic {
		return damaged("no end of a sealed segment")
	}
	u32 := func(i int) uint32 { return binary.LittleEndian.Uint32(b[i:]) }
	u64 := func(i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }
	*f = trailer{
		Header: Header{
			Base: u64(16), Salt: u64(24), Seed: index.Seed(u64(32)), PrevLast: u64(40), PrevSum: u32(48), Sum: u32(52),
		},
		count: int(u32(12)), table: int64(u64(56)), blocks: int(u32(64)), tableSum: u32(68),
		refsSize: int64(u64(72)), refs: int(u32(80)), refsSum: u32(84), keysSize: int64(u64(88)), sum: u32(end),
	}
	if f.sum != checksum.Salted(f.Salt, uint64(size-trailerSize), b[:end]) {
		return damaged("checksum of the foot")
	}
	if err := checkVersion(b[8]); err != nil {
		return err
	}
	rest := size - trailerSize
	for _, part := range [...]int64{f.table, int64(f.blocks) * blockEntrySize, f.refsSize, f.keysSize} {
		if part < 0 || part > rest {
			return damaged("footer that does not add up")
		}
		rest -= part
	}
	if rest != 0 || f.count > index.MaxPositions || f.table < headerSize || f.Base+uint64(f.count) < f.Base {
		return damaged("footer that does not add up")
	}
	return nil
}
