package segment

import (
	"crypto/sha256"
	"fmt"
	"math"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/index"
)

// content is the data of a segment in its current form: unsealed, sealed or
// lost. Positions count from 0.
type content interface {
	// count returns the number of positions.
	count() int
	// cursor returns a cursor that reads events without bodies. Its errors are
	// DamageErrors.
	cursor() cursor
	// keys returns the table of dedup keys.
	keys() (index.Table, error)
	// terms returns the table of the events' terms, or a RebuildError.
	terms() (index.Source, error)
	// receivedBetween returns the positions that may hold events received in
	// [since, until].
	receivedBetween(since, until int64) (index.Set, error)
	// minLogged returns the lowest LoggedAt, or noTime.
	minLogged() int64
	// loggedBefore returns the number of positions up to the last event that was
	// logged before a time.
	loggedBefore(time.Time) (int, error)
	// names returns the names of the large bodies that the events refer to.
	names() ([]string, error)
	// close frees the resources when the last reader has left.
	close()
}

// cursor reads events of one segment. Ascending order is fastest.
type cursor interface {
	event(pos int) (*event.Event, error)
	// body reads the body of the event that was read last. Its BodyRef must be
	// empty.
	body(e *event.Event) ([]byte, error)
}

// noTime is later than any time.
const noTime = math.MaxInt64

// unixNano returns a time in Unix nanoseconds. A time outside of their range
// becomes the nearest one.
func unixNano(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64-1)):
		return math.MaxInt64 - 1
	}
	return t.UnixNano()
}

// checkBody compares a body with the event's digest.
func checkBody(e *event.Event, body []byte) error {
	if len(body) == 0 && e.BodyDigest.IsZero() {
		return nil // Events of the gateway itself may have no body.
	}
	if event.Digest(sha256.Sum256(body)) != e.BodyDigest {
		return fmt.Errorf("%w: digest of the body of event %d", errFormat, e.Seq)
	}
	return nil
}

// rangeSet builds a set from ascending ranges.
type rangeSet struct {
	runs     []index.Set
	from, to int
}

func (w *rangeSet) add(from, to int) {
	if from == w.to && w.to > w.from {
		w.to = to
		return
	}
	w.flush()
	w.from, w.to = from, to
}

func (w *rangeSet) flush() {
	if w.to > w.from {
		w.runs = append(w.runs, index.RangeSet(w.from, w.to))
	}
}

func (w *rangeSet) set() index.Set {
	w.flush()
	return index.Union(w.runs...)
}

// lost is the content of one or more segments that cannot be read at all.
type lost struct {
	err storage.DamageError
}

func (l *lost) count() int {
	return int(min(l.err.Last-l.err.First+1, math.MaxInt32))
}
func (l *lost) cursor() cursor                                  { return l }
func (l *lost) event(int) (*event.Event, error)                 { return nil, &l.err }
func (l *lost) body(*event.Event) ([]byte, error)               { return nil, &l.err }
func (l *lost) keys() (index.Table, error)                      { return index.NewMemTable(), nil }
func (l *lost) terms() (index.Source, error)                    { return index.NewMemTable(), nil }
func (l *lost) receivedBetween(int64, int64) (index.Set, error) { return index.Set{}, nil }
func (l *lost) minLogged() int64                                { return noTime }
func (l *lost) loggedBefore(time.Time) (int, error)             { return 0, nil }
func (l *lost) names() ([]string, error)                        { return nil, nil }
func (l *lost) close()                                          {}

// Interface guards
var (
	_ content = (*lost)(nil)
	_ cursor  = (*lost)(nil)
)
