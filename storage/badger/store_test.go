package badger

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testOptions have no ballast: tests open many stores.
func testOptions() Options { return Options{Reserve: -1} }

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSuite(t *testing.T) {
	storagetest.Run(t, func(t *testing.T, dir string) storage.Store { return open(t, dir) })
}
