package osa

import (
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/internal/filewatch"
)

// CredentialSource is something whose keys or secrets are in files.
type CredentialSource struct {
	// Kind and Name are labels of a metric: the module, such as "key" or
	// "signature", and what it is called in the configuration.
	Kind, Name string
	// Files are where it reads from. Without files it is loaded once.
	Files []string
	// Load reads them and puts what they say in force, all of it or, with an
	// error, nothing. The error contains no secret. One goroutine calls it.
	Load func() error
	// Log is told of files that cannot be used.
	Log *zap.Logger
}

// LoadCredentials loads the source now, and again whenever one of its files has
// changed, until the configuration of ctx ends. The error is that of the first
// load. Later ones are logged and change nothing, yet CredentialsHealthy is false
// until they are mended.
func LoadCredentials(ctx caddy.Context, s CredentialSource) error {
	files := filewatch.Snapshot(s.Files...) // before they are read
	if err := s.Load(); err != nil || len(s.Files) == 0 {
		return err
	}
	w := &credentialWatch{source: s}
	credentialWatches.Lock()
	credentialWatches.all[w] = true
	credentialWatches.Unlock()
	// The goroutine ends with the configuration, also with one that does not start.
	go func() {
		defer w.end()
		files.Watch(ctx, w.reload)
	}()
	return nil
}

// credentialWatches are those of all configurations that there are.
var credentialWatches = struct {
	sync.Mutex
	all map[*credentialWatch]bool // true: what the files say now is in force
}{all: make(map[*credentialWatch]bool)}

type credentialWatch struct{ source CredentialSource }

func (w *credentialWatch) reload() {
	err := w.source.Load()
	credentialWatches.Lock()
	before := credentialWatches.all[w]
	credentialWatches.all[w] = err == nil
	credentialWatches.Unlock()
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
	CredentialsChanged()
}

func (w *credentialWatch) end() {
	credentialWatches.Lock()
	defer credentialWatches.Unlock()
	delete(credentialWatches.all, w)
}

// CredentialsHealthy reports whether all files of credentials could be used when
// they were read last.
func CredentialsHealthy() bool {
	credentialWatches.Lock()
	defer credentialWatches.Unlock()
	for _, ok := range credentialWatches.all {
		if !ok {
			return false
		}
	}
	return true
}

// credentialFiles tells of the files when asked.
type credentialFiles struct{}

var credentialFileOK = prometheus.NewDesc("osa_credentials_file_ok",
	"1 if the files of credentials could be used when they were read last, by what they are for.", []string{"kind", "name"}, nil)

// Describe implements prometheus.Collector.
func (credentialFiles) Describe(ch chan<- *prometheus.Desc) { ch <- credentialFileOK }

// Collect implements prometheus.Collector. During a reload two configurations may
// have the same source.
func (credentialFiles) Collect(ch chan<- prometheus.Metric) {
	type labels struct{ kind, name string }
	figures := make(map[labels]float64)
	credentialWatches.Lock()
	for w, ok := range credentialWatches.all {
		l := labels{w.source.Kind, w.source.Name}
		if _, told := figures[l]; !told {
			figures[l] = 1
		}
		if !ok {
			figures[l] = 0
		}
	}
	credentialWatches.Unlock()
	for l, v := range figures {
		ch <- prometheus.MustNewConstMetric(credentialFileOK, prometheus.GaugeValue, v, l.kind, l.name)
	}
}

// CredentialFileMetrics is for handlers that have files of credentials and may
// stand where there is no app.
func CredentialFileMetrics() prometheus.Collector { return credentialFiles{} }
