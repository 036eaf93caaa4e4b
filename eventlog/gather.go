package eventlog

import (
	"runtime"
	"time"
)

// gatherTime is how long a commit waits at most for those that it expects, and
// gatherMin how many they must be. It waits for no more than gatherEnough: over
// so many, what a commit costs for itself does not matter any more.
const (
	gatherTime   = 2 * time.Millisecond
	gatherMin    = 4
	gatherEnough = 128
)

// gather lets those that are on their way join the batch that begins with first.
// A sync costs the same for one event as for a hundred, and on a fast disk it is
// done before much has come in: committing at once would spend most of the CPU
// on syncing, exactly when there is none to spare.
//
// It first yields while that brings more: goroutines that are about to append
// need only be let run, and where there are none this takes no time. Then it
// waits for as many as were answered or queued when the last commit ended. These
// are the senders that are known to be at it, and when all of them are back
// there is nobody to wait for. A sender alone is never made to wait, nor are a
// few. PostgreSQL's commit_delay with commit_siblings is the same bargain.
func (l *Log) gather(b *batch, first *pending) {
	for n := -1; n != l.queue.len() && l.queue.len() < gatherEnough; {
		n = l.queue.len()
		runtime.Gosched()
	}
	awaited := min(b.expected, gatherEnough) - 1 // first has left the queue
	if b.expected < gatherMin || first.since.Sub(b.ended) > gatherTime || l.queue.len() >= awaited ||
		l.queue.bytes.Load() >= batchBytes {
		return
	}
	select {
	case <-l.queue.arrived: // of an earlier batch
	default:
	}
	l.queue.awaited.Store(int64(awaited))
	defer l.queue.awaited.Store(0)
	if l.queue.len() >= awaited {
		return
	}
	b.timer.Reset(gatherTime)
	defer b.timer.Stop()
	select {
	case <-l.queue.arrived:
	case <-b.timer.C:
	case <-l.stop:
	}
}
