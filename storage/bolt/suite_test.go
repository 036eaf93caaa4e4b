package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

// children are what this program does as a process of a test's.
var children = map[string]func(dir string){"OSA_TEST_WRITER": writeUntilKilled}

func TestMain(m *testing.M) {
	for name, run := range children {
		if dir := os.Getenv(name); dir != "" {
			run(dir)
		}
	}
	goleak.VerifyTestMain(m)
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func wantErr(tb testing.TB, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Fatalf("got error %v, want %v", err, want)
	}
}

func openDocuments(tb testing.TB, path string) *Documents {
	tb.Helper()
	d, err := OpenDocuments(path, Options{})
	must(tb, err)
	return d
}

func openProjections(tb testing.TB, path string) *Projections {
	tb.Helper()
	p, err := OpenProjections(path, Options{})
	must(tb, err)
	return p
}

// parts is a store whose log is in memory and whose documents and projections are
// here.
type parts struct {
	log
	docs
	proj
}

type (
	// log stands deeper than the others, whose methods hide its own.
	log  struct{ storage.Store }
	docs = *Documents
	proj = *Projections
)

func (p parts) Close() error {
	return errors.Join(p.docs.Close(), p.proj.Close(), p.log.Close())
}

func TestSuite(t *testing.T) {
	logs := map[string]*memstore.Store{}
	storagetest.Run(t, func(_ *testing.T, dir string) (storage.Store, error) {
		d, err := OpenDocuments(filepath.Join(dir, "documents.db"), Options{})
		if err != nil {
			return nil, err
		}
		p, err := OpenProjections(filepath.Join(dir, "projections.db"), Options{})
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
		if logs[dir] == nil {
			logs[dir] = memstore.New()
		}
		return parts{log: log{logs[dir].Handle()}, docs: d, proj: p}, nil
	})
}
