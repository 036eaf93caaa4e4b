// Package layout knows the files of a store's directory: their names, the store's
// format and identity, and the lock. It knows nothing of what the files contain.
package layout

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
//	store           format number and Identity (JSON); it makes the directory a store
//	log/            the segments; see package segment
//	documents.db    documents, and their versions; see package bolt
//	projections.db  what is derived from the log; may be deleted at any time
//	ballast         see package diskguard
//	format1/        the store that an older version wrote, until it is converted
const (
	MarkerFile      = "MANIFEST"
	StoreFile       = "store"
	LogDir          = "log"
	DocumentsFile   = "documents.db"
	ProjectionsFile = "projections.db"
	Format1Dir      = "format1"
)

// LargeBody is the size above which a body has its own file.
const LargeBody = 256 << 10

// RestoreJump is added to the sequence number and the versions of a restored store,
// so that they are greater than any that the lost store may have used after the
// backup.
const RestoreJump = 1 << 32

// formatNumber is the number of this format. Format 1 was one Badger database.
const formatNumber = 2

// marker is the content of the file that Badger reads first. It is not a valid
// manifest, so that older versions refuse the directory.
const marker = "This directory holds an OSA Gateway store of format 2 or later. The file tells older\n" +
	"versions of the gateway not to open it: they would take it for empty.\n"

// BadgerMagic is how Badger's own manifest begins.
const BadgerMagic = "Bdgr"

// Identity identifies a store. A new store and a restored one each get their
// own.
type Identity [16]byte

// NewIdentity returns a random identity.
func NewIdentity() (id Identity) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// String returns the identity in hexadecimal.
func (id Identity) String() string { return hex.EncodeToString(id[:]) }

// description is the content of the store file.
type description struct {
	Format   int    `json:"format"`
	Identity string `json:"identity"`
}

// Contents is what a directory holds.
type Contents int

// What a directory can hold.
const (
	// Empty is no store.
	Empty Contents = iota
	// Current is a store of the current format.
	Current
	// Format1 is a store of format 1, also one whose conversion is not finished.
	Format1
)

// Inspect returns what dir holds, and the Identity of the store. It changes
// nothing.
func Inspect(dir string) (Contents, Identity, error) {
	raw, err := os.ReadFile(filepath.Join(dir, StoreFile))
	if err == nil {
		id, err := parseDescription(raw)
		return Current, id, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Empty, Identity{}, err
	}
	if _, err := os.Lstat(filepath.Join(dir, Format1Dir)); err == nil {
		return Format1, Identity{}, nil
	}
	manifest, err := os.ReadFile(filepath.Join(dir, MarkerFile))
	switch {
	case err == nil && bytes.HasPrefix(manifest, []byte(BadgerMagic)):
		return Format1, Identity{}, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Empty, Identity{}, err
	}
	// An unfinished new store has the marker, and a log without events.
	if entries, err := os.ReadDir(filepath.Join(dir, LogDir)); err == nil && len(entries) > 0 {
		return Empty, Identity{}, fmt.Errorf("%w: there is a log, but the file %s is missing that says whose", storage.ErrFormat, StoreFile)
	}
	return Empty, Identity{}, nil
}

func parseDescription(raw []byte) (id Identity, err error) {
	var d description
	if err := strictjson.Unmarshal(raw, &d); err != nil {
		return id, fmt.Errorf("%w: the file %s is unreadable: %w", storage.ErrFormat, StoreFile, err)
	}
	if d.Format != formatNumber {
		return id, fmt.Errorf("%w: %d, this version knows 1 and %d", storage.ErrFormat, d.Format, formatNumber)
	}
	if raw, err = hex.DecodeString(d.Identity); err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("%w: the file %s does not say whose store this is", storage.ErrFormat, StoreFile)
	}
	return Identity(raw), nil
}

// Describe writes the store file. It is the last step of creating a store.
func Describe(dir string, id Identity) error {
	raw, err := json.Marshal(description{Format: formatNumber, Identity: id.String()})
	if err != nil {
		return err
	}
	return disk.WriteFile(disk.OS, filepath.Join(dir, StoreFile), append(raw, '\n'))
}

// Mark prevents older versions from opening dir.
func Mark(dir string) error {
	return disk.WriteFile(disk.OS, filepath.Join(dir, MarkerFile), []byte(marker))
}

// RemoveFormat1 deletes the files of format 1 after a conversion.
func RemoveFormat1(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, Format1Dir)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(os.RemoveAll(filepath.Join(dir, Format1Dir)), disk.OS.SyncDir(dir))
}
