package badger

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// room is what compactions may take beside what is there.
type room struct {
	s      *Store
	files  int64 // bytes of all files of tables, at looked
	looked time.Time
}

// beyondReserve is what a compaction may take beyond the reserve now, and what it
// may take once retention has begun.
//
// Retention deletes at one end of the log what is written at the other, and a
// table that holds both lies over all that is between them: when it moves down,
// everything is written anew before the old is given back. Compactions keep long
// runs of the two apart, but not every table. Before retention, it is the
// dedup keys that are rewritten: a sixth of the tables was the most, and the
// reserve holds it up to one and a half GiB of them. What a compaction under way
// has written already is not missing any more.
func (r *room) beyondReserve() (now, later int64) {
	tables := int64(0)
	for _, level := range r.s.db.Levels() {
		tables += level.Size
	}
	written := max(0, r.tableFiles()-tables)
	later = max(0, tables-written)
	if r.s.first.Load() > 1 {
		return later, later
	}
	return max(0, tables/6-r.s.opt.Reserve-written), later
}

// tableFiles reads the directory no more often than space looks by itself.
func (r *room) tableFiles() int64 {
	if time.Since(r.looked) < spaceInterval {
		return r.files
	}
	entries, err := os.ReadDir(r.s.dir)
	if err != nil {
		return r.files // the file system's free space says what is the matter
	}
	r.files, r.looked = 0, time.Now()
	for _, e := range entries {
		if !strings.EqualFold(filepath.Ext(e.Name()), ".sst") {
			continue
		}
		if info, err := e.Info(); err == nil { // else it was compacted away
			r.files += allocated(info)
		}
	}
	return r.files
}
