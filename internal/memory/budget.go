package memory

import (
	"sync"

	"go.uber.org/zap"
)

// base is the memory of the process without any requests: Caddy and its
// modules, the runtime, stacks.
const base = 64 << 20

const mib = 1 << 20

// Budget shares the memory of the process out, in bytes. Each share bounds what
// is held of one kind at the same time. Together they take two thirds of
// what the base leaves: the rest is for garbage that is not collected yet, for
// connections and for the kernel's buffers.
//
//	limit     bodies  answers  streams  filter  tables
//	 128 MiB      16        5        5       5      10   MiB
//	 256 MiB      48       16       16      16      32
//	 512 MiB     112       37       16      37      74
//	   1 GiB     240       64       16      80     160
//	   2 GiB     256       64       16     128     256   from here on
type Budget struct {
	Limit Limit
	// Bodies is for request bodies: the default of osa_guard's max_inflight.
	Bodies int64
	// Responses is for encoded parts of lists, histories, single events and
	// backups that wait for their readers.
	Responses int64
	// Streams is for the live windows of the hub.
	Streams int64
	// Filter is for the store's filter of dedup keys.
	Filter int64
	// Tables is for the term and dedup tables of unsealed segments.
	Tables int64
}

// BudgetFor returns the budget for a limit.
func BudgetFor(limit Limit) Budget {
	rest := max(limit.Bytes-base, limit.Bytes/4)
	share := func(twelfths, least, most int64) int64 { return min(max(rest/12*twelfths, least*mib), most*mib) }
	return Budget{
		Limit:     limit,
		Bodies:    share(3, 4, 256),
		Responses: share(1, 2, 64),
		Streams:   share(1, 1, 16),
		Filter:    share(1, 2, 128),
		Tables:    share(2, 4, 256),
	}
}

// Process returns the budget of this process. It is computed once.
var Process = sync.OnceValue(func() Budget { return BudgetFor(ThisSystem().Limit()) })

// Fields returns the budget as log fields.
func (b Budget) Fields() []zap.Field {
	return []zap.Field{
		zap.Int64("limit", b.Limit.Bytes), zap.String("limited_by", b.Limit.Source), zap.Int64("bodies", b.Bodies),
		zap.Int64("answers", b.Responses), zap.Int64("streams", b.Streams), zap.Int64("filter", b.Filter), zap.Int64("tables", b.Tables),
	}
}
