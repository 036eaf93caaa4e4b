package badger

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger/backup"
)

// Backup implements storage.Store. The result may be appended to earlier parts;
// backup.Restore reads them as one.
func (s *Store) Backup(ctx context.Context, w io.Writer, since string) (next string, err error) {
	if err := s.inflight.begin(ctx); err != nil {
		return "", err
	}
	defer s.inflight.end()
	from, err := s.continues(since)
	if err != nil {
		return "", err
	}
	ctx, cancel := s.withClose(ctx)
	defer cancel()
	buf := bufio.NewWriterSize(w, backup.FrameBytes)
	end, err := s.writePart(ctx, buf, from)
	if err == nil {
		err = buf.Flush()
	}
	if err != nil {
		return "", fmt.Errorf("backup: %w", errors.Join(err, s.interrupted(ctx)))
	}
	return end.String(), nil
}

func (s *Store) writePart(ctx context.Context, w io.Writer, from backup.Position) (end backup.Position, err error) {
	part, err := backup.NewWriter(w, from)
	if err != nil {
		return end, err
	}
	err = part.Documents(func(w io.Writer) error {
		_, err := s.documents.Snapshot(ctx, w)
		return err
	})
	if err != nil {
		return end, err
	}
	head := uint64(0)
	err = part.Log(func(w io.Writer) (err error) {
		head, err = s.log.Export(ctx, w, from.Seq)
		return err
	})
	if err != nil {
		return end, err
	}
	if end, err = s.positionAt(max(head, from.Seq)); err != nil {
		return end, err
	}
	return end, part.End(end)
}

// continues returns the position from which a backup continues. It must be a
// position of this store.
func (s *Store) continues(since string) (backup.Position, error) {
	if since == "" {
		return backup.Position{Store: s.identity}, nil
	}
	p, err := backup.ParsePosition(since)
	if err != nil {
		return backup.Position{}, err
	}
	if p.Store != s.identity || p.Seq > s.log.Last() {
		return backup.Position{}, storage.ErrBackupPosition
	}
	if now, err := s.positionAt(p.Seq); err == nil && now.Check != 0 && now != p {
		return backup.Position{}, storage.ErrBackupPosition
	}
	return p, nil
}

// positionAt returns the position after the event seq. If that event was pruned
// or cannot be read, the position has no check.
func (s *Store) positionAt(seq uint64) (backup.Position, error) {
	p := backup.Position{Store: s.identity, Seq: seq}
	e, err := s.log.Event(seq)
	switch {
	case err == nil:
		p.Check = max(1, binary.BigEndian.Uint64(e.BodyDigest[:8]))
	case !isNotFound(err) && !isDamage(err):
		return p, err
	}
	return p, nil
}
