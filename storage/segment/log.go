// Package segment is the log: append-only files of events, one write and one
// sync a batch, sealed when they are full, dropped whole when they are old.
//
// The directory of a log holds
//
//	<base>.log    an unsealed segment, from sequence number base on: see format.go
//	<base>.seg    a sealed segment: see package sealed
//	<base>.idx    the term table of a sealed segment; may be deleted at any time
//	floor         the first sequence number that counts: see floor.go
//	large/<name>  bodies that stand outside of the segments
//	*.tmp         what is not complete, deleted at the next start
//
// Within a segment sequence numbers have no holes: a hole begins a new one.
package segment

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/index"
	"github.com/osa-edge/osa-gateway/storage/segment/sealed"
)

const (
	logExt   = ".log"
	segExt   = ".seg"
	idxExt   = ".idx"
	tmpExt   = ".tmp"
	largeDir = "large"
)

// Options of a log. Zero values mean the defaults.
type Options struct {
	Logger *zap.Logger
	// SegmentBytes is the size at which an unsealed file is complete (64 MiB),
	// SegmentEvents the number of events (65536, which is also the maximum).
	SegmentBytes  int64
	SegmentEvents int
	// MaxAge is the longest time between the first and the last event of a
	// segment, by LoggedAt (24 hours).
	MaxAge time.Duration
	// TableBytes limits the memory of the tables of unsealed segments (64 MiB).
	// That limits how many complete segments may wait to be sealed: at least one.
	TableBytes int64
	// Files is how many sealed files are open at the same time (96).
	Files int
	// Poisoned means that a sync of this log has failed in this process. What was
	// written since then is written again, and no existing file is appended to.
	Poisoned bool

	// inline runs background work in the calls that cause it. idle runs none.
	// Both are for tests.
	inline, idle bool
	// keepOrphans keeps large bodies that no event refers to.
	keepOrphans bool
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 64 << 20
	}
	if o.SegmentEvents <= 0 || o.SegmentEvents > maxEvents {
		o.SegmentEvents = maxEvents
	}
	if o.TableBytes <= 0 {
		o.TableBytes = 64 << 20
	}
	if o.Files <= 0 {
		o.Files = maxFiles
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 24 * time.Hour
	}
	return o
}

// Log is an open log. Append and Jump have one caller at a time. All other
// methods may be called concurrently.
type Log struct {
	fs     disk.FS
	dir    string
	opt    Options
	logger *zap.Logger
	// seed is the seed of the hashes in all tables of the store.
	seed index.Seed

	// mu guards cur. replaceMu is held by those who replace it.
	mu        sync.RWMutex
	replaceMu sync.Mutex
	cur       *version

	// last is the last committed sequence number, next the next one, and floor
	// the first one that is kept.
	last, next, floor atomic.Uint64
	skipped           atomic.Pointer[[]storage.Range]
	closed            atomic.Bool

	// manifestMu guards manifest.
	manifestMu sync.Mutex
	manifest   manifest

	w writer
	// largeWrites holds one element for each large body that is being written.
	largeWrites chan struct{}
	damages     damages
	pool        *filePool
	files       *cache[*sealed.Reader]
	indexes     *cache[*index.Reader]
	work        worker
}

func (l *Log) path(name string) string { return filepath.Join(l.dir, name) }

func fileName(base uint64, ext string) string { return fmt.Sprintf("%020d%s", base, ext) }

// Next returns the sequence number of the next event.
func (l *Log) Next() uint64 { return l.next.Load() }

// Last returns the last committed sequence number, or 0.
func (l *Log) Last() uint64 { return l.last.Load() }

// Floor returns the first sequence number that is kept.
func (l *Log) Floor() uint64 { return l.floor.Load() }

// Bounds returns the range of sequence numbers that the log holds.
func (l *Log) Bounds() storage.Bounds {
	v := l.View()
	defer v.Close()
	return v.Bounds()
}

// tableBytes is the size of a segment's tables in the worst case: 65,536 events
// without a common term.
const tableBytes = 16 << 20

// maxWaiting returns how many complete segments may wait to be sealed, in
// addition to the current one.
func (o *Options) maxWaiting() int64 { return min(max(o.TableBytes/tableBytes-1, 1), 4) }

