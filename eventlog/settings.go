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

// Settings can be changed while the log is open. Zero values mean the defaults.
type Settings struct {
	// Retention is how long events are kept after they were logged.
	Retention time.Duration
	// QueueEvents and QueueBytes limit the events that wait for a slot or for a
	// commit.
	QueueEvents int
	QueueBytes  int64
}

// withDefaults sets the defaults and validates the settings.
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

// Settings returns the current settings.
func (l *Log) Settings() Settings { return *l.settings.Load() }

// SetSettings replaces all settings at once. Events that are already waiting
// stay.
func (l *Log) SetSettings(s Settings) error {
	s, err := s.withDefaults()
	if err != nil {
		return err
	}
	l.applySettings(s)
	return nil
}

func (l *Log) applySettings(s Settings) {
	l.settings.Store(&s)
	l.opt.Admission.SetQueue(s.QueueEvents, s.QueueBytes)
}
