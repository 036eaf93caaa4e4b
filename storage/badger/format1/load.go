package format1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	bdg "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"
)

// pendingWrites is how many writes Badger's loader has under way.
const pendingWrites = 16

// LoadBackup makes a store of the segments in r, for Open, in dir, which is made
// if it does not exist and must be empty. Sequence, versions and identity are those
// of the store that was backed up. After an error dir holds no usable store.
//
// What was pruned between two segments may be there again: a segment does not
// tell of deletions that Badger had dropped before it was written. Nothing of it is
// seen, because Events begins where the log does.
func LoadBackup(ctx context.Context, r io.Reader, dir string, log *zap.Logger) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("loading a backup: %w", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		return errors.Join(fmt.Errorf("loading a backup: %s is not empty", dir), err)
	}
	db, err := bdg.Open(options(dir, log))
	if err != nil {
		return fmt.Errorf("loading a backup: %w", err)
	}
	err = loadSegments(ctx, db, bufio.NewReaderSize(r, readBuffer))
	if err == nil {
		err = db.View(checkFormat)
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("loading a backup: %w", err)
	}
	return nil
}

func loadSegments(ctx context.Context, db *bdg.DB, r *bufio.Reader) error {
	var end position
	for n := 0; ; n++ {
		seg, err := openSegment(ctx, r, end)
		if errors.Is(err, io.EOF) && n > 0 {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: nothing in it", ErrBackup)
		}
		if err != nil {
			return err
		}
		if err := db.Load(seg, pendingWrites); err != nil {
			return err
		}
		// Load is content when a segment ends between two lists.
		if !seg.done {
			return ErrBackupCut
		}
		end = seg.next
	}
}
