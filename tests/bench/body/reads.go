package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/osa-edge/osa-gateway/tests/bench/server"
)

// retry is how long a reader waits that was refused.
const retry = 200 * time.Millisecond

// reads measures the webhooks beside bulk reads of the other workspace: of each
// kind, and of all at once.
func (b *bench) reads(ctx context.Context, s *server.Server) error {
	streams := func(ctx context.Context) (float64, error) { return b.resumes(ctx, s) }
	lists := func(ctx context.Context) (float64, error) { return b.listing(ctx, s) }
	for _, part := range []struct {
		name, unit string
		work       func(context.Context) (float64, error)
	}{
		{fmt.Sprintf("%d streams that resume", b.streams), "events a second", streams},
		{fmt.Sprintf("%d lists of 1,000", b.lists), "lists a second", lists},
		{"a backup", "MB a second", func(ctx context.Context) (float64, error) { return b.backup(ctx, s) }},
		{"all of them", "MB of backup a second", func(ctx context.Context) (float64, error) {
			var others sync.WaitGroup
			reading, stop := context.WithCancel(ctx)
			defer stop()
			failed := make(chan error, 2)
			for _, work := range []func(context.Context) (float64, error){streams, lists} {
				others.Go(func() {
					_, err := work(reading)
					failed <- err
				})
			}
			rate, err := b.backup(ctx, s)
			others.Wait()
			return rate, errors.Join(err, <-failed, <-failed)
		}},
	} {
		b.progress("%s", part.name)
		if err := b.beside(ctx, s, part.name, part.unit, part.work); err != nil {
			return err
		}
		if err := s.Settle(time.Minute); err != nil {
			return err
		}
	}
	return nil
}

// errRefused: the gateway asks to come back later.
var errRefused = errors.New("refused")

// readers run n loops for the length of a measurement. Work that was refused is
// tried again; each must have got through once.
func (b *bench) readers(ctx context.Context, n int, once func(context.Context) (int, error)) (perSecond float64, err error) {
	ctx, stop := context.WithTimeout(ctx, b.length())
	defer stop()
	var done sync.WaitGroup
	var total, refused atomic.Int64
	failed := make(chan error, n)
	begin := time.Now()
	for range n {
		done.Go(func() {
			for ctx.Err() == nil {
				got, err := once(ctx)
				total.Add(int64(got))
				switch {
				case err == nil || ctx.Err() != nil:
				case errors.Is(err, errRefused):
					refused.Add(1)
					select {
					case <-ctx.Done():
					case <-time.After(retry):
					}
				default:
					failed <- err
					return
				}
			}
		})
	}
	done.Wait()
	took := time.Since(begin)
	select {
	case err = <-failed:
	default:
	}
	if err == nil && total.Load() == 0 {
		err = fmt.Errorf("nothing was read; %d were refused", refused.Load())
	}
	return float64(total.Load()) / took.Seconds(), err
}

func get(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests {
			return nil, errRefused
		}
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return resp, nil
}

// resumes reads all events from the first on, on each stream again and again.
func (b *bench) resumes(ctx context.Context, s *server.Server) (float64, error) {
	return b.readers(ctx, b.streams, func(ctx context.Context) (n int, err error) {
		resp, err := get(ctx, "http://"+s.Address+"/stream?reset=floor&last_event_id=evt_0")
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		const before = 3
		buf := make([]byte, before+64<<10)
		for n < b.events {
			got, err := resp.Body.Read(buf[before:])
			n += bytes.Count(buf[:before+got], []byte("\nid:"))
			if got >= before {
				copy(buf, buf[got:got+before])
			}
			if err != nil {
				return n, nil //nolint:nilerr // cut off by the gateway or by the end: begun anew
			}
		}
		return n, nil
	})
}

// listing asks for the newest 1,000 events.
func (b *bench) listing(ctx context.Context, s *server.Server) (float64, error) {
	return b.readers(ctx, b.lists, func(ctx context.Context) (int, error) {
		resp, err := get(ctx, "http://"+s.Address+"/events?limit=1000")
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		if err != nil {
			return 0, err
		}
		return 1, nil
	})
}

// backup takes full backups, one after the other, for the length of a
// measurement, at least one.
func (b *bench) backup(ctx context.Context, s *server.Server) (float64, error) {
	file := filepath.Join(b.Dir, "osa.bak")
	var total int64
	begin := time.Now()
	for total == 0 || time.Since(begin) < b.length() && ctx.Err() == nil {
		if err := s.Backup(ctx, b.Binary, file); err != nil {
			return 0, err
		}
		info, err := os.Stat(file)
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	took := time.Since(begin)
	return float64(total) / 1e6 / took.Seconds(), os.Remove(file)
}
