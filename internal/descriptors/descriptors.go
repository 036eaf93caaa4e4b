// Package descriptors shares the file descriptors of the process out between
// the store, the process itself and connections.
package descriptors

import (
	"sync"

	"go.uber.org/zap"
)

const (
	// maxFiles and minFiles limit how many sealed files the store keeps open.
	maxFiles, minFiles = 96, 8
	// storeFiles is what the store needs in addition to sealed files: its
	// directory and lock, the segments that are written, sealed or copied into a
	// backup, large bodies, two bolt files and their copies, the ballast, and
	// directories that are synced.
	storeFiles = 64
	// processFiles is for the process: its poller, logs, listeners, the admin
	// endpoint, configuration and certificate files, and outgoing calls.
	processFiles = 40
	// minConnections are permitted even if the limit is lower.
	minConnections = 16
)

// Budget shares descriptors out. What neither the store nor the process needs is
// for connections.
//
//	limit        store  process  connections
//	    256    64 + 32       40          120
//	  1,024    64 + 96       40          824
//	 65,536    64 + 96       40       65,336
type Budget struct {
	// Limit is the soft limit RLIMIT_NOFILE, which Go raised to the hard limit at
	// the start; 0 means none.
	Limit int
	// Files is how many sealed files of the store are open at the same time.
	Files int
	// Spare is what is left for the store and the process.
	Spare int
	// Highest is the highest number that the descriptor of a new connection may
	// have. A third of the spare descriptors stays free then.
	Highest int
	// Connections is what connections may use.
	Connections int
}

// BudgetFor returns the budget for a limit.
func BudgetFor(limit int) Budget {
	if limit <= 0 {
		return Budget{Files: maxFiles}
	}
	files := min(max(limit/8, minFiles), maxFiles)
	spare := storeFiles + files + processFiles
	return Budget{Limit: limit, Files: files, Spare: spare, Highest: limit - spare/3, Connections: max(limit-spare, minConnections)}
}

// Needed returns the limit that so many connections need.
func Needed(connections int) int {
	return connections + storeFiles + maxFiles + processFiles
}

// Enough reports whether the limit is sufficient for the spare descriptors and
// the minimum of connections.
func (b Budget) Enough() bool { return b.Limit == 0 || b.Limit >= b.Spare+minConnections }

// Process returns the budget of this process. It is computed once.
var Process = sync.OnceValue(func() Budget { return BudgetFor(limit()) })

// Fields returns the budget as log fields.
func (b Budget) Fields() []zap.Field {
	return []zap.Field{zap.Int("limit", b.Limit), zap.Int("spare", b.Spare), zap.Int("store_files", b.Files)}
}
