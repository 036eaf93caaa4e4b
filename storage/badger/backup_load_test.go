package badger

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

// TestBackupWhileWriting: parts that follow on each other leave nothing out of
// what is committed while they are taken. That takes one snapshot a part: where
// two of its readers begin at different moments, what is committed between them
// is in neither this part nor the next.
func TestBackupWhileWriting(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	gen := storagetest.NewGenerator(1, benchStart)
	fill(t, s, gen, 4000, 16)
	closed(t, s) // writes a table: what readers share out
	s = open(t, dir)
	defer closed(t, s)
	writing, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		for writing.Err() == nil {
			if _, err := s.CommitBatch(t.Context(), []*event.Event{gen.Next()}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var all bytes.Buffer
	next := ""
	for range 60 {
		part, end := backupOf(t, s, next)
		all.Write(part)
		next = end
	}
	stop()
	writer.Wait()
	last, _ := backupOf(t, s, next)
	all.Write(last)

	r := restored(t, all.Bytes())
	defer closed(t, r)
	for seq := s.first.Load(); seq <= s.last.Load(); seq++ {
		if _, err := r.Get(t.Context(), seq); err != nil {
			t.Fatalf("event %d of %d: %v", seq, s.last.Load(), err)
		}
	}
}
