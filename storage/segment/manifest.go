package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/internal/failpoint"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/index"
)

// The floor file, little endian: magic 8, version 4, checksum 4 (CRC-32C of what
// follows), seed 8, floor 8, number of skipped ranges 4, and for each its first
// and last number, 8 bytes each.
const (
	floorName    = "floor"
	floorMagic   = "OSAFLOOR"
	floorVersion = 1
	floorHeadLen = 36
)

// manifest is what the log has to remember about segments that are gone. It is
// stored in the floor file.
type manifest struct {
	// seed is the seed of the hashes in all tables of the store.
	seed index.Seed
	// floor is the first sequence number that is kept.
	floor uint64
	// skipped are sequence numbers that never existed and never will, ascending.
	skipped []storage.Range
}

func (m *manifest) encode() []byte {
	b := make([]byte, 16, floorHeadLen+16*len(m.skipped))
	copy(b, floorMagic)
	binary.LittleEndian.PutUint32(b[8:], floorVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.seed))
	b = binary.LittleEndian.AppendUint64(b, m.floor)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.skipped)))
	for _, r := range m.skipped {
		b = binary.LittleEndian.AppendUint64(b, r.First)
		b = binary.LittleEndian.AppendUint64(b, r.Last)
	}
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[16:], castagnoli))
	return b
}

func parseManifest(b []byte) (m manifest, err error) {
	if len(b) < floorHeadLen || string(b[:8]) != floorMagic {
		return m, fmt.Errorf("%w: no header", errFormat)
	}
	if crc32.Checksum(b[16:], castagnoli) != binary.LittleEndian.Uint32(b[12:]) {
		return m, fmt.Errorf("%w: checksum", errFormat)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != floorVersion {
		return m, fmt.Errorf("%w: version %d of the floor", storage.ErrFormat, v)
	}
	m.seed = index.Seed(binary.LittleEndian.Uint64(b[16:]))
	m.floor = binary.LittleEndian.Uint64(b[24:])
	n := int(binary.LittleEndian.Uint32(b[32:]))
	if len(b) != floorHeadLen+16*n {
		return m, fmt.Errorf("%w: length", errFormat)
	}
	for b = b[floorHeadLen:]; len(b) > 0; b = b[16:] {
		m.skipped = append(m.skipped, storage.Range{First: binary.LittleEndian.Uint64(b), Last: binary.LittleEndian.Uint64(b[8:])})
	}
	return m, nil
}

// skip adds a range to skipped and reports whether that changed anything.
func (m *manifest) skip(r storage.Range) (changed bool) {
	if r.First > r.Last || slices.ContainsFunc(m.skipped, func(o storage.Range) bool { return o.First <= r.First && r.Last <= o.Last }) {
		return false
	}
	m.skipped = append(slices.Clone(m.skipped), r)
	slices.SortFunc(m.skipped, func(a, b storage.Range) int {
		if a.First < b.First {
			return -1
		}
		return 1
	})
	// A range may have grown, so one that starts at or before the end of another
	// is merged with it.
	out := m.skipped[:1]
	for _, r := range m.skipped[1:] {
		if last := &out[len(out)-1]; r.First <= last.Last || r.First == last.Last+1 && last.Last < math.MaxUint64 {
			last.Last = max(last.Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	m.skipped = out
	return true
}

// readFile reads a small file completely.
func readFile(fsys disk.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > 1<<30 {
		return nil, fmt.Errorf("%w: %d bytes", errFormat, size)
	}
	b := make([]byte, size)
	if err := disk.ReadFull(f, b, 0); err != nil {
		return nil, err
	}
	return b, nil
}

// storeManifest makes a manifest durable and then uses it.
func (l *Log) storeManifest(m manifest) error {
	if err := disk.WriteFile(l.fs, l.path(floorName), m.encode()); err != nil {
		return fmt.Errorf("write the floor: %w", err)
	}
	failpoint.Hit("floor.written")
	l.manifest = m
	skipped := m.skipped
	l.skipped.Store(&skipped)
	l.floor.Store(m.floor)
	return nil
}

// skippedFrom returns the skipped ranges that reach above a view's floor.
func (l *Log) skippedFrom(v *View) []storage.Range {
	var out []storage.Range
	for _, r := range *l.skipped.Load() {
		if r.Last >= v.Floor {
			out = append(out, r)
		}
	}
	return out
}
