package badger

import (
	"golang.org/x/sys/unix"

	"github.com/dgraph-io/badger/v4/table"
)

// releasePages takes the pages that writing a table has mapped out of the process's resident
// memory. They stay in the page cache, from where reads map them again.
func releasePages(t *table.Table) {
	if !t.IsInmemory { // what is in memory only would be gone
		_ = unix.Madvise(t.Data, unix.MADV_DONTNEED)
	}
}
