// Package convert converts a store of format 1 to the current format. It knows both
// formats. It does not open the converted store.
package convert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger/diskguard"
	"github.com/osa-edge/osa-gateway/storage/badger/format1"
	"github.com/osa-edge/osa-gateway/storage/badger/layout"
	"github.com/osa-edge/osa-gateway/storage/bolt"
	"github.com/osa-edge/osa-gateway/storage/segment"
)

// Options of a conversion.
type Options struct {
	// Reserve is the disk space in bytes that must stay free.
	Reserve int64
	Logger  *zap.Logger
	// FreeSpace measures the free disk space; nil means diskguard.FreeSpace.
	FreeSpace func(dir string) (int64, error)
}

// Conversion converts a store of format 1 to the current format in the same
// directory. The old store is moved to a subdirectory and kept until everything
// in the new store was compared with it. An interrupted conversion starts
// again.
type Conversion struct {
	dir    string
	opt    Options
	unlock func()
	done   atomic.Uint64
	total  atomic.Uint64
}

// New returns the conversion that the store in dir needs, or nil. It
// locks the store, checks the free disk space, and prevents older versions from
// opening the directory. The caller calls Run or Close.
func New(dir string, opt Options) (_ *Conversion, err error) {
	if opt.FreeSpace == nil {
		opt.FreeSpace = diskguard.FreeSpace
	}
	held, _, err := layout.Inspect(dir)
	if err != nil || held != layout.Format1 {
		return nil, nil // Open returns the error.
	}
	unlock, err := layout.Lock(dir)
	if err != nil {
		return nil, err
	}
	c := &Conversion{dir: dir, opt: opt, unlock: unlock}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("converting the store %s of format 1: %w", dir, err), c.Close())
		}
	}()
	if err := c.discard(); err != nil {
		return nil, err
	}
	if err := c.checkSpace(); err != nil {
		return nil, err
	}
	return c, moveAside(dir)
}

// Close releases the store. Run calls it too.
func (c *Conversion) Close() error {
	if c.unlock != nil {
		c.unlock()
		c.unlock = nil
	}
	return nil
}

// Progress returns how many events were converted. Each event counts twice:
// when it is written and when it is compared. Total is 0 if it is unknown.
func (c *Conversion) Progress() storage.RebuildError {
	return storage.RebuildError{Part: "conversion of the store", Done: c.done.Load() / 2, Total: c.total.Load()}
}

// discard deletes what an interrupted conversion wrote.
func (c *Conversion) discard() error {
	return errors.Join(
		os.RemoveAll(filepath.Join(c.dir, layout.LogDir)),
		os.RemoveAll(filepath.Join(c.dir, layout.DocumentsFile)),
		os.RemoveAll(filepath.Join(c.dir, layout.ProjectionsFile)),
	)
}

// checkSpace refuses a conversion for which the disk is too small. The new
// store is about as large as the old one, and a segment and its sealed form
// exist at the same time.
func (c *Conversion) checkSpace() error {
	size := int64(0)
	err := filepath.WalkDir(c.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(name) == diskguard.BallastName {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += diskguard.Allocated(info)
		}
		return err
	})
	if err != nil {
		return err
	}
	need := size + size/4 + max(0, c.opt.Reserve)
	free, err := c.opt.FreeSpace(c.dir)
	if err != nil {
		return err
	}
	c.opt.Logger.Info("the store is of format 1 and will be converted; events are refused meanwhile",
		zap.String("dir", c.dir), zap.String("size", humanize.IBytes(uint64(size))),
		zap.String("needed", humanize.IBytes(uint64(need))), zap.String("free", humanize.IBytes(uint64(max(0, free)))))
	if free < need {
		return fmt.Errorf("%w: it needs %s and %s are free: make room, or move the store to a larger disk",
			storage.ErrNoSpace, humanize.IBytes(uint64(need)), humanize.IBytes(uint64(max(0, free))))
	}
	return nil
}

// moveAside moves Badger's files to a subdirectory and marks dir. The manifest
// is moved first: without it, or with the mark in its place, an older version
// opens nothing.
func moveAside(dir string) error {
	old := filepath.Join(dir, layout.Format1Dir)
	if err := os.MkdirAll(old, 0o700); err != nil {
		return err
	}
	manifest := filepath.Join(dir, layout.MarkerFile)
	raw, err := os.ReadFile(manifest)
	if err == nil && bytes.HasPrefix(raw, []byte(layout.BadgerMagic)) {
		err := os.Link(manifest, filepath.Join(old, layout.MarkerFile))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := disk.OS.SyncDir(old); err != nil {
			return err
		}
	}
	if err := layout.Mark(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !isBadgerFile(e.Name()) {
			continue
		}
		if err := os.Rename(filepath.Join(dir, e.Name()), filepath.Join(old, e.Name())); err != nil {
			return err
		}
	}
	return errors.Join(disk.OS.SyncDir(old), disk.OS.SyncDir(dir))
}

// isBadgerFile reports whether a file belongs to format 1, except for its
// manifest.
func isBadgerFile(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".sst", ".mem", ".vlog":
		return true
	}
	return name == "KEYREGISTRY" || name == "DISCARD"
}

// Run converts the store. After an error the directory holds no store of the
// current format, and the next conversion starts again.
func (c *Conversion) Run(ctx context.Context) error {
	start := time.Now()
	err := c.run(ctx)
	n := c.done.Load() / 2
	if err = errors.Join(err, c.Close()); err != nil {
		return fmt.Errorf("converting the store %s of format 1: %w", c.dir, err)
	}
	c.opt.Logger.Info("the store was converted", zap.String("dir", c.dir), zap.Uint64("events", n),
		zap.Duration("took", time.Since(start)))
	return nil
}

