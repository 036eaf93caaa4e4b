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

// content is what a segment holds, in the form that it stands on disk in:
// unsealed, sealed, or lost. Positions count from 0.
type content interface {
	// count is the number of positions.
	count() int
	// cursor reads events without bodies; its errors are DamageErrors.
	cursor() cursor
	// keys is the table of dedup keys, terms that of the events' terms or a
	// RebuildError.
	keys() (index.Table, error)
	terms() (index.Source, error)
	// receivedBetween is where events may be that were received from since until until.
	receivedBetween(since, until int64) (index.Set, error)
	// minLogged is the least LoggedAt, noTime for none.
	minLogged() int64
	// loggedBefore counts the positions up to the last event that was logged
	// before a time.
	loggedBefore(time.Time) (int, error)
	// names are the large bodies that the events refer to.
	names() ([]string, error)
	// close frees what it holds when the last reader has left.
	close()
}

// cursor reads events of one segment, cheapest in ascending order.
type cursor interface {
	event(pos int) (*event.Event, error)
	// body reads the body of the event that was read last, whose BodyRef is empty.
	body(e *event.Event) ([]byte, error)
}

// noTime is later than any time.
const noTime = math.MaxInt64

// unixNano is a time in nanoseconds; times that nanoseconds cannot say are the
// nearest that they can.
func unixNano(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64-1)):
		return math.MaxInt64 - 1
	}
	return t.UnixNano()
}

// checkBody compares a body with the digest that the event has of it.
func checkBody(e *event.Event, body []byte) error {
	if len(body) == 0 && e.BodyDigest.IsZero() {
		return nil // what the gateway makes itself need not have a body
	}
	if event.Digest(sha256.Sum256(body)) != e.BodyDigest {
		return fmt.Errorf("%w: digest of the body of event %d", errFormat, e.Seq)
	}
	return nil
}

// rangeSet puts a set together from ascending runs.
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

// lost is a segment, or several, of which nothing can be read.
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
