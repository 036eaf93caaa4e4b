package stream

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func init() { caddy.RegisterModule(adminAPI{}) }

// How many streams one answer lists.
const (
	defaultListed = 100
	maxListed     = 1000
)

// adminAPI adds the open streams to Caddy's admin endpoint. It holds nothing:
// Caddy makes it before the apps and never cleans it up.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.osa_streams", New: func() caddy.Module { return adminAPI{} }}
}

// Routes of the admin endpoint:
//
//	GET /osa/streams?limit=<n>&cursor=<next_cursor>&workspace_id=<id>&principal=<name>&min_lag=<events>
//
// answers with totals over all streams of the process, and with those of the
// open ones that match, oldest first: {"as_of", "totals", "streams", "next_cursor"}.
func (adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/osa/streams", Handler: caddy.AdminHandlerFunc(serveStreams)}}
}

// listing is the answer.
type listing struct {
	AsOf       time.Time    `json:"as_of"`
	Totals     summary      `json:"totals"`
	Streams    []openStream `json:"streams"`
	NextCursor *string      `json:"next_cursor"`
}

func serveStreams(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: errors.New("streams are listed with GET")}
	}
	want, err := parseListing(r.URL.Query())
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	open := the.streams()
	slices.SortFunc(open, func(a, b *stream) int { return cmp.Compare(a.number, b.number) })
	out := listing{AsOf: time.Now().UTC(), Totals: the.summary(open), Streams: []openStream{}}
	for _, s := range open {
		if !want.matches(s) {
			continue
		}
		if len(out.Streams) == want.limit {
			next := strconv.FormatUint(out.Streams[want.limit-1].ID, 10)
			out.NextCursor = &next
			break
		}
		out.Streams = append(out.Streams, s.show())
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(out)
}

// wanted selects open streams.
type wanted struct {
	limit                int
	after, minLag        uint64
	workspace, principal string
}

func parseListing(q url.Values) (want wanted, err error) {
	want = wanted{limit: defaultListed, workspace: q.Get("workspace_id"), principal: q.Get("principal")}
	for name := range q {
		value := q.Get(name)
		var bad error
		switch name {
		case "limit":
			want.limit, bad = strconv.Atoi(value)
			if want.limit < 1 || want.limit > maxListed {
				bad = strconv.ErrRange
			}
		case "cursor":
			want.after, bad = strconv.ParseUint(value, 10, 64)
		case "min_lag":
			want.minLag, bad = strconv.ParseUint(value, 10, 64)
		case "workspace_id", "principal":
		default:
			err = errors.Join(err, fmt.Errorf("unknown parameter %q", name))
		}
		if bad != nil {
			err = errors.Join(err, fmt.Errorf("%s is %q", name, value))
		}
	}
	if err != nil {
		err = fmt.Errorf("want limit (1-%d), cursor (a next_cursor), workspace_id, principal, min_lag (a number): %w", maxListed, err)
	}
	return want, err
}

func (want *wanted) matches(s *stream) bool {
	if s.number <= want.after || want.workspace != "" && s.workspace != want.workspace ||
		want.principal != "" && s.owner != want.principal {
		return false
	}
	if want.minLag == 0 {
		return true
	}
	lag, _ := s.lag()
	return lag >= want.minLag
}

// Interface guard
var _ caddy.AdminRouter = adminAPI{}
