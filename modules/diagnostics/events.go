package diagnostics

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/modules/osa"
	"github.com/osa-edge/osa-gateway/storage"
)

// How many events a list has where the client does not say.
const (
	defaultEvents       = 50
	defaultLastWebhooks = 10
)

// page is a list of events. NextCursor is null at the end.
type page struct {
	Events     []*event.Event `json:"events"`
	NextCursor *string        `json:"next_cursor"`
}

// events is the log, filtered.
func (h *Handler) events(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	list, _, _, err := h.list(ctx, r, defaultEvents)
	if err != nil {
		return err
	}
	return answer(w, list)
}

// list answers the parameters of a list. Errors are ready to be returned.
func (h *Handler) list(ctx context.Context, r *http.Request, limit int) (page, *eventlog.Log, string, error) {
	ws, err := h.workspace(r)
	if err != nil {
		return page{}, nil, "", err
	}
	l, bad := parseListing(r.URL.RawQuery, limit)
	if len(bad) > 0 {
		return page{}, nil, "", refuse(bad)
	}
	l.filter.WorkspaceID = ws
	log, done, err := h.app.Log(ctx)
	if err != nil {
		return page{}, nil, "", err
	}
	defer done()
	list, err := read(ctx, log, l)
	if err != nil {
		return page{}, nil, "", logFailed(r, err)
	}
	return list, log, ws, nil
}

// read fills a page. An engine may end its pages early; what time is left is
// spent on filling this one.
func read(ctx context.Context, log *eventlog.Log, l listing) (page, error) {
	out := page{Events: make([]*event.Event, 0, l.limit)}
	q := storage.Query{Filter: l.filter, Ascending: l.ascending, After: l.after}
	for {
		q.Limit = l.limit - len(out.Events)
		found, err := log.Query(ctx, q)
		if err != nil {
			if len(out.Events) > 0 && errors.Is(err, context.DeadlineExceeded) {
				break // go on from here with the next page
			}
			return page{}, err
		}
		out.Events = append(out.Events, found.Events...)
		q.After = found.Next
		if found.Next == 0 || len(out.Events) >= l.limit {
			break
		}
	}
	if q.After != 0 {
		cursor := event.Cursor{Seq: q.After, Ascending: l.ascending}.String()
		out.NextCursor = &cursor
	}
	return out, nil
}

// event is one record with its payload, sensitive members masked.
func (h *Handler) event(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	ws, err := h.workspace(r)
	if err != nil {
		return err
	}
	if bad := newParams(r.URL.RawQuery).problems(); len(bad) > 0 {
		return refuse(bad)
	}
	id := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	// An event of another workspace does not exist, and is not to be told from
	// one that never did.
	missing := osa.NotFound("event", clip(id)).Handler()
	seq, err := event.ParseID(id)
	if err != nil {
		return missing
	}
	log, done, err := h.app.Log(ctx)
	if err != nil {
		return err
	}
	defer done()
	e, err := log.Get(ctx, seq)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return missing
	case err != nil:
		return logFailed(r, err)
	case ws != "" && e.WorkspaceID != ws:
		return missing
	}
	record, err := encode(e)
	if err != nil {
		return osa.Internal(err).Handler()
	}
	body := make([]byte, 0, len(record)+len(e.Body)+64)
	body = append(body, record[:len(record)-1]...)
	body = append(body, `,"payload":`...)
	body = appendMasked(body, e.Body)
	body = append(body, '}')
	return answerJSON(w, body)
}
