package diagnostics

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/fair"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/response"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/storage"
)

const (
	// firstChunk is how many events the first turn of a list reads; the turns
	// after it read as many as make chunkBytes, going by those before.
	firstChunk = 32
	mostChunk  = 256
	chunkBytes = 64 << 10
	// wholeBytes is up to how much of an answer is kept together before any of
	// it is sent: until then an error can still be told with a status.
	wholeBytes = 128 << 10
)

// errAnswers is the reason when too much is encoded and waits for its readers.
var errAnswers = errors.New("the answers' share of memory is taken")

// reader reads a list from the log in turns, and encodes it.
//
// Whatever a list asks for, it has no more memory than a chunk of it takes: what
// is read is encoded in the same turn, and sent before the next one.
type reader struct {
	app *osa.App
	log *eventlog.Log
	ws  string
	q   storage.Query
	// left is how many events are asked for yet.
	left  int
	chunk int
	spent time.Duration // of readTimeout, on turns and reading

	events  int    // encoded so far
	encoded []byte // and not sent
	held    int64  // of osa.Answers
}

func newReader(app *osa.App, log *eventlog.Log, l listing) *reader {
	return &reader{
		app: app, log: log, ws: l.filter.WorkspaceID, left: l.limit, chunk: firstChunk,
		q: storage.Query{Filter: l.filter, Ascending: l.ascending, After: l.after},
	}
}

// next encodes another chunk behind what is not sent yet; more is false once the
// list is whole. A list that is not ends with a cursor: what stops it in the
// middle, its next page will tell.
func (rd *reader) next(ctx context.Context) (more bool, err error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, readTimeout-rd.spent)
	defer func() {
		cancel()
		rd.spent += time.Since(start)
	}()
	release, err := rd.app.Turn(ctx, rd.ws)
	if err != nil {
		return false, err
	}
	defer release()
	rd.q.Limit = min(rd.left, rd.chunk)
	page, err := rd.log.Query(ctx, rd.q)
	if err != nil {
		return false, err
	}
	before, events := len(rd.encoded), rd.events
	encoded := rd.encoded
	for _, e := range page.Events {
		record, err := response.Encode(e)
		if err != nil {
			return false, err
		}
		if events > 0 {
			encoded = append(encoded, ',')
		}
		encoded = append(encoded, record...)
		events++
	}
	if grown := int64(cap(encoded)) - rd.held; grown > 0 {
		if !osa.Answers().Acquire(rd.ws, grown) {
			return false, errAnswers
		}
		rd.held += grown
	}
	rd.encoded, rd.events = encoded, events
	if n := len(page.Events); n > 0 {
		rd.chunk = min(mostChunk, max(1, chunkBytes*n/max(1, len(encoded)-before)))
	}
	rd.left -= len(page.Events)
	rd.q.After = page.Next
	return page.Next != 0 && rd.left > 0, nil
}

// sent empties the buffer, and lets go of one that a few large events made.
func (rd *reader) sent() {
	if rd.encoded = rd.encoded[:0]; cap(rd.encoded) > 2*wholeBytes {
		rd.close()
	}
}

// close lets go of the buffer.
func (rd *reader) close() {
	osa.Answers().Release(rd.ws, rd.held)
	rd.encoded, rd.held = nil, 0
}

// cursor is where the next page begins, as JSON.
func (rd *reader) cursor() string {
	if rd.q.After == 0 {
		return "null"
	}
	return `"` + event.Cursor{Seq: rd.q.After, Ascending: rd.q.Ascending}.String() + `"`
}

// sendList answers with a list. tail is what follows the members of a page, with
// a comma before it.
func (h logReader) sendList(w http.ResponseWriter, r *http.Request, log *eventlog.Log, l listing, tail []byte) error {
	rd := newReader(h.app, log, l)
	defer rd.close()
	out := response.NewWriter(w)
	rd.encoded = append(rd.encoded, `{"events":[`...)
	for more := true; more; {
		var err error
		more, err = rd.next(r.Context())
		switch {
		case err == nil:
		case rd.events == 0, rd.q.After == 0:
			return listFailed(r, err)
		default:
			more = false
		}
		if more && len(rd.encoded) >= wholeBytes {
			out.Begin(http.StatusOK, -1)
			if _, err := out.Write(rd.encoded); err != nil {
				return nil //nolint:nilerr // the reader has left, or takes nothing
			}
			rd.sent()
		}
	}
	rd.encoded = append(rd.encoded, `],"next_cursor":`...)
	rd.encoded = append(rd.encoded, rd.cursor()...)
	rd.encoded = append(rd.encoded, tail...)
	rd.encoded = append(rd.encoded, '}')
	out.Begin(http.StatusOK, len(rd.encoded))
	_, _ = out.Write(rd.encoded)
	out.End()
	return nil
}

// listFailed is what a client sees of a list that could not begin.
func listFailed(r *http.Request, err error) error {
	if errors.Is(err, errAnswers) || errors.Is(err, fair.ErrFull) {
		return httperror.Unavailable("Too much is being read from the event log", time.Second).WithCause(err).HandlerError()
	}
	return logFailed(r, err)
}
