package diagnostics_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/internal/osatest"
	"github.com/osa-edge/osa-gateway/modules/osa"
)

// TestLongList: a list of large events is whole and in order, and nothing of it
// is held afterwards.
func TestLongList(t *testing.T) {
	g := osatest.New(t, nil)
	log := g.Log()
	text := strings.Repeat("é", 2000)
	for range 1100 {
		put(t, log, event.Event{ErrorMessage: text})
	}
	get := view(g, t, "events")
	r := get("/?limit=1000", acme)
	if r.Header().Get("Content-Length") != "" {
		t.Error("a list of 4 MB was kept together")
	}
	l := decode[list](t, r)
	if len(l.Events) != 1000 || l.NextCursor == nil || l.Events[0].ID != "evt_1100" || l.Events[999].ID != "evt_101" {
		t.Fatalf("%d events, %v", len(l.Events), l.NextCursor)
	}
	l = decode[list](t, get("/?limit=1000&cursor="+*l.NextCursor, acme))
	if len(l.Events) != 100 || l.NextCursor != nil || l.Events[0].ID != "evt_100" {
		t.Fatalf("%d events, %v", len(l.Events), l.NextCursor)
	}
	l = decode[list](t, view(g, t, "last_webhook")("/?limit=300", acme))
	if len(l.Events) != 300 || l.SystemHealth["sample_size"] != 200.0 {
		t.Errorf("%d events, %v", len(l.Events), l.SystemHealth)
	}
	if n := osa.Answers().Held(); n != 0 {
		t.Errorf("%d bytes held", n)
	}
}

// TestListWithoutMemory: where the answers' share is taken, a list and an event
// are refused; where it runs out in the middle, a page ends early, with a cursor.
func TestListWithoutMemory(t *testing.T) {
	g := osatest.New(t, nil)
	fill(t, g)
	events, one := view(g, t, "events"), view(g, t, "event")
	osa.Answers().Acquire("", 1<<50)
	for target, get := range map[string]func(string, ...func(*http.Request)) osatest.Response{"/?limit=5": events, "/evt_1": one} {
		if r := get(target, acme); r.Status() != 503 || r.Problem.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d, %v", target, r.Status(), r.Err)
		}
	}
	osa.Answers().Release("", 1<<50)
	if l := decode[list](t, events("/?limit=5", acme)); len(l.Events) != 5 {
		t.Errorf("%d events", len(l.Events))
	}

	text := strings.Repeat("x", 4000)
	for range 300 {
		put(t, g.Log(), event.Event{ErrorMessage: text})
	}
	h := load(g, "events")
	w := &meanWriter{ResponseRecorder: httptest.NewRecorder()}
	if err := osatest.ServeTo(h, w, httptest.NewRequest(http.MethodGet, views["events"].path+"?limit=300", nil), acme); err != nil {
		t.Fatal(err)
	}
	osa.Answers().Release("another", w.took)
	var l list
	if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil {
		t.Fatal(err)
	}
	if n := len(l.Events); n == 0 || n >= 300 || l.NextCursor == nil {
		t.Errorf("%d events, cursor %v", n, l.NextCursor)
	}
	rest := decode[list](t, events("/?limit=300&cursor="+*l.NextCursor, acme))
	if first, last := rest.Events[0].ID, l.Events[len(l.Events)-1].ID; first >= last {
		t.Errorf("%s comes after %s", first, last)
	}
}

// meanWriter takes all memory for answers with the first write, and takes note of
// deadlines.
type meanWriter struct {
	*httptest.ResponseRecorder
	took      int64
	deadlines []time.Time
}

func (w *meanWriter) Write(b []byte) (int, error) {
	if w.took == 0 {
		w.took = 1 << 50
		// Room in which nothing more fits is not to be taken while it is held.
		osa.Answers().Release("another", -w.took)
	}
	return w.ResponseRecorder.Write(b)
}

func (w *meanWriter) SetWriteDeadline(t time.Time) error {
	w.deadlines = append(w.deadlines, t)
	return nil
}

// TestWriteDeadline: each part of an answer has a deadline, and the connection
// none once it is written.
func TestWriteDeadline(t *testing.T) {
	g := osatest.New(t, nil)
	put(t, g.Log(), event.Event{Body: []byte(`{"a":"` + strings.Repeat("x", 100_000) + `"}`)})
	for _, name := range []string{"event", "events", "last_webhook"} {
		w := &meanWriter{ResponseRecorder: httptest.NewRecorder(), took: 1}
		h := load(g, name)
		if err := osatest.ServeTo(h, w, httptest.NewRequest(http.MethodGet, views[name].path, nil), acme); err != nil {
			t.Fatal(err)
		}
		n := len(w.deadlines)
		if want := 1 + (w.Body.Len()+32<<10-1)/(32<<10); n != want || !w.deadlines[n-1].IsZero() || w.deadlines[0].IsZero() {
			t.Errorf("%s: deadlines %v, want %d", name, w.deadlines, want)
		}
	}
}
