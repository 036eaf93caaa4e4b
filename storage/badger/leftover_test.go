package badger

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/osa-edge/osa-gateway/event"
)

// TestEmptyFiles: a kill between the making of a file and its first byte must
// not keep the store from opening ever again.
func TestEmptyFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	e := &event.Event{WorkspaceID: "w", Source: "s", WorkflowID: "wf", Kind: event.KindOther, Body: []byte("{}"), Size: 2}
	if _, err := s.CommitBatch(t.Context(), []*event.Event{e}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{{"00090.mem"}, {"000090.vlog"}, {"00091.mem", "00092.mem", "000091.vlog"}} {
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, dir)
		if got, err := s.Get(t.Context(), e.Seq); err != nil || string(got.Body) != "{}" {
			t.Errorf("after %v: %v, %v", names, got, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
