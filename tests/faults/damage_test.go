package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// TestDamagedSegments: where a disk has lost or changed what was synced, the
// gateway starts, says what is the matter and which events it concerns, and goes
// on with all others. What cannot be read is never said to be not there.
func TestDamagedSegments(t *testing.T) {
	for _, d := range []struct {
		name string
		do   func(t *testing.T, rng *rand.Rand, name string)
		// nothing of what it damages is needed: all events can be read.
		whole bool
	}{
		{"a block changed", damageBlock, false},
		{"the footer changed", damageFooter, true},
		{"the file cut off", func(t *testing.T, rng *rand.Rand, name string) {
			must(t, os.Truncate(name, fileSize(name)/2))
		}, false},
		{"the file missing", func(t *testing.T, _ *rand.Rand, name string) { must(t, os.Remove(name)) }, false},
	} {
		t.Run(d.name, func(t *testing.T) {
			r := newRun(t, random(t), gateway.Options{})
			name, damaged := r.sealSome()
			d.do(t, r.rng, name)
			r.damaged(name, damaged, d.whole)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// damageBlock changes bytes in the first half of a sealed segment, where blocks
// are.
func damageBlock(t *testing.T, rng *rand.Rand, name string) {
	flip(t, name, 128+rng.Int64N(max(1, fileSize(name)/2-128)))
}

// damageFooter changes the last bytes, which say where the footer is.
func damageFooter(t *testing.T, rng *rand.Rand, name string) {
	flip(t, name, fileSize(name)-1-rng.Int64N(16))
}

func flip(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	must(t, err)
	write(t, f, []byte{b[0] ^ 0x55}, at)
}

// span is a part of the sequence.
type span struct{ first, last uint64 }

func (s span) has(seq uint64) bool { return seq >= s.first && seq <= s.last }

// sealSome makes a log of several segments and returns one that is sealed, with
// what it spans. The gateway has ended. After a crash a new segment is begun, and
// the one before is sealed.
func (r *run) sealSome() (name string, spans span) {
	r.t.Helper()
	for range 4 {
		r.begin()
		r.await(400)
		r.kill()
		r.await(20)
		r.end("a crash")
	}
	pattern := filepath.Join(r.g.Data, "log", "*.seg")
	var sealed []string
	gateway.Eventually(r.t, time.Minute, "segments are sealed", func() bool {
		var err error
		sealed, err = filepath.Glob(pattern)
		must(r.t, err)
		return len(sealed) >= 3
	})
	r.all.Close()
	r.some.Close()
	r.g.Terminate()
	sealed, err := filepath.Glob(pattern)
	must(r.t, err)
	slices.Sort(sealed)
	i := r.rng.IntN(len(sealed) - 1)
	return sealed[i], span{baseOf(r.t, sealed[i]), baseOf(r.t, sealed[i+1]) - 1}
}

// baseOf is the first sequence number of a segment's file.
func baseOf(t *testing.T, name string) uint64 {
	t.Helper()
	base, _, _ := strings.Cut(filepath.Base(name), ".")
	n, err := strconv.ParseUint(base, 10, 64)
	must(t, err)
	return n
}

// damaged starts the gateway on a log that is damaged there and looks at it from
// all sides.
func (r *run) damaged(name string, damaged span, whole bool) {
	r.t.Helper()
	r.restart()
	all := seqsOf(r.log)
	r.readAround(all, damaged, whole)
	gateway.Eventually(r.t, 30*time.Second, "health says degraded", func() bool {
		resp, err := r.g.Do("GET", "/api/health", nil)
		return err == nil && strings.Contains(string(resp.Body), "degraded")
	})
	if log := r.g.Log(); !strings.Contains(log, filepath.Base(name)) {
		r.t.Errorf("the log does not name %s:\n%s", name, r.g.LogTail(20))
	}

	// It takes events. Those of the ledger are not sent again here: of what cannot
	// be read nobody knows whether it is a duplicate.
	fresh := startLoad(r.g, newLedger(), &r.next, senders, mixedSizes)
	gateway.Eventually(r.t, time.Minute, "events are taken", func() bool { return fresh.acknowledged.Load() >= 50 })
	must(r.t, fresh.stop())

	// A backup of it may fail, or say what is missing; it is not silent.
	out, err := r.g.Run("osa", "backup", "--full", filepath.Join(r.g.Dir, "damaged.bak"))
	if err == nil && !whole && !strings.Contains(out, "damage") && !strings.Contains(out, "cannot be read") {
		r.t.Errorf("a backup of a damaged log says nothing of it: %s", out)
	}

	// What is derived is made of what can be read.
	r.g.Kill9()
	for _, name := range r.derived() {
		must(r.t, os.Remove(name))
	}
	r.restart()
	gateway.Eventually(r.t, time.Minute, "the projector has passed the damage", func() bool {
		resp, err := r.g.Do("GET", "/metrics", nil)
		return err == nil && strings.Contains(string(resp.Body), "\nosa_log_projector_lag_events 0\n")
	})
	r.readAround(all, damaged, whole)
	r.g.Terminate()
	happened()
}

// readAround: events that are not damaged are listed, streamed and read.
func (r *run) readAround(all []uint64, damaged span, whole bool) {
	r.t.Helper()
	listed, err := patiently(func() ([]uint64, error) { return r.g.ListSeqs(map[string][]string{"order": {"asc"}}) })
	must(r.t, err)
	s, err := r.g.Open("last_event_id=evt_0&reset=floor")
	must(r.t, err)
	defer s.Close()
	if err := s.WaitSeq(all[len(all)-1], time.Minute); err != nil {
		r.t.Fatalf("a stream across the damage: %v", err)
	}
	streamed := s.Seqs()
	for _, got := range []struct {
		name string
		seqs []uint64
	}{{"listed", listed}, {"streamed", streamed}} {
		if !slices.IsSorted(got.seqs) {
			r.t.Errorf("what is %s is out of order", got.name)
		}
		for _, seq := range all {
			if _, ok := slices.BinarySearch(got.seqs, seq); !ok && (whole || !damaged.has(seq)) {
				r.t.Errorf("evt_%d is not %s; evt_%d to evt_%d are damaged", seq, got.name, damaged.first, damaged.last)
			}
		}
	}
	v, bad := new(verdict), 0
	for _, seq := range all {
		if whole || !damaged.has(seq) {
			if seq%7 == 0 || seq == damaged.first-1 || seq == damaged.last+1 || whole && damaged.has(seq) {
				compareBody(v, r.g, r.ledger.bySeq[seq])
			}
			continue
		}
		resp, err := r.g.Do("GET", fmt.Sprintf("/api/webhook-events/evt_%d", seq), nil, "Authorization", "Bearer "+r.g.Key)
		must(r.t, err)
		if resp.Status != 200 {
			bad++
		}
		if resp.Status != 200 && resp.Status < 500 {
			r.t.Errorf("evt_%d, which is damaged, is answered with %d %.200s", seq, resp.Status, resp.Body)
		}
	}
	v.settle(r.t, "damage")
	if bad == 0 && !whole {
		r.t.Error("everything can be read: nothing was damaged")
	}
}