func (c *Conversion) run(ctx context.Context) error {
	old, err := format1.Open(filepath.Join(c.dir, layout.Format1Dir), c.opt.Logger)
	if err != nil {
		return err
	}
	id, err := c.copy(ctx, old)
	if err = errors.Join(err, old.Close()); err != nil {
		return err
	}
	if err := layout.Describe(c.dir, id); err != nil {
		return err
	}
	return layout.RemoveFormat1(c.dir)
}

// Copy writes the contents of an open store of format 1 into the files of a new store
// in dir, and returns the identity of the old one.
func Copy(ctx context.Context, old *format1.Store, dir string) (layout.Identity, error) {
	c := &Conversion{dir: dir}
	return c.copy(ctx, old)
}

// copy writes the contents of the old store in the current format and compares
// them.
func (c *Conversion) copy(ctx context.Context, old *format1.Store) (id layout.Identity, err error) {
	state := old.State()
	binary.BigEndian.PutUint64(id[:8], state.Identity[0])
	binary.BigEndian.PutUint64(id[8:], state.Identity[1])
	if n := state.Last + 1 - state.First; state.Last > 0 && n < layout.RestoreJump {
		c.total.Store(n) // Otherwise the store was restored once and has a gap, so the total is unknown.
	}
	if err := copyLog(ctx, old, filepath.Join(c.dir, layout.LogDir), c); err != nil {
		return id, err
	}
	return id, copyDocuments(ctx, old, filepath.Join(c.dir, layout.DocumentsFile))
}

// Limits of one batch of a conversion.
const (
	convertEvents = 1024
	convertBytes  = 1 << 20
)

// copyLog writes all events into a new log, and compares the log with what was
// read.
func copyLog(ctx context.Context, old *format1.Store, dir string, c *Conversion) (err error) {
	log, err := segment.Open(disk.OS, dir, segment.Options{Logger: c.opt.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	w := logWriter{ctx: ctx, log: log, sum: sha256.New()}
	if err := old.Events(ctx, time.Now(), func(e *event.Event) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.done.Add(1)
		return w.add(e)
	}); err != nil {
		return err
	}
	if err := w.end(old.State()); err != nil {
		return err
	}
	got, n := sha256.New(), uint64(0)
	if err := log.ScanBodies(ctx, 0, log.Last(), func(e *event.Event) error {
		sumEvent(got, e)
		n++
		c.done.Add(1)
		return nil
	}); err != nil {
		return fmt.Errorf("comparing: %w", err)
	}
	if n != w.events || !bytes.Equal(got.Sum(nil), w.sum.Sum(nil)) {
		return fmt.Errorf("%w: %d events were written and %d read back, or they differ", storage.ErrDamaged, w.events, n)
	}
	return nil
}

// logWriter writes events in batches. A gap between two sequence numbers starts
// a new segment.
type logWriter struct {
	ctx    context.Context
	log    *segment.Log
	batch  []*event.Event
	bytes  int
	events uint64
	sum    hash.Hash
}

func (w *logWriter) add(e *event.Event) error {
	sumEvent(w.sum, e)
	w.events++
	if len(w.batch) > 0 && (e.Seq != w.batch[len(w.batch)-1].Seq+1 || len(w.batch) == convertEvents || w.bytes+len(e.Body) > convertBytes) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(e.Body) > layout.LargeBody {
		name, err := w.log.PutLarge(e.Body)
		if err != nil {
			return err
		}
		e.BodyRef, e.Body = name, nil
	}
	w.batch, w.bytes = append(w.batch, e), w.bytes+len(e.Body)
	return nil
}

func (w *logWriter) flush() error {
	if len(w.batch) == 0 {
		return nil
	}
	if err := w.log.WaitWritable(w.ctx); err != nil {
		return err
	}
	err := w.log.Append(w.batch) // A gap before the batch starts a new segment.
	clear(w.batch)
	w.batch, w.bytes = w.batch[:0], 0
	return err
}

// end sets the next sequence number to that of the old store.
func (w *logWriter) end(state format1.State) error {
	if err := w.flush(); err != nil {
		return err
	}
	if next := max(state.Issued, state.Last) + 1; next > w.log.Next() {
		return w.log.Jump(next)
	}
	return nil
}

// sumEvent adds everything that a conversion keeps of an event. The body is
// represented by its digest, which reading verifies, and its length.
func sumEvent(sum hash.Hash, e *event.Event) {
	k := *e
	k.BodyRef, k.LoggedAt = "", time.Time{}
	raw := binary.BigEndian.AppendUint64(nil, e.Seq)
	raw = binary.BigEndian.AppendUint64(raw, uint64(len(e.Body)))
	body := sha256.Sum256(e.Body)
	raw = append(raw, body[:]...)
	_, _ = sum.Write(k.AppendBinary(raw)) // Writing to a hash never fails.
}

// copyDocuments writes all documents with their versions.
func copyDocuments(ctx context.Context, old *format1.Store, name string) (err error) {
	docs, err := bolt.OpenDocuments(name, bolt.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, docs.Close()) }()
	var all []storage.Document
	if err := old.Documents(ctx, func(d storage.Document) error {
		all = append(all, d)
		return nil
	}); err != nil {
		return err
	}
	if err := docs.Import(ctx, all, old.State().DocumentVersion); err != nil {
		return err
	}
	for _, d := range all {
		got, err := docs.GetDocument(ctx, d.Collection, d.Key)
		if err != nil || got.Version != d.Version || !bytes.Equal(got.Value, d.Value) {
			return errors.Join(fmt.Errorf("%w: document %q of %s was not copied", storage.ErrDamaged, d.Key, d.Collection), err)
		}
	}
	return nil
}
