package eventlog

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/osa-edge/osa-gateway/storage"
)

// The records of which nothing is kept any more are looked for whenever the floor
// has moved, a page of sweepPage at a time with sweepPause in between: a page may
// be as large as its records.
const (
	sweepPage  = 32
	sweepPause = 10 * time.Millisecond
)

// sweep deletes the records of a projection through which nothing is kept. Who
// asks for one does not see it from the moment on when the floor moved.
type sweep struct {
	done  uint64 // the floor that all records were compared with
	floor uint64 // the one that they are being compared with; 0: they are not
	after string
}

// due tells whether there is something to look for.
func (s *sweep) due(floor uint64) bool { return s.floor != 0 || floor > s.done }

// step looks at the next page.
func (s *sweep) step(f *follower, store storage.Store) error {
	floor := f.log.floor.Load()
	if !s.due(floor) {
		return nil
	}
	if s.floor == 0 {
		s.floor, s.after = floor, ""
	}
	page, cursor, err := store.ListRecords(f.log.stopped, f.id, "", s.after, sweepPage)
	if err != nil {
		return err
	}
	var gone []storage.Record
	for _, r := range page {
		if len(r.Value) < seqSize || binary.BigEndian.Uint64(r.Value) < s.floor {
			gone = append(gone, storage.Record{Key: r.Key})
		}
	}
	if len(gone) > 0 {
		// A record that was written meanwhile moved the cursor, and is not deleted.
		err := store.Project(f.log.stopped, storage.Step{Projection: f.id, From: cursor, Through: cursor, Records: gone})
		if errors.Is(err, storage.ErrConflict) {
			f.reload.Store(true)
			return nil
		}
		if err != nil {
			return err
		}
		for _, r := range gone {
			f.records.forget(r.Key)
		}
	}
	if len(page) == sweepPage {
		s.after = page[len(page)-1].Key
		return nil
	}
	s.done, s.floor = s.floor, 0
	return nil
}
