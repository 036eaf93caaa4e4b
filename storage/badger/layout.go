package badger

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/osa-edge/osa-gateway/internal/disk"
	"github.com/osa-edge/osa-gateway/internal/strictjson"
	"github.com/osa-edge/osa-gateway/storage"
)

// The store's directory:
//
//	MANIFEST        tells older versions, which open the directory with Badger, not to
//	store           format number and identity (JSON); it makes the directory a store
//	log/            the segments; see package segment
//	documents.db    documents, and their versions; see package bolt
//	projections.db  what is derived from the log; may be deleted at any time
//	ballast         see package diskguard
//	format1/        the store that an older version wrote, until it is converted
const (
	markerFile      = "MANIFEST"
	storeFile       = "store"
	logDir          = "log"
	documentsFile   = "documents.db"
	projectionsFile = "projections.db"
	oldDir          = "format1"
)

// formatNumber is the number of this format. Format 1 was one Badger database.
const formatNumber = 2

// marker is the content of the file that Badger reads first. It is not a valid
// manifest, so that older versions refuse the directory.
const marker = "This directory holds an OSA Gateway store of format 2 or later. The file tells older\n" +
	"versions of the gateway not to open it: they would take it for empty.\n"

// badgerMagic is how Badger's own manifest begins.
const badgerMagic = "Bdgr"

// identity identifies a store. A new store and a restored one each get their
// own.
type identity [16]byte

func newIdentity() (id identity) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

func (id identity) String() string { return hex.EncodeToString(id[:]) }

// description is the content of the store file.
type description struct {
	Format   int    `json:"format"`
	Identity string `json:"identity"`
}

// dirContents is what a directory holds.
type dirContents int

const (
	dirEmpty dirContents = iota
	dirStore
	dirFormat1 // Also one with an unfinished conversion.
)

// inspect returns what dir holds, and the identity of the store. It changes
// nothing.
func inspect(dir string) (dirContents, identity, error) {
	raw, err := os.ReadFile(filepath.Join(dir, storeFile))
	if err == nil {
		id, err := parseDescription(raw)
		return dirStore, id, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return dirEmpty, identity{}, err
	}
	if _, err := os.Lstat(filepath.Join(dir, oldDir)); err == nil {
		return dirFormat1, identity{}, nil
	}
	manifest, err := os.ReadFile(filepath.Join(dir, markerFile))
	switch {
	case err == nil && bytes.HasPrefix(manifest, []byte(badgerMagic)):
		return dirFormat1, identity{}, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return dirEmpty, identity{}, err
	}
	// An unfinished new store has the marker, and a log without events.
	if entries, err := os.ReadDir(filepath.Join(dir, logDir)); err == nil && len(entries) > 0 {
		return dirEmpty, identity{}, fmt.Errorf("%w: there is a log, but the file %s is missing that says whose", storage.ErrFormat, storeFile)
	}
	return dirEmpty, identity{}, nil
}

func parseDescription(raw []byte) (id identity, err error) {
	var d description
	if err := strictjson.Unmarshal(raw, &d); err != nil {
		return id, fmt.Errorf("%w: the file %s is unreadable: %w", storage.ErrFormat, storeFile, err)
	}
	if d.Format != formatNumber {
		return id, fmt.Errorf("%w: %d, this version knows 1 and %d", storage.ErrFormat, d.Format, formatNumber)
	}
	if raw, err = hex.DecodeString(d.Identity); err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("%w: the file %s does not say whose store this is", storage.ErrFormat, storeFile)
	}
	return identity(raw), nil
}

// describe writes the store file. It is the last step of creating a store.
func describe(dir string, id identity) error {
	raw, err := json.Marshal(description{Format: formatNumber, Identity: id.String()})
	if err != nil {
		return err
	}
	return disk.WriteFile(disk.OS, filepath.Join(dir, storeFile), append(raw, '\n'))
}

// mark prevents older versions from opening dir.
func mark(dir string) error {
	return disk.WriteFile(disk.OS, filepath.Join(dir, markerFile), []byte(marker))
}
