// Package credentials loads keys and secrets from files, and again when the files change.
package credentials

import (
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/filewatch"
)

// Source is a configured module whose keys or secrets are in files.
type Source struct {
	// Kind and Name are labels of a metric: the module, such as "key" or
	// "signature", and what it is called in the configuration.
	Kind, Name string
	// Files are the files that Load reads. Without files it is called once.
	Files []string
	// Load reads the files and applies them, all or, with an error, nothing. The error
	// contains no secret. Load is not called concurrently.
	Load func() error
	// Log logs changes of the files, and files that are invalid.
	Log *zap.Logger
}

// Load loads the source, and again whenever one of its files has changed, until the
// configuration of ctx ends. The error is that of the first load. Later errors are logged
// and change nothing; Healthy is false until the files are valid again.
func Load(ctx caddy.Context, s Source) error {
	files := filewatch.Snapshot(s.Files...) // before they are read
	if err := s.Load(); err != nil || len(s.Files) == 0 {
		return err
	}
	w := &watch{source: s}
	watches.Lock()
	watches.all[w] = true
	watches.Unlock()
	// The goroutine ends with the configuration, also with one that does not start.
	go func() {
		defer w.end()
		files.Watch(ctx, w.reload)
	}()
	return nil
}

// watches are the watched sources of all configurations.
var watches = struct {
	sync.Mutex
	all map[*watch]bool // true: the files are valid and applied
}{all: make(map[*watch]bool)}

type watch struct{ source Source }

func (w *watch) reload() {
	err := w.source.Load()
	watches.Lock()
	before := watches.all[w]
	watches.all[w] = err == nil
	watches.Unlock()
	fields := []zap.Field{zap.String("kind", w.source.Kind), zap.String("name", w.source.Name), zap.Strings("files", w.source.Files)}
	switch {
	case err != nil:
		w.source.Log.Error("a changed file of credentials cannot be used; what it said before stays in force", append(fields, zap.Error(err))...)
		return
	case before:
		w.source.Log.Info("a changed file of credentials was read", fields...)
	default:
		w.source.Log.Info("a file of credentials can be used again and was read", fields...)
	}
	Changed()
}

func (w *watch) end() {
	watches.Lock()
	defer watches.Unlock()
	delete(watches.all, w)
}

// Healthy reports whether all files were valid when they were last read.
func Healthy() bool {
	watches.Lock()
	defer watches.Unlock()
	for _, ok := range watches.all {
		if !ok {
			return false
		}
	}
	return true
}

// collector is the metric of the files.
type collector struct{}

var fileOK = prometheus.NewDesc("osa_credentials_file_ok",
	"1 if the files of credentials could be used when they were read last, by what they are for.", []string{"kind", "name"}, nil)

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) { ch <- fileOK }

// Collect implements prometheus.Collector. During a reload two configurations may
// have the same source.
func (collector) Collect(ch chan<- prometheus.Metric) {
	type labels struct{ kind, name string }
	figures := make(map[labels]float64)
	watches.Lock()
	for w, ok := range watches.all {
		l := labels{w.source.Kind, w.source.Name}
		if _, told := figures[l]; !told {
			figures[l] = 1
		}
		if !ok {
			figures[l] = 0
		}
	}
	watches.Unlock()
	for l, v := range figures {
		ch <- prometheus.MustNewConstMetric(fileOK, prometheus.GaugeValue, v, l.kind, l.name)
	}
}

// Collector returns the metric of the files, for the registry of each configuration that
// has some.
func Collector() prometheus.Collector { return collector{} }

// listeners are called for as long as the process lives.
var listeners struct {
	sync.Mutex
	all []func()
}

// OnChange has f called whenever credentials may have been revoked or changed. f must not
// block. It is for init functions: f cannot be removed.
func OnChange(f func()) {
	listeners.Lock()
	defer listeners.Unlock()
	listeners.all = append(listeners.all, f)
}

// Changed calls the functions of OnChange.
func Changed() {
	listeners.Lock()
	all := listeners.all
	listeners.Unlock()
	for _, f := range all {
		f()
	}
}
