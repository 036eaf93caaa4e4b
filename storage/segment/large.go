package segment

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/failpoint"
	"github.com/osa-edge/osa-gateway/storage"
)

// largeNameLen is the length of the name of a large body: 128 random bits in
// hexadecimal.
const largeNameLen = 32

// maxLargeWrites limits how many large bodies are written at once, because
// their writes delay the commits. With sixteen bodies of 1 MiB, other events
// waited twenty times as long as with none.
const maxLargeWrites = 2

// PutLarge writes a body into its own file and returns its name, for
// event.Event.BodyRef. The file and its name are synced. Names are never
// reused. The body counts once an event refers to it; the next Open deletes
// bodies without an event.
func (l *Log) PutLarge(body []byte) (name string, err error) {
	if l.closed.Load() {
		return "", storage.ErrClosed
	}
	var b [largeNameLen / 2]byte
	_, _ = rand.Read(b[:]) // never fails
	name = hex.EncodeToString(b[:])
	l.largeWrites <- struct{}{}
	defer func() { <-l.largeWrites }()
	if err := l.writeLarge(name, body); err != nil {
		_ = l.fs.Remove(l.largePath(name)) // If this fails, the next start removes it.
		return "", fmt.Errorf("put a large body aside: %w", err)
	}
	failpoint.Hit("large.written")
	return name, nil
}

func (l *Log) writeLarge(name string, body []byte) error {
	f, err := l.fs.Create(l.largePath(name))
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(body, 0); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return l.fs.SyncDir(l.path(largeDir))
}

func (l *Log) largePath(name string) string { return filepath.Join(l.path(largeDir), name) }

func isLargeName(name string) bool {
	_, err := hex.DecodeString(name)
	return err == nil && len(name) == largeNameLen
}

// readLarge reads the large body of an event.
func (l *Log) readLarge(e *event.Event) ([]byte, error) {
	err := fmt.Errorf("%w: name %q", errFormat, e.BodyRef)
	if isLargeName(e.BodyRef) {
		var body []byte
		body, err = readFile(l.fs, l.largePath(e.BodyRef))
		if err == nil {
			err = checkBody(e, body)
		}
		if err == nil {
			return body, nil
		}
	}
	switch {
	case e.Seq < l.floor.Load():
		return nil, storage.ErrNotFound // The body was deleted meanwhile.
	case !errors.Is(err, errFormat) && !errors.Is(err, fs.ErrNotExist) && !isUnreadable(err):
		return nil, err
	}
	d := &storage.DamageError{Range: storage.Range{First: e.Seq, Last: e.Seq}, Where: l.largePath(e.BodyRef), Err: err}
	l.report(d)
	return nil, d
}

// RemoveLarge deletes a body that PutLarge wrote and no event refers to.
func (l *Log) RemoveLarge(name string) error {
	if !isLargeName(name) {
		return nil
	}
	if err := l.fs.Remove(l.largePath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete a large body: %w", err)
	}
	return nil
}
