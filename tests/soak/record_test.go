package soak

import (
	"encoding/csv"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

// figure is one of those that are recorded.
type figure struct {
	name string
	// within is the part by which it may grow, slack what it may grow by in any
	// case, and start that for short runs, which see little but the warming up
	// and one turn of retention at most. All 0: it is recorded and not judged.
	within, slack, start float64
	unit                 string
}

const mib = 1 << 20

// figures in the order of the table. The times of answers are not judged: the
// machine may have other things to do. Nor is what is mapped of files, which
// grows to all of the store where there is room: it must not grow beyond.
var figures = []figure{
	{"rss_anonymous", 0.15, 64 * mib, 768 * mib, "MiB"},
	{"rss_file", 0, 0, 0, "MiB"},
	{"go_heap", 0.20, 64 * mib, 768 * mib, "MiB"},
	{"goroutines", 0.10, 24, 80, ""},
	{"file_descriptors", 0.10, 16, 80, ""},
	{"disk", 0.20, 128 * mib, 256 * mib, "MiB"},
	{"events", 0.03, 45_000, 45_000, ""},
	{"retention_lag_s", 0.10, 60, 90, ""},
	{"projector_lag", 0.10, 1500, 1500, ""},
	{"queue", 0.10, 200, 200, ""},
	{"streams", 0.10, 15, 30, ""},
	{"streams_behind", 0.10, 25, 30, ""},
	{"webhooks_s", 0, 0, 0, ""},
	{"webhook_p50_ms", 0, 0, 0, ""},
	{"webhook_p99_ms", 0, 0, 0, ""},
	{"query_p50_ms", 0, 0, 0, ""},
	{"query_p99_ms", 0, 0, 0, ""},
	{"deliveries_s", 0, 0, 0, ""},
	{"pruned_s", 0, 0, 0, ""},
	{"cpu_percent", 0, 0, 0, ""},
	{"complaints", 0, 0, 0, ""},
}

// sample is what was recorded at one moment.
type sample struct {
	at     time.Duration
	values map[string]float64
}

// recorder takes samples.
type recorder struct {
	g    *gateway.Gateway
	file *csv.Writer

	begin    time.Time
	before   time.Time
	counters map[string]float64
	samples  []sample
}

func newRecorder(g *gateway.Gateway, out *os.File) (*recorder, error) {
	r := &recorder{g: g, begin: time.Now(), counters: make(map[string]float64)}
	if out == nil {
		return r, nil
	}
	r.file = csv.NewWriter(out)
	head := []string{"seconds"}
	for _, f := range figures {
		head = append(head, f.name)
	}
	return r, r.file.Write(head)
}

// counted are counters whose rates are recorded.
var counted = map[string]string{
	"webhooks_s": "osa_log_events_committed_total", "deliveries_s": "osa_stream_deliveries_total",
	"pruned_s": "osa_log_events_pruned_total", "cpu_percent": "process_cpu_seconds_total",
}

// take records everything. more are figures that only the caller knows.
func (r *recorder) take(more map[string]float64) error {
	now := time.Now()
	v := more
	metrics, err := scrape(r.g)
	if err != nil {
		return err
	}
	for name, series := range map[string]string{
		"go_heap": "go_memstats_heap_alloc_bytes", "goroutines": "go_goroutines", "projector_lag": "osa_log_projector_lag_events",
		"queue": "osa_log_queue_events", "streams": "osa_stream_open", "streams_behind": "osa_stream_behind",
	} {
		value, ok := metrics[series]
		if !ok {
			return fmt.Errorf("the gateway has no series %s", series)
		}
		v[name] = value
	}
	elapsed := now.Sub(r.before).Seconds()
	for name, series := range counted {
		if !r.before.IsZero() {
			v[name] = (metrics[series] - r.counters[series]) / elapsed
		}
		r.counters[series] = metrics[series]
	}
	v["cpu_percent"] *= 100
	if v["rss_anonymous"], v["rss_file"], err = resident(r.g.PID()); err != nil {
		return err
	}
	if v["disk"], err = diskUsed(r.g.Data); err != nil {
		return err
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.g.PID()))
	if err != nil {
		return err
	}
	v["file_descriptors"] = float64(len(fds))
	first, last, err := r.bounds()
	if err != nil {
		return err
	}
	v["events"] = float64(last.Seq - first.Seq + 1)
	v["retention_lag_s"] = (time.Since(first.ReceivedAt) - retention).Seconds()
	if r.before.IsZero() {
		r.before = now
		return nil // rates need two
	}
	r.before = now
	s := sample{now.Sub(r.begin), v}
	r.samples = append(r.samples, s)
	return r.write(s)
}

func (r *recorder) write(s sample) error {
	if r.file == nil {
		return nil
	}
	row := []string{strconv.FormatFloat(s.at.Seconds(), 'f', 1, 64)}
	for _, f := range figures {
		row = append(row, strconv.FormatFloat(s.values[f.name], 'f', -1, 64))
	}
	if err := r.file.Write(row); err != nil {
		return err
	}
	r.file.Flush()
	return r.file.Error()
}

// bounds are the first and the last event of the log.
func (r *recorder) bounds() (first, last gateway.Record, err error) {
	for order, into := range map[string]*gateway.Record{"asc": &first, "desc": &last} {
		p, err := r.g.ListPage(url.Values{"order": {order}, "limit": {"1"}})
		if err != nil {
			return first, last, err
		}
		if len(p.Events) != 1 {
			return first, last, fmt.Errorf("the log is empty")
		}
		*into = p.Events[0]
	}
	return first, last, nil
}

// scrape reads the series without labels by name.
func scrape(g *gateway.Gateway) (map[string]float64, error) {
	resp, err := g.Do("GET", "/metrics", nil)
	if err != nil {
		return nil, err
	}
	if resp.Status != 200 {
		return nil, fmt.Errorf("metrics: %d %.200s", resp.Status, resp.Body)
	}
	series := make(map[string]float64)
	for line := range strings.Lines(string(resp.Body)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseFloat(value, 64); ok && err == nil {
			series[name] = n
		}
	}
	return series, nil
}

// resident is what a process allocated and what it mapped of files, in bytes.
func resident(pid int) (anonymous, file float64, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(raw)) {
		var n float64
		if _, err := fmt.Sscanf(line, "RssAnon: %g kB", &n); err == nil {
			anonymous = n * 1024
		} else if _, err := fmt.Sscanf(line, "RssFile: %g kB", &n); err == nil {
			file = n * 1024
		}
	}
	return anonymous, file, nil
}

// diskUsed is what a directory takes on disk: files that are mapped are longer
// than that.
func diskUsed(dir string) (float64, error) {
	var n int64
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return ignoreGone(err)
		}
		info, err := e.Info()
		if err != nil {
			return ignoreGone(err)
		}
		n += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	return float64(n), err
}

// ignoreGone: compaction removes files.
func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
