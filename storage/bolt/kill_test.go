package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/osa-edge/osa-gateway/storage"
)

// writeUntilKilled prints what was acknowledged: the writer and its count.
func writeUntilKilled(dir string) {
	ctx := context.Background()
	d, err := OpenDocuments(filepath.Join(dir, "documents.db"), Options{})
	if err != nil {
		panic(err)
	}
	p, err := OpenProjections(filepath.Join(dir, "projections.db"), Options{})
	if err != nil {
		panic(err)
	}
	var out sync.Mutex
	for w := range 4 {
		go func() {
			key := fmt.Sprint(w)
			doc, _ := d.GetDocument(ctx, "c", key) // not there at first
			n := uint64(0)
			if len(doc.Value) > 0 {
				n = binary.BigEndian.Uint64(doc.Value)
			}
			for version := doc.Version; ; {
				n++
				value := make([]byte, 8+n*797%20_000)
				binary.BigEndian.PutUint64(value, n)
				stored, err := d.PutDocument(ctx, storage.Document{Collection: "c", Key: key, Value: value, Version: version})
				if err != nil {
					panic(err)
				}
				version = stored
				out.Lock()
				fmt.Println(w, n)
				out.Unlock()
			}
		}()
	}
	pr := storage.Projection{Name: "p", Version: 1}
	cursor, err := p.OpenProjection(ctx, pr)
	for ; err == nil; cursor++ {
		value := binary.BigEndian.AppendUint64(nil, cursor+1)
		err = p.Project(ctx, storage.Step{Projection: pr, From: cursor, Through: cursor + 1, Records: []storage.Record{
			{Key: "a", Value: value}, {Key: fmt.Sprint(cursor % 100), Value: make([]byte, cursor*797%5000)}, {Key: "z", Value: value},
		}})
	}
	panic(err)
}

// TestKill: a process that is killed loses no document that it acknowledged, and
// leaves a projection at a step's end.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	var acknowledged [4]uint64
	for range 5 {
		killWriter(t, dir, &acknowledged)
		d := openDocuments(t, filepath.Join(dir, "documents.db"))
		for w, n := range acknowledged {
			doc, err := d.GetDocument(t.Context(), "c", fmt.Sprint(w))
			must(t, err)
			if got := binary.BigEndian.Uint64(doc.Value); got < n || len(doc.Value) != 8+int(got*797%20_000) {
				t.Fatalf("writer %d: %d is stored, %d was acknowledged", w, got, n)
			}
		}
		must(t, d.Close())
		p := openProjections(t, filepath.Join(dir, "projections.db"))
		pr := storage.Projection{Name: "p", Version: 1}
		for _, key := range []string{"a", "z"} {
			value, cursor, err := p.GetRecord(t.Context(), pr, key)
			must(t, err)
			if n := binary.BigEndian.Uint64(value); n != cursor || n == 0 {
				t.Fatalf("record %q is of %d, the cursor is at %d", key, n, cursor)
			}
		}
		must(t, p.Close())
	}
}

func killWriter(t *testing.T, dir string, acknowledged *[4]uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "OSA_TEST_WRITER="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	for n := 0; ; n++ {
		var w int
		var count uint64
		if _, err := fmt.Fscanln(out, &w, &count); err != nil {
			break
		}
		acknowledged[w] = count
		if n == 60 {
			must(t, cmd.Process.Kill()) // what it said before it died is read still
		}
	}
	_ = cmd.Wait() // killed
}
