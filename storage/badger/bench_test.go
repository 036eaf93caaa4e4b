package badger

import (
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/storage"
	"github.com/osa-edge/osa-gateway/storage/storagetest"
)

var benchStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// cpu is the processor time that the process has used: compactions included.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func diskBytes(b *testing.B, dir string) (n int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && filepath.Ext(d.Name()) == ".sst" {
			n += allocated(info)
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func BenchmarkCommitBatch(b *testing.B) {
	for _, size := range []int{1, 16, 64, 256} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			dir := b.TempDir()
			s := open(b, dir)
			// Making events costs more than storing them: use each many times,
			// with another identity.
			gen := storagetest.NewGenerator(1, benchStart)
			pool := make([]*event.Event, min(b.N, 16384))
			for i := range pool {
				pool[i] = gen.Next()
			}
			batch := make([]*event.Event, 0, size)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu()
			for i := range b.N {
				e := pool[i%len(pool)]
				binary.LittleEndian.PutUint64(e.DedupKey[:], binary.LittleEndian.Uint64(e.DedupKey[:])+0x9e3779b97f4a7c15)
				if batch = append(batch, e); len(batch) == size || i == b.N-1 {
					_, err := s.CommitBatch(b.Context(), batch)
					must(b, err)
					batch = batch[:0]
				}
			}
			b.StopTimer()
			must(b, s.Close())
			b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(diskBytes(b, dir))/float64(b.N), "disk-B/op")
		})
	}
}

func BenchmarkProject(b *testing.B) {
	const step = 512
	s := open(b, b.TempDir())
	defer s.Close()
	gen := storagetest.NewGenerator(1, benchStart)
	events := make([]*event.Event, b.N)
	for i := range events {
		events[i] = gen.Next()
		events[i].Seq = uint64(i + 1)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	for i := 0; i < b.N; i += step {
		end := min(i+step, b.N)
		must(b, s.Project(b.Context(), storage.Projection{From: uint64(i), Through: uint64(end), Events: events[i:end]}))
	}
	b.StopTimer()
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
}

// benchLog is a projected log of OSA_BENCH_EVENTS events (50,000 unless said),
// made once for all benchmarks that read.
var benchLog struct {
	dir    string
	n      int
	sample []*event.Event
}

func openBenchLog(b *testing.B) *Store {
	b.Helper()
	if benchLog.dir == "" {
		makeBenchLog(b)
	}
	s := open(b, benchLog.dir)
	b.Cleanup(func() { must(b, s.Close()) })
	return s
}

func makeBenchLog(b *testing.B) {
	b.Helper()
	n := 50_000
	if v := os.Getenv("OSA_BENCH_EVENTS"); v != "" {
		var err error
		n, err = strconv.Atoi(v)
		must(b, err)
	}
	dir, err := os.MkdirTemp("", "osa-bench")
	must(b, err)
	s := open(b, dir)
	gen := storagetest.NewGenerator(1, benchStart)
	before := cpu()
	batch := make([]*event.Event, 0, 64)
	from := uint64(0)
	for i := 1; i <= n; i++ {
		if batch = append(batch, gen.Next()); len(batch) < cap(batch) && i < n {
			continue
		}
		_, err := s.CommitBatch(b.Context(), batch)
		must(b, err)
		through := batch[len(batch)-1].Seq
		must(b, s.Project(b.Context(), storage.Projection{From: from, Through: through, Events: batch}))
		if from = through; i%997 < 64 {
			benchLog.sample = append(benchLog.sample, batch[0])
		}
		batch = make([]*event.Event, 0, 64)
	}
	must(b, s.Close())
	benchLog.dir, benchLog.n = dir, n
	b.Logf("log of %d events: %.1f µs of CPU and %d bytes of disk an event, generating them included",
		n, float64(cpu()-before)/1000/float64(n), diskBytes(b, dir)/int64(n))
}

func BenchmarkQuery(b *testing.B) {
	s := openBenchLog(b)
	deep := s.last.Load() / 2
	for _, c := range []struct {
		name string
		q    storage.Query
	}{
		{"newest", storage.Query{}},
		{"workspace", storage.Query{Filter: event.Filter{WorkspaceID: "ws_main", WebhooksOnly: true}}},
		{"filtered", storage.Query{Filter: event.Filter{
			WorkspaceID: "ws_main", AgentIDs: []string{"geo_audit"}, Types: []string{"agent_status_update"}, Statuses: []event.Status{event.StatusCompleted},
		}}},
		{"filtered-deep", storage.Query{After: deep, Filter: event.Filter{
			WorkspaceID: "ws_main", AgentIDs: []string{"geo_audit"}, Types: []string{"agent_status_update"}, Statuses: []event.Status{event.StatusCompleted},
		}}},
		{"ascending-deep", storage.Query{After: deep, Ascending: true, Filter: event.Filter{WorkspaceID: "ws_main", Types: []string{"error_notification"}}}},
		{"workflow", storage.Query{Filter: event.Filter{WorkspaceID: "ws_main", WorkflowIDs: []string{benchLog.sample[len(benchLog.sample)/2].WorkflowID}}}},
		{"nothing", storage.Query{Filter: event.Filter{WorkspaceID: "ws_main", AgentIDs: []string{"geo_audit"}, Types: []string{"workflow_completion"}}}},
		{"dates-deep", storage.Query{Filter: event.Filter{WorkspaceID: "ws_main", Until: benchLog.sample[len(benchLog.sample)/3].ReceivedAt, AgentIDs: []string{"geo_audit"}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.q.Limit = 50
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				page, err := s.Query(b.Context(), c.q)
				must(b, err)
				n = len(page.Events)
			}
			b.ReportMetric(float64(n), "events/page")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s := openBenchLog(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		_, err := s.Get(b.Context(), benchLog.sample[i%len(benchLog.sample)].Seq)
		must(b, err)
		i++
	}
}

func BenchmarkScan(b *testing.B) {
	s := openBenchLog(b)
	b.ReportAllocs()
	n, after := 0, uint64(0)
	b.ResetTimer()
	for n < b.N {
		must(b, s.Scan(b.Context(), after, ^uint64(0), func(*event.Event) bool { n++; return n < b.N }))
	}
}

// BenchmarkOpenAfterKill opens the log as a killed writer left it.
func BenchmarkOpenAfterKill(b *testing.B) {
	if benchLog.dir == "" {
		makeBenchLog(b)
	}
	last := uint64(benchLog.n)
	for b.Loop() {
		b.StopTimer()
		last = killWriter(b, benchLog.dir, last)
		b.StartTimer()
		s := open(b, benchLog.dir)
		b.StopTimer()
		if s.last.Load() < last {
			b.Fatalf("opened at %d, acknowledged were %d", s.last.Load(), last)
		}
		closed(b, s)
		b.StartTimer()
	}
}
