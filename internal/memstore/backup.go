package memstore

import (
	"context"
	"encoding/gob"
	"io"
	"strconv"

	"github.com/osa-edge/osa-gateway/storage"
)

// backup is one change in a backup: an event or a document.
type backup struct {
	Seq     uint64
	Event   []byte
	Body    []byte
	Doc     storage.Document
	Changed uint64
}

// Backup implements storage.Store.
func (s *Store) Backup(ctx context.Context, w io.Writer, point string) (string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.checkOpen(ctx); err != nil {
		return "", err
	}
	since := uint64(0)
	if point != "" {
		var err error
		if since, err = strconv.ParseUint(point, 10, 64); err != nil || since > s.changes {
			return "", storage.ErrBackupPosition
		}
	}
	enc := gob.NewEncoder(w)
	for _, e := range s.events {
		if at := s.changed[e.Seq]; at > since {
			body := e.Body
			if e.BodyRef != "" {
				body = s.large[e.BodyRef]
			}
			if err := enc.Encode(backup{Seq: e.Seq, Event: e.AppendBinary(nil), Body: body, Changed: at}); err != nil {
				return "", err
			}
		}
	}
	for k, d := range s.docs {
		if d.changed > since {
			doc := storage.Document{Collection: k.collection, Key: k.key, Value: d.value, Version: d.version}
			if err := enc.Encode(backup{Doc: doc, Changed: d.changed}); err != nil {
				return "", err
			}
		}
	}
	return strconv.FormatUint(s.changes, 10), nil
}