// Writable returns nil, ErrClosed, or ErrBusy while too many complete segments
// wait to be sealed.
func (l *Log) Writable() error {
	if l.closed.Load() || l.w.failed.Load() {
		return storage.ErrClosed
	}
	if l.work.toSeal.Load() > l.opt.maxWaiting() {
		return fmt.Errorf("%w: segments wait to be sealed", storage.ErrBusy)
	}
	return nil
}

// WaitWritable waits while Writable is ErrBusy. It has one caller at a time.
func (l *Log) WaitWritable(ctx context.Context) error {
	for {
		err := l.Writable()
		if !errors.Is(err, storage.ErrBusy) {
			return err
		}
		select {
		case <-l.work.sealed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// DiskBytes returns the size of the log's files.
func (l *Log) DiskBytes() (int64, error) {
	var sum int64
	for _, dir := range []string{l.dir, l.path(largeDir)} {
		entries, err := l.fs.ReadDir(dir)
		if err != nil {
			return 0, fmt.Errorf("size of the log: %w", err)
		}
		for _, e := range entries {
			sum += e.Size
		}
	}
	return sum, nil
}

// Close closes the log. Unfinished background work is started again by the next
// Open. Open views stay readable. It returns an error if the end could not be
// marked; no acknowledged event is lost then.
func (l *Log) Close() error {
	l.work.end()
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.closed.Swap(true) {
		return nil
	}
	err := l.markEnd()
	l.dropPrepared()
	l.replaceSegments(func([]*segment) []*segment { return nil })
	l.pool.close()
	if err != nil {
		return fmt.Errorf("mark the end of the log: %w", err)
	}
	return nil
}

// damages are the unreadable events that readers have found so far.
type damages struct {
	mu       sync.Mutex
	ranges   []storage.Range
	repaired []string // Files that lost nothing.
}

// report logs damage once, and keeps it for Damaged.
func (l *Log) report(d *storage.DamageError) {
	if d.First > d.Last {
		l.reportRepaired(d)
		return
	}
	l.damages.mu.Lock()
	known := false
	for _, r := range l.damages.ranges {
		known = known || r.First <= d.First && r.Last >= d.Last
	}
	if !known {
		l.damages.ranges = append(l.damages.ranges, d.Range)
	}
	l.damages.mu.Unlock()
	if !known {
		l.logger.Error("events of the log cannot be read", zap.Uint64("first", d.First), zap.Uint64("last", d.Last),
			zap.String("where", d.Where), zap.Error(d.Err))
	}
}

// reportRepaired logs once that a damaged part of a file was rebuilt from the
// rest.
func (l *Log) reportRepaired(d *storage.DamageError) {
	l.damages.mu.Lock()
	known := slices.Contains(l.damages.repaired, d.Where)
	if !known {
		l.damages.repaired = append(l.damages.repaired, d.Where)
	}
	l.damages.mu.Unlock()
	if !known {
		l.logger.Error("a file of the log is damaged; what was lost of it could be made again", zap.String("where", d.Where), zap.Error(d.Err))
	}
}

// Repaired returns the files whose damaged part was rebuilt from the rest.
func (l *Log) Repaired() []string {
	l.damages.mu.Lock()
	defer l.damages.mu.Unlock()
	return slices.Clone(l.damages.repaired)
}

// Damaged returns the events above the floor that are known to be unreadable,
// ascending.
func (l *Log) Damaged() []storage.Range {
	l.damages.mu.Lock()
	defer l.damages.mu.Unlock()
	var m manifest
	for _, r := range l.damages.ranges {
		if r.First = max(r.First, l.floor.Load()); r.First <= r.Last && r.Last < math.MaxUint64 {
			m.skip(r)
		}
	}
	return m.skipped
}

// Seed returns the seed of the hashes for Candidates and Keys.
func (l *Log) Seed() index.Seed { return l.seed }

// Rebuilding returns the progress of the rebuild of term tables, or nil.
func (l *Log) Rebuilding() *storage.RebuildError { return l.work.progress() }

// background returns the context of background work, which Close ends.
func (l *Log) background() context.Context { return l.work.ctx }
