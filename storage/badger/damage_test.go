package badger

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger/layout"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

// What cannot be read is never said to be not there, however it was lost.
func TestDamagedEventsAreNotMissing(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, file string){
		"a block changed": func(t *testing.T, file string) {
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			must(t, err)
			_, err = f.WriteAt(make([]byte, 64), 300)
			must(t, errors.Join(err, f.Close()))
		},
		"cut off": func(t *testing.T, file string) { must(t, os.Truncate(file, 200)) },
		"missing": func(t *testing.T, file string) { must(t, os.Remove(file)) },
	} {
		for _, which := range []int{0, 1} {
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				gen := storagetest.NewGenerator(1, testStart)
				for range 4 { // after a crash a new segment is begun
					s, err := Open(dir, Options{Reserve: -1, Poisoned: true})
					must(t, err)
					fill(t, s, gen, 300, 50)
					closed(t, s)
				}
				s := open(t, dir)
				pattern := filepath.Join(dir, layout.LogDir, "*.seg")
				var sealed []string
				eventually(t, func() bool {
					sealed, _ = filepath.Glob(pattern)
					return len(sealed) >= 3
				})
				closed(t, s)
				damage(t, sealed[which])
				s = open(t, dir)
				defer closed(t, s)
				damaged := 0
				for seq := uint64(1); seq <= s.log.Last(); seq++ {
					_, err := s.Get(t.Context(), seq)
					if err == nil {
						continue
					}
					damaged++
					if !errors.Is(err, storage.ErrDamaged) || errors.Is(err, storage.ErrNotFound) {
						t.Fatalf("event %d: %v", seq, err)
					}
				}
				if damaged == 0 || damaged > 300 {
					t.Fatalf("%d events are damaged", damaged)
				}
			})
		}
	}
}
