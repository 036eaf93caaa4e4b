package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// disk is how many writes of a body's size the disk takes a second, each synced
// before the next: as many writers as there are connections, each with a file of
// its own that grows.
func (b *bench) disk(ctx context.Context) (perSecond float64, err error) {
	dir := filepath.Join(b.Dir, "disk")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	data := make([]byte, b.size)
	_, _ = rand.Read(data) // never fails
	var writers sync.WaitGroup
	var written atomic.Int64
	failed := make(chan error, b.Connections)
	begin := time.Now()
	for i := range b.Connections {
		writers.Go(func() {
			f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
			if err != nil {
				failed <- err
				return
			}
			defer f.Close()
			for at := int64(0); time.Since(begin) < b.length() && ctx.Err() == nil; at += int64(len(data)) {
				if _, err := f.WriteAt(data, at); err != nil {
					failed <- err
					return
				}
				if err := unix.Fdatasync(int(f.Fd())); err != nil {
					failed <- err
					return
				}
				written.Add(1)
			}
		})
	}
	writers.Wait()
	took := time.Since(begin)
	select {
	case err := <-failed:
		return 0, err
	default:
		return float64(written.Load()) / took.Seconds(), ctx.Err()
	}
}
