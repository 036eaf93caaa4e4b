package hub

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/eventlog"
	"github.com/osa-edge/osa-gateway/storage"
)

// TestNothingIsLostFarBehind: a filter that comes from far behind reads through
// the indexes, and those have what was written last.
func TestNothingIsLostFarBehind(t *testing.T) {
	w := newWorld(t, Options{WindowRefs: 10})
	w.publishN(2*(scanDistance+100), "mine")
	w.publishN(50, "other")
	mine := event.Filter{WorkflowIDs: []string{"mine"}}
	s := w.subscribe(SubscribeOptions{Filter: mine})
	defer s.Close()
	got := idsOf(w.take(s))
	if want := 2 * (scanDistance + 100); len(got) != want || got[len(got)-1] != event.FormatID(uint64(want)) {
		t.Errorf("%d events, want %d", len(got), want)
	}
	frames, after, err := w.hub.History(t.Context(), mine, 10)
	if err != nil {
		t.Fatal(err)
	}
	if last := event.FormatID(2 * (scanDistance + 100)); len(frames) != 10 || !strings.HasPrefix(string(frames[9]), "id: "+last+"\n") || after != w.log.Head() {
		t.Errorf("%d frames of history, the last %.100s, go on after %d", len(frames), frames[len(frames)-1], after)
	}
}

