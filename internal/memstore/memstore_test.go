package memstore_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestSuite(t *testing.T) {
	stores := map[string]*memstore.Store{}
	storagetest.Run(t, func(_ *testing.T, dir string) (storage.Store, error) {
		s := stores[dir]
		if s == nil {
			s = memstore.New()
			stores[dir] = s
		}
		return s.Handle(), nil
	})
}

// TestDamage: what cannot be read is named, and what stands behind it is there.
func TestDamage(t *testing.T) {
	s := memstore.New()
	var batch []*event.Event
	gen := storagetest.NewGenerator(1, epoch)
	for range 10 {
		batch = append(batch, gen.Next())
	}
	if _, err := s.CommitBatch(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	s.Damage(storage.Range{First: 4, Last: 6})
	var got []uint64
	scan := func(after uint64) error {
		return s.Scan(t.Context(), after, math.MaxUint64, func(e *event.Event) bool {
			got = append(got, e.Seq)
			return true
		})
	}
	var damage *storage.DamageError
	if err := scan(0); !errors.As(err, &damage) || damage.Range != (storage.Range{First: 4, Last: 6}) {
		t.Fatalf("scan over damage: %v", err)
	}
	if err := scan(damage.Last); err != nil || len(got) != 7 {
		t.Fatalf("read %v, %v", got, err)
	}
	if _, err := s.Get(t.Context(), 5); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("a damaged event: %v", err)
	}
	if h := s.Health(); len(h.Damaged) != 1 {
		t.Errorf("health %+v", h)
	}
	page, err := s.Query(t.Context(), storage.Query{Limit: 100})
	if err != nil || len(page.Events) != 7 {
		t.Errorf("listed %d events, %v", len(page.Events), err)
	}
}

// TestSkip: what a restore leaves out is told for ever.
func TestSkip(t *testing.T) {
	s := memstore.New()
	s.Skip(10)
	e := storagetest.NewGenerator(1, epoch).Next()
	c, err := s.CommitBatch(t.Context(), []*event.Event{e})
	if err != nil || c.Before != 10 || e.Seq != 11 {
		t.Fatalf("committed %+v as %d, %v", c, e.Seq, err)
	}
	b, err := s.Bounds(t.Context())
	if err != nil || b.First != 11 || len(b.Skipped) != 1 || b.Skipped[0] != (storage.Range{First: 1, Last: 10}) {
		t.Fatalf("bounds %+v, %v", b, err)
	}
}
