// Package backup is the format of a store's backups: it writes and reads their parts,
// verifies them, and restores a store from them. It does not know how a store takes a
// backup of itself.
package backup

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger/convert"
	"github.com/osa-edge/osa-gateway/storage/badger/format1"
	"github.com/osa-edge/osa-gateway/storage/badger/layout"
	"github.com/osa-edge/osa-gateway/storage/bolt"
	"github.com/osa-edge/osa-gateway/storage/segment"
)

// oldBackupMagic is how a backup of format 1 begins.
const oldBackupMagic = backupName + "2"

// Restore creates a store in dir from the parts in r. dir must not hold a
// store. The next event's sequence number is 1<<32 higher than in the backup,
// so that no id is used twice, and the numbers between are recorded as skipped.
// The new store has its own identity: its backups do not continue those of the
// lost one. If Restore fails, dir holds no store. Backups of format 1 are
// converted.
func Restore(ctx context.Context, r io.Reader, dir string, logger *zap.Logger) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		return errors.Join(fmt.Errorf("restore: %s is not empty", dir), err)
	}
	in := bufio.NewReaderSize(r, FrameBytes)
	err := layout.Mark(dir)
	if err == nil {
		if isOldBackup(in) {
			err = restoreOld(ctx, in, dir, logger)
		} else {
			err = restoreParts(ctx, in, dir)
		}
	}
	if err == nil {
		err = moveOn(ctx, dir, logger)
	}
	if err == nil {
		err = layout.Describe(dir, layout.NewIdentity())
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
	log, err := segment.NewImporter(disk.OS, filepath.Join(dir, layout.LogDir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	var end Position
	for n := 0; ; n++ {
		part, err := openPart(ctx, in, end)
		if errors.Is(err, io.EOF) && n > 0 {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: nothing in it", ErrInvalid)
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
	name := filepath.Join(dir, layout.DocumentsFile)
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

// asBackupError wraps the error of an invalid section in ErrInvalid.
func asBackupError(err error) error {
	if errors.Is(err, ErrInvalid) {
		return err
	}
	if errors.Is(err, bolt.ErrSnapshot) || errors.Is(err, segment.ErrStream) || errors.Is(err, storage.ErrBackupPosition) {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return err
}

// restoreOld creates a store of format 1 from a backup and converts it.
func restoreOld(ctx context.Context, in io.Reader, dir string, logger *zap.Logger) error {
	old := filepath.Join(dir, layout.Format1Dir)
	if err := format1.LoadBackup(ctx, in, old, logger); err != nil {
		return asOldBackupError(err)
	}
	store, err := format1.Open(old, logger)
	if err != nil {
		return err
	}
	_, err = convert.Copy(ctx, store, dir)
	return errors.Join(err, store.Close(), layout.RemoveFormat1(dir))
}

func asOldBackupError(err error) error {
	switch {
	case errors.Is(err, format1.ErrBackupCut):
		return fmt.Errorf("%w: %w", ErrCut, err)
	case errors.Is(err, format1.ErrBackup):
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return err
}

// moveOn raises the sequence number and versions of a restored store by
// restoreJump.
func moveOn(ctx context.Context, dir string, logger *zap.Logger) (err error) {
	log, err := segment.Open(disk.OS, filepath.Join(dir, layout.LogDir), segment.Options{Logger: logger})
	if err != nil {
		return err
	}
	err = log.Jump(log.Next() + layout.RestoreJump)
	if err = errors.Join(err, log.Close()); err != nil {
		return err
	}
	docs, err := bolt.OpenDocuments(filepath.Join(dir, layout.DocumentsFile), bolt.Options{Existing: true})
	if err != nil {
		return err
	}
	return errors.Join(docs.RaiseVersions(ctx, layout.RestoreJump), docs.Close())
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
