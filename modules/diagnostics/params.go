package diagnostics

import (
	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/httperror"
	"github.com/osa-edge/osa-gateway/internal/query"
)

const maxLimit = 1000

// listing is what a request for a list of events asks for.
type listing struct {
	filter    event.Filter
	limit     int
	ascending bool
	// after is the last event of the page before, or 0.
	after uint64
}

// parseListing reads the parameters of a list: which events, in which order, and
// from where on.
func parseListing(raw string, defaultLimit int) (listing, []httperror.Invalid) {
	p := query.Parse(raw)
	l := listing{filter: p.Filter(), limit: defaultLimit}
	// What the gateway made itself is listed only by its source.
	l.filter.WebhooksOnly = len(l.filter.Sources) == 0
	if n, ok := p.Number("limit", 1, maxLimit); ok {
		l.limit = n
	}
	order, ordered := p.Choice("order", "asc", "desc")
	l.ascending = order == "asc"
	if s, ok := p.One("cursor"); ok {
		c, err := event.ParseCursor(s)
		switch {
		case err != nil:
			p.Refuse("cursor", "is not a next_cursor that a list gave out")
		case ordered && c.Ascending != l.ascending:
			p.Refuse("cursor", "runs in the other order")
		}
		l.after, l.ascending = c.Seq, c.Ascending
	}
	return l, p.Invalid()
}
