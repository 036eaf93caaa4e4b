package badger

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/badger/dedupfilter"
)

// buildFilter builds the filter of dedup keys in the background, unless the current
// one will do. It is called by the committer, or before there are commits: every key
// is in the segments then, or is added by its own commit.
func (s *Store) buildFilter() {
	b := s.log.Bounds()
	live := int(b.Last + 1 - b.First)
	if !s.filter.NeedsBuild(live) || s.inflight.begin(context.Background()) != nil {
		return
	}
	next := s.filter.Begin(live)
	go func() {
		defer s.inflight.end()
		err := s.readKeys(next)
		s.filter.End(err == nil)
		if err != nil && !errors.Is(err, storage.ErrClosed) {
			s.logger.Warn("no filter of dedup keys: each is looked up", zap.Error(err))
		}
	}()
}

// readKeys adds the dedup keys of the log to a filter.
func (s *Store) readKeys(into *dedupfilter.Bits) (err error) {
	n := 0
	kerr := s.log.Keys(func(hash uint64) bool {
		into.Add(hash)
		if n++; n%4096 == 0 {
			err = s.interrupted(context.Background())
		}
		return err == nil
	})
	return errors.Join(err, kerr)
}
