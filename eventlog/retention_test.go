package eventlog_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/storage"
)

// TestRetention: events go when they are old enough by a clock that was confirmed,
// at once after a restart too, and by the retention that is in force then.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New()
		settings := eventlog.Settings{Retention: 24 * time.Hour}
		openLog := func() *eventlog.Log {
			l, err := eventlog.Open(eventlog.Options{Settings: settings, Open: func(bool) (storage.Store, error) { return mem.Reopen(), nil }})
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		l := openLog()
		first := func() uint64 {
			t.Helper()
			synctest.Wait()
			b, err := l.Bounds(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return b.First
		}
		want := func(what string, seq uint64) {
			t.Helper()
			if got := first(); got != seq {
				t.Errorf("%s: %d is the first event, want %d", what, got, seq)
			}
		}
		n := 0
		hourly := func(hours int) {
			t.Helper()
			for range hours {
				n++
				e := newEvent(fmt.Sprint(n), "b")
				e.ReceivedAt = time.Now().Add(-1000 * time.Hour) // which does not matter
				mustAppend(t, l, e)
				time.Sleep(time.Hour)
			}
		}
		hourly(24)
		want("before a day", 1)
		hourly(5)
		want("after it", 6)
		if err := l.SetSettings(eventlog.Settings{Retention: 48 * time.Hour}); err != nil {
			t.Fatal(err)
		}
		hourly(19)
		want("with a retention of two days", 6)
		hourly(6)
		want("after these", 7)

		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = openLog() // with one day again
		want("after a restart", 31)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(240 * time.Hour)
		l = openLog()
		want("after ten days of standing still", 31)
		time.Sleep(59 * time.Minute)
		want("before the clock is confirmed, which goes on by itself", 32)
		time.Sleep(2 * time.Minute)
		if got := first(); got != uint64(n)+1 {
			t.Errorf("with a confirmed clock %d is the first event, want %d", got, n+1)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
