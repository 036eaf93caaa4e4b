package osa

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/internal/memstore"
	"github.com/osa-edge/osa-gateway/storage"
)

var document = storage.Document{Collection: "c", Key: "k", Value: []byte("v"), Version: storage.AnyVersion}

// deadlines remembers the write deadlines that it was given.
type deadlines struct {
	*httptest.ResponseRecorder
	set []bool // whether it was one
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.set = append(d.set, !t.IsZero())
	return nil
}

// TestBackupClearsItsDeadline: the connection that a backup was read from goes on,
// and what follows on it takes as long as it takes.
func TestBackupClearsItsDeadline(t *testing.T) {
	engine := &testEngine{store: memstore.New(), key: t.Name()}
	app := configured(engine, eventlog.Settings{})
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	defer closeLeaving(func(rt *Runtime) bool { return rt.key == engine.key })
	defer stop(t, app)
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	store, err := app.runtime.Load().Log.Store()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.PutDocument(t.Context(), document); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/osa/backup?store="+engine.key, nil)
	if err := serveBackup(w, r); err != nil {
		t.Fatal(err)
	}
	if n := len(w.set); n < 2 || slices.Contains(w.set[:n-1], false) || w.set[n-1] {
		t.Errorf("deadlines %v, want one for each write and none at the end", w.set)
	}
	if w.Body.Len() == 0 || w.Header().Get(backupNextTrailer) == "" {
		t.Errorf("%d bytes, %v", w.Body.Len(), w.Header())
	}
	r = httptest.NewRequest(http.MethodGet, "/osa/backup?since=none&store="+engine.key, nil)
	if err := serveBackup(w, r); err == nil || errors.Is(err, http.ErrAbortHandler) {
		t.Errorf("a point of another store: %v", err)
	}
}
