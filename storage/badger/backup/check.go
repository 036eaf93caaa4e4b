package backup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/osa-edge/osa-gateway/storage/badger/format1"
	"github.com/osa-edge/osa-gateway/storage/bolt"
)

// End describes the complete parts of a backup.
type End struct {
	Next     string // The position where the next part starts.
	Segments int    // parts
	Size     int64  // in bytes
}

// Check verifies the parts in r without restoring them. After an error
// the result describes the complete parts before it.
func Check(ctx context.Context, r io.Reader) (end End, err error) {
	in := bufio.NewReaderSize(r, FrameBytes)
	if isOldBackup(in) {
		old, err := format1.CheckBackup(ctx, in)
		return End(old), asOldBackupError(err)
	}
	var at Position
	for {
		part, err := openPart(ctx, in, at)
		if errors.Is(err, io.EOF) && end.Segments > 0 {
			return end, nil
		}
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: nothing in it", ErrInvalid)
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
