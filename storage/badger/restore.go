package badger

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger/format1"
	"github.com/osa-edge/osa-gateway/storage/bolt"
	"github.com/osa-edge/osa-gateway/storage/segment"
)

// restoreJump is added to the sequence number and the versions of a restored
// store, so that they are greater than any that the lost store may have used
// after the backup.
const restoreJump = 1 << 32

// oldBackupMagic is how a backup of format 1 begins.
const oldBackupMagic = backupName + "2"

// Restore creates a store in dir from the parts in r. dir must not hold a
// store. The next event's sequence number is 1<<32 higher than in the backup,
// so that no id is used twice, and the numbers between are recorded as skipped.
// The new store has its own identity: its backups do not continue those of the
// lost one. If Restore fails, dir holds no store. Backups of format 1 are
// converted.
func Restore(ctx context.Context, r io.Reader, dir string, opt Options) error {
	opt = opt.withDefaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		return errors.Join(fmt.Errorf("restore: %s is not empty", dir), err)
	}
	in := bufio.NewReaderSize(r, frameBytes)
	err := mark(dir)
	if err == nil {
		if isOldBackup(in) {
			err = restoreOld(ctx, in, dir, opt)
		} else {
			err = restoreParts(ctx, in, dir)
		}
	}
	if err == nil {
		err = moveOn(ctx, dir, opt)
	}
	if err == nil {
		err = describe(dir, newIdentity())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("restore: %w", err), emptyDir(dir))
	}
	return nil
}

func isOldBackup(in *bufio.Reader) bool {
	magic, err := in.Peek(len(oldBackupMagic))
	return err == nil && bytes.Equal(magic, []byte(oldBackupMagic))
}

// restoreParts imports the log of all parts, and the documents of the last one.
func restoreParts(ctx context.Context, in *bufio.Reader, dir string) (err error) {
	log, err := segment.NewImporter(disk.OS, filepath.Join(dir, logDir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	var end position
	for n := 0; ; n++ {
		part, err := openPart(ctx, in, end)
		if errors.Is(err, io.EOF) && n > 0 {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: nothing in it", ErrBackup)
		}
		if err != nil {
			return err
		}
		if err := restorePart(ctx, part, log, dir); err != nil {
			return asBackupError(err)
		}
		end = part.end
	}
}

func restorePart(ctx context.Context, part *partReader, log *segment.Importer, dir string) error {
	name := filepath.Join(dir, documentsFile)
	if err := os.RemoveAll(name); err != nil {
		return err
	}
	docs, err := bolt.OpenDocuments(name, bolt.Options{})
	if err != nil {
		return err
	}
	err = docs.Load(ctx, part.section(frameDocuments))
	if err = errors.Join(err, docs.Close()); err != nil {
		return err
	}
	if _, err := log.Read(ctx, part.section(frameLog)); err != nil {
		return err
	}
	return part.finish()
}

// asBackupError wraps the error of an invalid section in ErrBackup.
func asBackupError(err error) error {
	if errors.Is(err, ErrBackup) {
		return err
	}
	if errors.Is(err, bolt.ErrSnapshot) || errors.Is(err, segment.ErrStream) || errors.Is(err, storage.ErrBackupPosition) {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	return err
}

// restoreOld creates a store of format 1 from a backup and converts it.
func restoreOld(ctx context.Context, in io.Reader, dir string, opt Options) error {
	old := filepath.Join(dir, oldDir)
	if err := format1.LoadBackup(ctx, in, old, opt.Logger); err != nil {
		return asOldBackupError(err)
	}
	store, err := format1.Open(old, opt.Logger)
	if err != nil {
		return err
	}
	c := &Conversion{dir: dir, opt: opt}
	_, err = c.copy(ctx, store)
	return errors.Join(err, store.Close(), removeOld(dir))
}

func asOldBackupError(err error) error {
	switch {
	case errors.Is(err, format1.ErrBackupCut):
		return fmt.Errorf("%w: %w", ErrBackupCut, err)
	case errors.Is(err, format1.ErrBackup):
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	return err
}

// moveOn raises the sequence number and versions of a restored store by
// restoreJump.
func moveOn(ctx context.Context, dir string, opt Options) (err error) {
	log, err := segment.Open(disk.OS, filepath.Join(dir, logDir), segment.Options{Logger: opt.Logger})
	if err != nil {
		return err
	}
	err = log.Jump(log.Next() + restoreJump)
	if err = errors.Join(err, log.Close()); err != nil {
		return err
	}
	docs, err := bolt.OpenDocuments(filepath.Join(dir, documentsFile), bolt.Options{Existing: true})
	if err != nil {
		return err
	}
	return errors.Join(docs.RaiseVersions(ctx, restoreJump), docs.Close())
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// BackupEnd describes the complete parts of a backup.
type BackupEnd struct {
	Next     string // The position where the next part starts.
	Segments int    // parts
	Size     int64  // in bytes
}

// CheckBackup verifies the parts in r without restoring them. After an error
// the result describes the complete parts before it.
func CheckBackup(ctx context.Context, r io.Reader) (end BackupEnd, err error) {
	in := bufio.NewReaderSize(r, frameBytes)
	if isOldBackup(in) {
		old, err := format1.CheckBackup(ctx, in)
		return BackupEnd(old), asOldBackupError(err)
	}
	var at position
	for {
		part, err := openPart(ctx, in, at)
		if errors.Is(err, io.EOF) && end.Segments > 0 {
			return end, nil
		}
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: nothing in it", ErrBackup)
		}
		if err == nil {
			err = checkPart(ctx, part)
		}
		if err != nil {
			return end, asBackupError(err)
		}
		at, end.Next = part.end, part.end.String()
		end.Segments++
		end.Size += part.size
	}
}

func checkPart(ctx context.Context, part *partReader) error {
	if _, err := bolt.CheckSnapshot(ctx, part.section(frameDocuments)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, part.section(frameLog)); err != nil {
		return err
	}
	return part.finish()
}
