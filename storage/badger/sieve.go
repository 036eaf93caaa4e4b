package badger

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/event"
	bdg "github.com/osa-edge/osa-gateway/internal/third_party/badger"
	"github.com/osa-edge/osa-gateway/storage"
)

// sieve says of nearly every new dedup key that the log does not hold it. That
// is most of what a commit asks, and Badger answers it from every memtable, every
// table of level 0 and every level below: a quarter of what an event costs.
//
// It is a Bloom filter of 64-byte blocks, so that a question is one cache miss,
// and takes its bits from the dedup key, which is a hash already. It is filled
// from the store in the background, and made anew when it is too small or mostly
// holds what was pruned. Its size is bounded: what is far too full is not asked.
type sieve struct {
	mu   sync.Mutex
	now  *bloom // nil: ask Badger
	next *bloom // being filled
}

const (
	bloomBits = 16 // a key, when full: some 0.3 % false answers
	bloomMin  = 1 << 18
	bloomMax  = 1 << 24 // keys, which take 32 MiB
	// bloomUseless times its capacity, a filter is wrong about every third key.
	bloomUseless = 5
)

type bloom struct {
	blocks   [][8]uint64
	keys     int
	capacity int
}

func newBloom(keys int) *bloom {
	capacity := bloomMin
	for capacity < min(keys, bloomMax) {
		capacity *= 2
	}
	return &bloom{blocks: make([][8]uint64, capacity*bloomBits/512), capacity: capacity}
}

// probe is the block of a key, and the six bits that it has there.
func (b *bloom) probe(key []byte) (block *[8]uint64, bits uint64) {
	return &b.blocks[binary.LittleEndian.Uint64(key)%uint64(len(b.blocks))], binary.LittleEndian.Uint64(key[8:])
}

func (b *bloom) add(key []byte) {
	if b.has(key) {
		return // there is no telling that it is another one
	}
	block, bits := b.probe(key)
	for range 6 {
		block[bits>>6&7] |= 1 << (bits & 63)
		bits >>= 9
	}
	b.keys++
}

func (b *bloom) has(key []byte) bool {
	block, bits := b.probe(key)
	for range 6 {
		if block[bits>>6&7]&(1<<(bits&63)) == 0 {
			return false
		}
		bits >>= 9
	}
	return true
}

// admit enters a dedup key, and reports whether the log may hold it already.
func (s *sieve) admit(key *event.Digest) (maybe bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maybe = s.now == nil || s.now.keys > bloomUseless*s.now.capacity || s.now.has(key[:])
	if s.now != nil {
		s.now.add(key[:])
	}
	if s.next != nil {
		s.next.add(key[:])
	}
	return maybe
}

// outgrown reports whether the filter should be made anew for a log of live keys.
func (s *sieve) outgrown(live int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		return false
	}
	return s.now == nil || s.now.keys > 2*live+bloomMin || s.now.keys > s.now.capacity && s.now.capacity < min(2*live, bloomMax)
}

// fillSieve begins to fill a filter unless the one there is will do. It is called
// with front held, or before there are commits: every key is in the snapshot that
// it reads, or is entered by its own commit.
func (s *Store) fillSieve() {
	b := s.bounds()
	live := int(b.Last + 1 - b.First)
	if !s.sieve.outgrown(live) || s.gate.enter(context.Background()) != nil {
		return
	}
	next := newBloom(2 * live)
	s.sieve.mu.Lock()
	s.sieve.next = next
	s.sieve.mu.Unlock()
	txn := s.db.NewTransaction(false)
	go func() {
		defer s.gate.leave()
		defer txn.Discard()
		err := s.readDedupKeys(txn, next)
		s.sieve.mu.Lock()
		defer s.sieve.mu.Unlock()
		s.sieve.next = nil
		if err == nil {
			s.sieve.now = next
		} else if !errors.Is(err, storage.ErrClosed) {
			s.log.Warn("no filter of dedup keys", zap.Error(err))
		}
	}()
}

func (s *Store) readDedupKeys(txn *bdg.Txn, into *bloom) error {
	const step = 1024
	pending := make([][16]byte, 0, step)
	flush := func() error {
		s.sieve.mu.Lock()
		for i := range pending {
			into.add(pending[i][:])
		}
		s.sieve.mu.Unlock()
		pending = pending[:0]
		return s.interrupted(context.Background())
	}
	err := eachKey(txn, []byte{kindDedup}, func(key []byte) error {
		if len(key) <= len(event.Digest{}) {
			return errBadKey
		}
		pending = append(pending, [16]byte(key[len(key)-len(event.Digest{}):]))
		if len(pending) < step {
			return nil
		}
		return flush()
	})
	return errors.Join(err, flush())
}
