package badger

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/osa-edge/osa-gateway/internal/failpoint"
	bdg "github.com/osa-edge/osa-gateway/internal/third_party/badger"
	"github.com/osa-edge/osa-gateway/storage"
)

// formatNumber is that of the layout in keys.go.
const formatNumber = 1

// Open opens the store in dir, which is made if it does not exist. It returns
// storage.ErrLocked while another process holds it, and storage.ErrFormat for
// what another version wrote.
func Open(dir string, opt Options) (*Store, error) {
	opt = opt.withDefaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	sp := openSpace(dir, opt)
	if err := removeEmpty(dir, opt.Logger); err != nil {
		return nil, fmt.Errorf("store %s: removing what a crash left: %w", dir, err)
	}
	if err := syncLeftovers(dir); err != nil {
		return nil, fmt.Errorf("store %s: syncing what a crash left: %w", dir, err)
	}
	db, err := bdg.Open(badgerOptions(dir, opt.Logger))
	if err != nil {
		if strings.Contains(err.Error(), "Cannot acquire directory lock") {
			return nil, lockedError(dir, err)
		}
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	s := &Store{dir: dir, opt: opt, log: opt.Logger, db: db, space: sp, gate: newGate()}
	if err := s.load(); err != nil {
		if s.wal != nil {
			err = errors.Join(err, s.wal.close())
		}
		return nil, errors.Join(fmt.Errorf("store %s: %w", dir, err), db.Close())
	}
	sp.room = (&room{s: s}).beyondReserve
	sp.start()
	s.fillSieve()
	return s, nil
}

// load reads the store's state and puts right what a crash left.
func (s *Store) load() error {
	var err error
	if s.wal, err = openWAL(s.dir); err != nil {
		return err
	}
	failpoint.Hit("open.replayed")
	if err := s.checkFormat(); err != nil {
		return err
	}
	if err := s.loadState(); err != nil {
		return err
	}
	failpoint.Hit("open.loaded")
	return s.sweepStaged()
}

// checkFormat refuses what another version wrote. A new store gets its format and,
// like one of before there were identities, its identity.
func (s *Store) checkFormat() error {
	return s.update(true, func(txn *bdg.Txn) error {
		format, err := getUints(txn, metaFormat, 1)
		if err != nil {
			return err
		}
		switch format[0] {
		case formatNumber:
		case 0:
			err = errors.Join(checkEmpty(txn), setUints(txn, metaFormat, formatNumber))
		default:
			err = fmt.Errorf("%w: %d, this version knows %d", storage.ErrFormat, format[0], formatNumber)
		}
		if err != nil {
			return err
		}
		return s.identify(txn)
	})
}

func checkEmpty(txn *bdg.Txn) error {
	it := txn.NewIterator(bdg.IteratorOptions{})
	defer it.Close()
	if it.Rewind(); it.Valid() {
		return fmt.Errorf("%w: a Badger database, but none of this gateway's", storage.ErrFormat)
	}
	return nil
}

// identify reads the store's identity, or gives it one.
func (s *Store) identify(txn *bdg.Txn) error {
	id, err := getUints(txn, metaIdentity, 2)
	if err == nil && id[0]|id[1] == 0 {
		id = newIdentity()
		err = setUints(txn, metaIdentity, id...)
	}
	s.identity = identity(id)
	return err
}

func (s *Store) loadState() error {
	return s.db.View(func(txn *bdg.Txn) error {
		log, err := getUints(txn, metaLog, 3)
		if err != nil {
			return err
		}
		singles := [3]uint64{}
		for i, name := range [...]byte{metaProjected, metaVariant, metaLease} {
			v, err := getUints(txn, name, 1)
			if err != nil {
				return err
			}
			singles[i] = v[0]
		}
		s.projected.Store(singles[0])
		s.variant.Store(singles[1])
		// What the lease covers may have been used. Version 0 means "does not exist".
		s.numbers.next, s.numbers.lease = max(1, singles[2]), singles[2]

		first, last, issued := log[0], log[1], log[2]
		blocks := newBlocks(txn)
		defer blocks.close()
		if blocks.seek(first) {
			if err := blocks.load(); err != nil {
				return err
			}
			first = blocks.block.first
		}
		tail, err := lastBlock(txn)
		if err != nil {
			return err
		}
		s.first.Store(first)
		s.last.Store(max(last, tail))
		s.issued.Store(max(last, tail, issued))
		return nil
	})
}

// lastBlock is the last seq of the last block, or 0.
func lastBlock(txn *bdg.Txn) (uint64, error) {
	it := txn.NewIterator(bdg.IteratorOptions{Reverse: true, Prefix: []byte{kindBlock}})
	defer it.Close()
	it.Seek(seqKey(kindBlock, ^uint64(0)))
	if !it.Valid() {
		return 0, nil
	}
	return parseSeqKey(kindBlock, it.Item().Key())
}
