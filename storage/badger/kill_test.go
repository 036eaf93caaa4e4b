package badger

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

// writeUntilKilled prints every seq that was acknowledged.
func writeUntilKilled(dir string) {
	s, err := Open(dir, testOptions())
	if err != nil {
		panic(err)
	}
	gen := storagetest.NewGenerator(uint64(os.Getpid()), time.Now())
	for n := 0; ; n++ {
		batch := make([]*event.Event, 1+n%50)
		for i := range batch {
			batch[i] = gen.Next()
			if n%40 == 7 && i == 0 {
				batch[i].Body = storagetest.Filler(1, 3<<20)
				storagetest.Seal(batch[i])
			}
		}
		if _, err := s.CommitBatch(context.Background(), batch); err != nil {
			panic(err)
		}
		fmt.Println(batch[0].Seq, batch[len(batch)-1].Seq)
	}
}

// A process that is killed loses nothing that it acknowledged, keeps no half
// batch, and gives no number out twice.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	var acknowledged uint64
	for range 4 {
		acknowledged = killWriter(t, dir, acknowledged)
		s := open(t, dir)
		last := s.log.Last()
		if last < acknowledged {
			t.Fatalf("log ends at %d, acknowledged were events through %d", last, acknowledged)
		}
		next := uint64(1)
		must(t, s.Scan(t.Context(), 0, math.MaxUint64, func(e *event.Event) bool {
			if e.Seq != next {
				t.Errorf("event %d where %d should be", e.Seq, next)
			}
			next++
			return true
		}))
		if next != last+1 {
			t.Fatalf("scan ended before %d, log ends at %d", next, last)
		}
		for seq := uint64(1); seq < next; seq += 97 {
			_, err := s.Get(t.Context(), seq)
			must(t, err)
		}
		listed, q := 0, storage.Query{Limit: 1000, Filter: event.Filter{WorkspaceID: "ws_main"}}
		for {
			page, err := s.Query(t.Context(), q)
			must(t, err)
			listed += len(page.Events)
			if q.After = page.Next; q.After == 0 {
				break
			}
		}
		if uint64(listed) != last {
			t.Fatalf("%d events are listed of %d", listed, last)
		}
		closed(t, s)
	}
}

// killWriter lets a process write for a while and returns what it acknowledged.
func killWriter(t testing.TB, dir string, after uint64) uint64 {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "OSA_TEST_WRITER="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	acknowledged := after
	for n := 0; n < 60; n++ {
		var first, last uint64
		if _, err := fmt.Fscanln(out, &first, &last); err != nil {
			t.Fatalf("the writer failed: %v", err)
		}
		if first <= acknowledged {
			t.Fatalf("event %d was given out twice", first)
		}
		acknowledged = last
	}
	must(t, cmd.Process.Kill())
	for { // what it said before it died
		var first, last uint64
		if _, err := fmt.Fscanln(out, &first, &last); err != nil {
			break
		}
		acknowledged = last
	}
	_ = cmd.Wait() // killed
	return acknowledged
}
