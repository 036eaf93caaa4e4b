package eventlog

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/osa-edge/osa-gateway/storage"
)

// When the floor has moved, records whose events are all below it are searched
// for, vacuumPage records at a time with vacuumPause in between: a page may be
// as large as its records.
const (
	vacuumPage  = 32
	vacuumPause = 10 * time.Millisecond
)

// vacuum deletes the records of a projection whose events are all below the
// floor. Readers do not see such records from the moment on when the floor
// moved.
type vacuum struct {
	doneFloor uint64 // The floor that all records were compared with.
	floor     uint64 // The floor of the running pass. 0: none is running.
	after     string
}

// due reports whether a pass is running or needed.
func (s *vacuum) due(floor uint64) bool { return s.floor != 0 || floor > s.doneFloor }

// step handles the next page.
func (s *vacuum) step(f *applier, store storage.Store) error {
	floor := f.log.floor.Load()
	if !s.due(floor) {
		return nil
	}
	if s.floor == 0 {
		s.floor, s.after = floor, ""
	}
	page, cursor, err := store.ListRecords(f.log.stopped, f.id, "", s.after, vacuumPage)
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
		// A record that was written meanwhile moved the cursor, so it is not
		// deleted.
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
	if len(page) == vacuumPage {
		s.after = page[len(page)-1].Key
		return nil
	}
	s.doneFloor, s.floor = s.floor, 0
	return nil
}
