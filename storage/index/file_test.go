package index

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/osa-edge/osa-gateway/internal/checksum"
	"github.com/osa-edge/osa-gateway/storage"
)

type file struct{ *os.File }

func (f file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func TestFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "00000000000000000001.idx"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := NewMemTable()
	for pos := range 1000 {
		m.Add(Seed(9).Term(term(pos%300)), uint16(pos))
	}
	want := FileHeader{Base: 1, Count: 1000, Salt: 2, Seed: 9, Footer: 3}
	if err := WriteFile(file{f}, m, want); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "file.v1", b)
	r, h, err := OpenFile(f, int64(len(b)))
	if err != nil || h != want {
		t.Fatal(h, err)
	}
	if s := get(t, r, Seed(9).Term(term(5))); !slices.Equal(collect(s), []uint16{5, 305, 605, 905}) {
		t.Fatal(collect(s))
	}

	damage := func(at int, fix bool) error {
		bad := slices.Clone(b)
		bad[at] ^= 1
		if fix {
			binary.LittleEndian.PutUint32(bad[60:], checksum.Salted(binary.LittleEndian.Uint64(bad[24:]), sumFile, bad[:60]))
		}
		if err := os.WriteFile(f.Name(), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := OpenFile(f, int64(len(bad)))
		return err
	}
	for at := range fileHeader {
		if err := damage(at, false); !errors.Is(err, storage.ErrDamaged) && (at != 8 || !errors.Is(err, storage.ErrFormat)) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
	if err := damage(24, true); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("another salt: %v", err)
	}
	if err := damage(40, true); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("another size: %v", err)
	}
	for _, size := range []int64{0, 10, fileHeader, int64(len(b)) - 1} {
		if _, _, err := OpenFile(f, size); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// fixTable sets every checksum of a table that can be told apart.
func fixTable(b []byte) {
	if len(b) < tableTrailer {
		return
	}
	end := b[len(b)-tableTrailer:]
	end[0] = tableVersion
	salt := binary.LittleEndian.Uint64(end[16:])
	entries := min(int(binary.LittleEndian.Uint32(end[4:])), len(b)/entrySize)
	for pagesSize(entries) > int64(len(b)-tableTrailer) {
		entries--
	}
	binary.LittleEndian.PutUint32(end[4:], uint32(entries))
	pages := int(pagesSize(entries))
	binary.LittleEndian.PutUint64(end[8:], uint64(len(b)-tableTrailer-pages))
	binary.LittleEndian.PutUint32(end[28:], checksum.Salted(salt, sumTrailer, end[:28]))
	for at := 0; at < pages; at += pageSize {
		page := b[at:min(at+pageSize, pages)]
		binary.LittleEndian.PutUint32(page, checksum.Salted(salt, uint64(at/pageSize), page[4:]))
	}
	postings := b[pages : len(b)-tableTrailer]
	for at := 0; at+postingHead <= len(postings); {
		size := int(binary.LittleEndian.Uint16(postings[at:]))
		if at+postingHead+size > len(postings) {
			return
		}
		set := postings[at+postingHead : at+postingHead+size]
		binary.LittleEndian.PutUint32(postings[at+2:], checksum.Salted(salt, sumPosting|uint64(at), set))
		at += postingHead + size
	}
}
