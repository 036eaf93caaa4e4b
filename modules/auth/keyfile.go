package auth

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/osa-edge/osa-gateway/internal/filewatch"
	"github.com/osa-edge/osa-gateway/internal/strictjson"
)

// maxFile bounds key files and PEM files: some ten thousand keys.
const maxFile = filewatch.MaxSize

type keyFile struct {
	Keys []KeyRecord `json:"keys"`
}

// ReadKeyFile reads the records of {"keys":[…]}.
func ReadKeyFile(path string) ([]KeyRecord, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the key file: %w", err)
	}
	var f keyFile
	// A misspelt member, such as "expires", must not make a key that never ends.
	if err := strictjson.UnmarshalKnown(b, &f); err != nil {
		return nil, fmt.Errorf("reading the key file %s: %w", path, err)
	}
	return f.Keys, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return b, err
}

// WriteKeyFile replaces the file by these records, readable by its owner only.
// Whoever reads it meanwhile sees the old records or the new, never a part.
func WriteKeyFile(path string, records []KeyRecord) error {
	if err := CheckKeyRecords(records); err != nil {
		return err
	}
	if records == nil {
		records = []KeyRecord{}
	}
	b, err := json.MarshalIndent(keyFile{records}, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(path, append(b, '\n')); err != nil {
		return fmt.Errorf("writing the key file: %w", err)
	}
	return nil
}

func writeFile(path string, b []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(b); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil //nolint:nilerr // the file is in place; only its directory could not be synced
	}
	_ = d.Sync()
	return d.Close()
}
