package upgrade

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// expected is what the old version said of the store in a fixture.
type expected struct {
	Commit string `json:"commit"`
	// Records are all events as it listed them, Digests the SHA-256 of their
	// bodies by id.
	Records []gateway.Record  `json:"records"`
	Digests map[string]string `json:"digests"`
	// Cursor goes on after the newest ten events, newest first.
	Cursor string `json:"cursor"`
	// Run is the last run of Force Sync.
	Run json.RawMessage `json:"run"`
	// Backed is how many of the events the backup holds.
	Backed int `json:"backed"`
}

// Files of a fixture.
const (
	storeArchive = "store.tar.gz"
	backupFile   = "osa.bak.gz"
	expectedFile = "expected.json"
)

// readExpected reads what is expected of a fixture.
func readExpected(t *testing.T, dir string) *expected {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, expectedFile))
	must(t, err)
	e := new(expected)
	must(t, json.Unmarshal(raw, e))
	if len(e.Records) == 0 || len(e.Digests) != len(e.Records) {
		t.Fatalf("the fixture in %s has %d events with %d bodies", dir, len(e.Records), len(e.Digests))
	}
	for i := range e.Records {
		e.Records[i].Payload = nil // lists have none, which JSON calls null
	}
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pack writes a store's files, without what only keeps room free. Files that are
// longer than what was written to them are mostly zeros.
func pack(t *testing.T, store, archive string) {
	t.Helper()
	out, err := os.Create(archive)
	must(t, err)
	zip, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	must(t, err)
	w := tar.NewWriter(zip)
	must(t, filepath.WalkDir(store, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || strings.EqualFold(e.Name(), "ballast") || e.Name() == "LOCK" {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(store, name)
		if err != nil {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := w.WriteHeader(&tar.Header{Name: filepath.ToSlash(rel), Mode: 0o600, Size: info.Size(), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		return err
	}))
	must(t, errors.Join(w.Close(), zip.Close(), out.Close()))
}

// unpack makes a store of an archive.
func unpack(t *testing.T, archive, store string) {
	t.Helper()
	in, err := os.Open(archive)
	must(t, err)
	defer in.Close()
	zip, err := gzip.NewReader(in)
	must(t, err)
	r := tar.NewReader(zip)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		name := filepath.Join(store, filepath.FromSlash(h.Name))
		must(t, os.MkdirAll(filepath.Dir(name), 0o700))
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		must(t, err)
		_, err = io.Copy(f, r)
		must(t, errors.Join(err, f.Close()))
	}
}

// unzip and zip copy one file.
func unzip(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	r, err := gzip.NewReader(in)
	must(t, err)
	out, err := os.Create(to)
	must(t, err)
	_, err = io.Copy(out, r)
	must(t, errors.Join(err, out.Close()))
}

func zipped(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	must(t, err)
	out, err := os.Create(to)
	must(t, err)
	w, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	must(t, err)
	_, err = w.Write(raw)
	must(t, errors.Join(err, w.Close(), out.Close()))
}
