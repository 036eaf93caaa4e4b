package badger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/failpoint"
	bdg "github.com/osa-edge/osa-gateway/internal/third_party/badger"
	"github.com/osa-edge/osa-gateway/storage"
)

// buckets is what Project remembers of the bucket that the projector is in, so
// that it need not read what it wrote a moment ago.
type buckets struct {
	number uint64
	// whole: postings has everything that is on disk. It is not so when the
	// store was opened in the middle of the bucket.
	whole    bool
	postings map[string]*posting
	span     span
	spanRead bool
}

type posting struct {
	bitmap
	dirty bool
}

// Project implements storage.Store.
func (s *Store) Project(ctx context.Context, p storage.Projection) error {
	if err := s.gate.enter(ctx); err != nil {
		return err
	}
	defer s.gate.leave()
	if err := s.space.admit(int64(len(p.Events))*256+documentBytes(p.Documents), spaceEmergency); err != nil {
		return err
	}
	s.step.Lock()
	defer s.step.Unlock()
	if cursor := s.projected.Load(); p.From != cursor || p.Through < p.From {
		return fmt.Errorf("%w: projecting from %d through %d, the cursor is at %d", storage.ErrConflict, p.From, p.Through, cursor)
	}
	if len(p.Documents) > 0 {
		s.docs.Lock()
		defer s.docs.Unlock()
	}
	err := s.update(false, func(txn *bdg.Txn) error {
		if err := s.projectEvents(txn, p); err != nil {
			return err
		}
		for _, d := range p.Documents {
			if err := s.writeDocument(txn, d); err != nil {
				return err
			}
		}
		failpoint.Hit("project.begin")
		return setUints(txn, metaProjected, p.Through)
	})
	if err != nil {
		s.bucket = nil // it is ahead of the disk now
		if errors.Is(err, bdg.ErrTxnTooBig) {
			return fmt.Errorf("%w: %d events, %d documents", storage.ErrTooLarge, len(p.Events), len(p.Documents))
		}
		return fmt.Errorf("projecting through %d: %w", p.Through, err)
	}
	failpoint.Hit("project.written")
	s.projected.Store(p.Through)
	return nil
}

func documentBytes(docs []storage.Document) int64 {
	n := int64(0)
	for _, d := range docs {
		n += int64(len(d.Key)+len(d.Value)) + 64
	}
	return n
}

func (s *Store) projectEvents(txn *bdg.Txn, p storage.Projection) error {
	pr := projecting{txn: txn, through: p.Through}
	for i, e := range p.Events {
		if e.Seq <= p.From || e.Seq > p.Through || i > 0 && e.Seq <= p.Events[i-1].Seq {
			return fmt.Errorf("event %d does not belong in (%d, %d]", e.Seq, p.From, p.Through)
		}
		if b := s.bucket; b == nil || b.number != bucketOf(e.Seq) {
			if b != nil {
				if err := pr.flush(b); err != nil {
					return err
				}
			}
			s.bucket = &buckets{
				number: bucketOf(e.Seq), postings: make(map[string]*posting),
				// Nothing of this bucket was projected before.
				whole: bucketOf(e.Seq) > bucketOf(p.From),
			}
		}
		if err := pr.add(s.bucket, e); err != nil {
			return err
		}
	}
	if s.bucket == nil {
		return nil
	}
	return pr.flush(s.bucket)
}

// projecting is one Project.
type projecting struct {
	txn     *bdg.Txn
	through uint64
	terms   []event.Term
	term    []byte
	dirty   []string // terms of the current bucket, as they stand in keys
	fresh   []byte   // those of them that the bucket did not have
}

func (p *projecting) add(b *buckets, e *event.Event) error {
	if !b.spanRead {
		b.spanRead = true
		if !b.whole {
			err := getValue(p.txn, seqKey(kindTimes, b.number), func(v []byte) error {
				if v == nil {
					return nil
				}
				return b.span.parse(v)
			})
			if err != nil {
				return err
			}
		}
	}
	n := e.Seq % bucketSize
	b.span.add(n, e.ReceivedAt.UnixNano())
	p.terms = append(e.AppendTerms(p.terms[:0]), event.Term{Field: fieldWorkspace, Value: e.WorkspaceID})
	for _, t := range p.terms {
		p.term = appendTerm(p.term[:0], t)
		list, ok := b.postings[string(p.term)]
		if !ok {
			var err error
			if list, err = p.read(b, p.term); err != nil {
				return err
			}
			b.postings[string(p.term)] = list
		}
		list.set(n)
		if !list.dirty {
			list.dirty = true
			p.dirty = append(p.dirty, string(p.term))
		}
	}
	return nil
}

// read reads a posting that is not remembered.
func (p *projecting) read(b *buckets, term []byte) (*posting, error) {
	list := new(posting)
	found := false
	if !b.whole {
		err := getValue(p.txn, appendPostingKey(nil, term, b.number), func(v []byte) error {
			if v == nil {
				return nil
			}
			found = true
			return list.parse(v)
		})
		if err != nil {
			return nil, err
		}
	}
	if !found {
		p.fresh = binary.AppendUvarint(p.fresh, uint64(len(term)))
		p.fresh = append(p.fresh, term...)
	}
	return list, nil
}

// flush writes what was added to a bucket.
func (p *projecting) flush(b *buckets) error {
	if len(p.dirty) == 0 {
		return nil
	}
	for _, term := range p.dirty {
		list := b.postings[term]
		list.dirty = false
		key := appendPostingKey(make([]byte, 0, len(term)+9), []byte(term), b.number)
		if err := p.txn.Set(key, list.appendTo(nil)); err != nil {
			return err
		}
	}
	if len(p.fresh) > 0 {
		if len(p.fresh) > maxValue {
			return bdg.ErrTxnTooBig
		}
		if err := p.txn.Set(termsKey(b.number, p.through), p.fresh); err != nil {
			return err
		}
	}
	p.dirty, p.fresh = p.dirty[:0], nil
	return p.txn.Set(seqKey(kindTimes, b.number), b.span.appendTo(nil))
}

// eachTerm takes apart what stands under a termsKey.
func eachTerm(v []byte, fn func(term []byte) error) error {
	for len(v) > 0 {
		n, w := binary.Uvarint(v)
		if w <= 0 || uint64(len(v)-w) < n {
			return corrupt("terms of a bucket")
		}
		if err := fn(v[w : w+int(n)]); err != nil {
			return err
		}
		v = v[w+int(n):]
	}
	return nil
}