// TestStreamsPassDamage: what cannot be read is left out, and the stream goes on.
func TestStreamsPassDamage(t *testing.T) {
	w := newWorld(t, Options{})
	w.publishN(20, "wf")
	w.settle()
	w.store.Damage(storage.Range{First: 5, Last: 7})
	w.store.Damage(storage.Range{First: 20, Last: 20})
	// Opened again, so that nothing of it is in memory.
	log, err := eventlog.Open(eventlog.Options{Open: func(bool) (storage.Store, error) { return w.store.Handle(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	other := &world{t: t, store: w.store, log: log, hub: New(log, Options{}), n: 100}
	defer func() {
		other.hub.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, filter := range []event.Filter{{}, {WorkflowIDs: []string{"wf"}}} {
		other.hub.scanDistance = 0
		if len(filter.WorkflowIDs) == 0 {
			other.hub.scanDistance = scanDistance
		}
		s := other.subscribe(SubscribeOptions{Filter: filter})
		got := idsOf(other.take(s))
		if len(got) != 16 || got[3] != "evt_4" || got[4] != "evt_8" || got[15] != "evt_19" {
			t.Errorf("%+v: got %q", filter, got)
		}
		s.Close()
	}
	s := other.subscribe(SubscribeOptions{After: 19})
	defer s.Close()
	other.publishN(1, "wf")
	if got := idsOf(other.take(s)); len(got) != 1 || got[0] != "evt_21" {
		t.Errorf("after the damage: %q", got)
	}
}

func TestRetentionOvertakesAReader(t *testing.T) {
	w := newWorld(t, Options{WindowRefs: 10})
	s := w.subscribe(SubscribeOptions{})
	defer s.Close()
	w.publishN(20, "wf")
	cut := time.Now()
	w.publishN(20, "wf")
	w.settle()
	if n, err := w.log.PruneBefore(context.Background(), cut); err != nil || n != 20 {
		t.Fatalf("pruned %d, %v", n, err)
	}
	got := w.take(s)
	if len(got) != 21 || got[0] != "id: evt_20\nevent: stream_reset\ndata: {\"reason\":\"expired\",\"from_id\":\"evt_20\"}\n\n" {
		t.Errorf("%d frames, the first %q", len(got), got[0])
	}
}

func TestResume(t *testing.T) {
	w := newWorld(t, Options{})
	w.publishN(5, "wf")
	cut := time.Now()
	w.publishN(5, "wf")
	if n, err := w.log.PruneBefore(context.Background(), cut); err != nil || n != 5 {
		t.Fatalf("pruned %d, %v", n, err)
	}
	for _, tc := range []struct {
		id    string
		floor bool
		after uint64
		reset string
	}{
		{"evt_10", false, 10, ""},
		{"evt_7", false, 7, ""},
		{"evt_5", false, 5, ""},
		{"evt_4", false, 10, ResetExpired},
		{"evt_4", true, 5, ResetExpired},
		{"evt_0", false, 10, ResetExpired},
		{"evt_11", false, 10, ResetBeyond},
		{"evt_18446744073709551615", true, 5, ResetBeyond},
		{"evt_18446744073709551616", false, 10, ResetUnknown},
		{"7", false, 10, ResetUnknown},
		{"evt_07", false, 10, ResetUnknown},
		{"urn:uuid:1", true, 5, ResetUnknown},
	} {
		after, reset, err := w.hub.Resume(context.Background(), tc.id, tc.floor)
		if err != nil || after != tc.after || reset != tc.reset {
			t.Errorf("%s floor=%v: %d %q %v", tc.id, tc.floor, after, reset, err)
		}
	}
}

// TestResumeAfterARestore: what the store that was lost may have issued is none of
// this one's, and stays so when the log has grown beyond it.
func TestResumeAfterARestore(t *testing.T) {
	w := newWorld(t, Options{})
	w.publishN(5, "wf")
	w.store.Skip(10)
	if _, err := w.log.Wait(context.Background(), 14); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		head := w.hub.Head()
		if round == 0 {
			head = 5 // from which a client can come again
		}
		for _, tc := range []struct {
			id    string
			after uint64
			reset string
		}{
			{"evt_5", 5, ""}, {"evt_6", head, ResetBeyond}, {"evt_10", head, ResetBeyond}, {"evt_15", head, ResetBeyond},
		} {
			after, reset, err := w.hub.Resume(context.Background(), tc.id, false)
			if err != nil || after != tc.after || reset != tc.reset {
				t.Errorf("round %d, %s: %d %q %v", round, tc.id, after, reset, err)
			}
		}
		w.publishN(1, "wf")
	}
	if after, reset, err := w.hub.Resume(context.Background(), "evt_16", false); err != nil || after != 16 || reset != "" {
		t.Errorf("the first event since: %d %q %v", after, reset, err)
	}
}

func TestResumeInAnEmptyLog(t *testing.T) {
	w := newWorld(t, Options{})
	after, reset, err := w.hub.Resume(context.Background(), "evt_0", false)
	if err != nil || after != 0 || reset != "" {
		t.Errorf("evt_0: %d %q %v", after, reset, err)
	}
	after, reset, err = w.hub.Resume(context.Background(), "evt_3", true)
	if err != nil || after != 0 || reset != ResetBeyond {
		t.Errorf("evt_3: %d %q %v", after, reset, err)
	}
}

func TestHistory(t *testing.T) {
	w := newWorld(t, Options{})
	w.publishN(30, "wf-1")
	w.publishN(3, "wf-2")
	f := event.Filter{WorkspaceID: "ws", WorkflowIDs: []string{"wf-1"}}
	frames, after, err := w.hub.History(context.Background(), f, 2)
	if err != nil || len(frames) != 2 || after != 33 {
		t.Fatalf("%d frames, after %d, %v", len(frames), after, err)
	}
	if got := idsOf([]string{string(frames[0]), string(frames[1])}); got[0] != "evt_29" || got[1] != "evt_30" {
		t.Errorf("got %q", got)
	}
}

func TestLongResumeIsNotSlowness(t *testing.T) {
	for _, policy := range []Policy{CatchUp, Latest, Disconnect} {
		w := newWorld(t, Options{WindowRefs: 500})
		w.publishN(3*maxLag, "wf")
		s := w.subscribe(SubscribeOptions{Policy: policy})
		if got := w.take(s); len(got) != 3*maxLag {
			t.Errorf("policy %d: %d events", policy, len(got))
		}
		s.Close()
	}
}
