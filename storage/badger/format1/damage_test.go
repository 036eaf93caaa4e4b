//go:build !race

// Badger that meets a damaged table closes those that it is still opening
// (levels.go, newLevelsController), which the race detector reports.

package format1

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/osa-edge/osa-gateway/storage"
)

// TestDamage: no table ends early without a word.
func TestDamage(t *testing.T) {
	whole := unpack(t, "restored.tar.gz")
	tables, err := filepath.Glob(filepath.Join(whole, "*.sst"))
	must(t, err)
	if len(tables) == 0 {
		t.Fatal("there are no tables")
	}
	for _, table := range tables {
		b, err := os.ReadFile(table)
		must(t, err)
		for _, at := range []int{10, len(b) / 3, len(b) / 2} {
			rotten := bytes.Clone(b)
			rotten[at] ^= 1
			must(t, os.WriteFile(table, rotten, 0o600))
			s, err := Open(whole, nil)
			if err == nil {
				must(t, s.Close())
			}
			wantErr(t, err, storage.ErrDamaged)
		}
		must(t, os.WriteFile(table, b, 0o600))
	}
	check(t, whole, readManifest(t).Restored)
}
