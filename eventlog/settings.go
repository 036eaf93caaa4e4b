package eventlog

import (
	"fmt"
	"time"

	"github.com/osa-edge/osa-gateway/internal/admission"
)

// Defaults of Settings.
const (
	DefaultRetention   = 30 * 24 * time.Hour
	MinRetention       = 24 * time.Hour
	DefaultQueueEvents = admission.DefaultQueueEvents
	DefaultQueueBytes  = admission.DefaultQueueBytes
)

// Settings are what may change while the log is open. Zero values are defaults.
type Settings struct {
	// Retention is how long events are kept after they were logged.
	Retention time.Duration
	// QueueEvents and QueueBytes bound what waits for a commit, or to be admitted.
	QueueEvents int
	QueueBytes  int64
}

// withDefaults fills in what is not set, or says what is wrong.
func (s Settings) withDefaults() (Settings, error) {
	if s.Retention == 0 {
		s.Retention = DefaultRetention
	}
	if s.QueueEvents == 0 {
		s.QueueEvents = DefaultQueueEvents
	}
	if s.QueueBytes == 0 {
		s.QueueBytes = DefaultQueueBytes
	}
	switch {
	case s.Retention < MinRetention:
		return s, fmt.Errorf("retention %v is under the minimum of %v: duplicates could not be told from new events", s.Retention, MinRetention)
	case s.QueueEvents < 0 || s.QueueBytes < 0:
		return s, fmt.Errorf("a queue of %d events and %d bytes", s.QueueEvents, s.QueueBytes)
	}
	return s, nil
}

// Settings are the ones in force.
func (l *Log) Settings() Settings { return *l.settings.Load() }

// SetSettings puts others in force, all at once. What waits already stays.
func (l *Log) SetSettings(s Settings) error {
	s, err := s.withDefaults()
	if err != nil {
		return err
	}
	l.put(s)
	return nil
}

func (l *Log) put(s Settings) {
	l.settings.Store(&s)
	l.opt.Admission.SetQueue(s.QueueEvents, s.QueueBytes)
}
