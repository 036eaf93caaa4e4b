// Package descriptors finds out how many file descriptors the process may have
// and shares them out between the store, the process itself and connections.
package descriptors

import (
	"sync"

	"go.uber.org/zap"
)

const (
	// maxFiles and leastFiles bound how many sealed files the store keeps open.
	maxFiles, minFiles = 96, 8
	// storeFiles is what the store needs beside sealed files: its directory and
	// lock, the segments that are being written, sealed and copied into a backup,
	// large bodies, two bolt files and their copies, the ballast, directories that
	// are synced.
	storeFiles = 64
	// processFiles is for the process: its poller, its logs, listeners, the admin
	// endpoint, files of the configuration and of certificates, and calls out.
	processFiles = 40
	// minConnections are allowed however low the limit is.
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
	// Limit is the soft limit of RLIMIT_NOFILE, which Go has raised to the hard one
	// when the process began; 0 where there is none.
	Limit int
	// Files is how many of the store's sealed files are open at the same time.
	Files int
	// Spare is what connections leave to the store and the process.
	Spare int
	// Highest is the highest number that the descriptor of a new connection may
	// have: a third of the spare ones is always free then, whoever has the others.
	Highest int
	// Connections is what connections may have.
	Connections int
}

// BudgetFor are the shares of a limit.
func BudgetFor(limit int) Budget {
	if limit <= 0 {
		return Budget{Files: maxFiles}
	}
	files := min(max(limit/8, minFiles), maxFiles)
	spare := storeFiles + files + processFiles
	return Budget{Limit: limit, Files: files, Spare: spare, Highest: limit - spare/3, Connections: max(limit-spare, minConnections)}
}

// Needed is the limit that so many connections need.
func Needed(connections int) int {
	return connections + storeFiles + maxFiles + processFiles
}

// Enough reports whether the limit holds the spare descriptors and the fewest
// connections.
func (b Budget) Enough() bool { return b.Limit == 0 || b.Limit >= b.Spare+minConnections }

// Process is the budget of this process, found out once.
var Process = sync.OnceValue(func() Budget { return BudgetFor(limit()) })

// Fields tell the budget in a log line.
func (b Budget) Fields() []zap.Field {
	return []zap.Field{zap.Int("limit", b.Limit), zap.Int("spare", b.Spare), zap.Int("store_files", b.Files)}
}
