// Package upgrade starts the gateway on stores that earlier versions wrote.
//
// testdata has a folder for each of them, named after its commit or release:
// store.tar.gz, a backup, and what the old version said of it. Another is made
// with
//
//	OSA_UPGRADE_RECORD=<its binary> OSA_UPGRADE_NAME=<its name> go test -run TestRecorded ./tests/upgrade
//
// OSA_UPGRADE_OLD=<binary of an old version> makes a store of OSA_UPGRADE_EVENTS
// events (default 100,000) and upgrades that, too: long enough to be watched.
package upgrade

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	upstream "github.com/dgraph-io/badger/v4"

	"github.com/osa-edge/osa-gateway/tests/gateway"
)

func TestMain(m *testing.M) { os.Exit(gateway.Main(m)) }

// fixtures are the folders of testdata.
func fixtures(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join("testdata", "*", expectedFile))
	must(t, err)
	if len(dirs) == 0 {
		t.Fatal("there is no fixture")
	}
	for i := range dirs {
		dirs[i] = filepath.Dir(dirs[i])
	}
	return dirs
}

// TestRecorded: the fixtures are there, and the latest is made anew where that is
// asked for.
func TestRecorded(t *testing.T) {
	if binary := os.Getenv("OSA_UPGRADE_RECORD"); binary != "" {
		name := os.Getenv("OSA_UPGRADE_NAME")
		if name == "" {
			t.Fatal("OSA_UPGRADE_NAME is to say which version this is")
		}
		record(t, binary, name, filepath.Join("testdata", name), 0)
	}
	for _, dir := range fixtures(t) {
		readExpected(t, dir)
	}
}

// TestUpgrade: ids, bodies, cursors, duplicates, marks and documents stay as they
// were, older versions keep out, and a conversion that was killed begins again.
func TestUpgrade(t *testing.T) {
	dirs := fixtures(t)
	if binary := os.Getenv("OSA_UPGRADE_OLD"); binary != "" {
		n := 100_000
		if raw := os.Getenv("OSA_UPGRADE_EVENTS"); raw != "" {
			var err error
			n, err = strconv.Atoi(raw)
			must(t, err)
		}
		dir := filepath.Join(gateway.TempDir(t), "large")
		record(t, binary, "large", dir, n)
		dirs = append(dirs, dir)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			want := readExpected(t, dir)
			t.Run("at once", func(t *testing.T) { upgraded(t, dir, want, false) })
			t.Run("killed meanwhile", func(t *testing.T) { upgraded(t, dir, want, true) })
		})
	}
}

func upgraded(t *testing.T, dir string, want *expected, killed bool) {
	g := prepare(t, "", "")
	unpack(t, filepath.Join(dir, storeArchive), g.Data)
	for range 4 {
		if !killed {
			break
		}
		g.StartOnly()
		time.Sleep(rand.N(400 * time.Millisecond)) // anywhere in the conversion
		g.Kill9()
		// From the first moment of a conversion on older versions keep out. Before
		// it the manifest is Badger's own.
		if raw, err := os.ReadFile(filepath.Join(g.Data, "MANIFEST")); err != nil || !bytes.HasPrefix(raw, []byte("Bdgr")) {
			refused(t, g.Data)
		}
	}
	probe := gateway.Event("strategy_workflow-probe", "geo_audit", "probe", nil)
	watch(t, g, probe)
	compare(t, g, want, want.Records, true)
	// The old version cannot take the directory for an empty one, and what it tries
	// changes nothing.
	g.Terminate()
	refused(t, g.Data)
	g.Start()
	compare(t, g, want, want.Records, true)
	g.Terminate()
}

// watch starts the gateway and sends a webhook until it is taken. Until then it is
// refused in order, and health says how far the conversion is.
func watch(t *testing.T, g *gateway.Gateway, probe []byte) {
	t.Helper()
	g.StartOnly()
	begin := time.Now()
	refusals, health := 0, ""
	gateway.Eventually(t, 30*time.Minute, "a webhook is taken", func() bool {
		if !g.Running() {
			t.Fatalf("the gateway has ended:\n%s", g.LogTail(30))
		}
		resp, err := g.Post(probe)
		switch {
		case err != nil: // nobody listens yet
			return false
		case resp.Status == http.StatusOK:
			return true
		case resp.Status != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "":
			t.Fatalf("a webhook during the conversion is answered with %d %.300s", resp.Status, resp.Body)
		}
		refusals++
		if resp, err := g.Do(http.MethodGet, "/api/health", nil); err == nil && resp.Status != http.StatusOK {
			health = string(resp.Body)
		}
		return false
	})
	g.WaitReady()
	t.Logf("webhooks are taken after %v; %d refusals before; health said %.400s", time.Since(begin).Round(time.Millisecond), refusals, health)
	if refusals > 0 && !strings.Contains(health, "conver") {
		t.Errorf("health does not speak of the conversion: %s", health)
	}
}

// refused: Badger, with which older versions open a store, does not open this one.
func refused(t *testing.T, dir string) {
	t.Helper()
	db, err := upstream.Open(upstream.DefaultOptions(dir).WithLogger(nil))
	if err == nil {
		_ = db.Close()
		t.Fatal("an older version would open the store")
	}
}

// compare looks at a store that was upgraded. The documents are not in a backup
// that is older than they are.
func compare(t *testing.T, g *gateway.Gateway, want *expected, records []gateway.Record, documents bool) {
	t.Helper()
	var got []gateway.Record
	gateway.Eventually(t, 10*time.Minute, "the log is listed", func() bool {
		var err error
		got, err = g.List(everything)
		if err != nil && !strings.Contains(err.Error(), "list: 503") {
			t.Fatal(err)
		}
		return err == nil
	})
	if len(got) < len(records) {
		t.Fatalf("%d events are listed, %d are wanted", len(got), len(records))
	}
	for i := range records {
		if !reflect.DeepEqual(records[i], got[i]) {
			t.Fatalf("%s was\n%+v and is\n%+v", records[i].ID, records[i], got[i])
		}
	}
	mismatches := 0
	for i := range records {
		r := &records[i]
		if r.PayloadMismatch {
			mismatches++
		}
		if want.Digests[r.ID] == "" {
			continue
		}
		body := payload(t, g, r.ID)
		if sum := fmt.Sprintf("%x", sha256.Sum256(body)); sum != want.Digests[r.ID] {
			t.Errorf("the body of %s has changed", r.ID)
		}
		if r.Source != "opal" || i%10 != 0 && !r.PayloadMismatch && r.Size < 4000 {
			continue
		}
		if a := g.MustPost(body); a.Status != "duplicate" || a.WebhookID != r.ID {
			t.Errorf("%s, sent again, is answered with %+v", r.ID, a)
		}
	}
	if mismatches == 0 {
		t.Error("no event is marked as a mismatch")
	}

	// A stream goes on after any event that it had.
	after := len(records) / 2
	s, err := g.Open("last_event_id=" + records[after].ID)
	must(t, err)
	defer s.Close()
	if err := s.WaitSeq(records[len(records)-1].Seq, time.Minute); err != nil {
		t.Fatal(err)
	}
	for i, seq := range s.Seqs()[:len(records)-after-1] {
		if seq != records[after+1+i].Seq {
			t.Fatalf("the stream after %s has evt_%d at place %d, where %s is wanted", records[after].ID, seq, i, records[after+1+i].ID)
		}
	}
	for _, m := range s.Messages() {
		if m.Event == "stream_reset" {
			t.Errorf("the stream was reset: %s", m.Data)
		}
	}
	if !documents {
		return
	}
	// A page that was begun before goes on.
	page, err := g.ListPage(url.Values{"limit": {"10"}, "source": {"opal,gateway"}, "cursor": {want.Cursor}})
	must(t, err)
	for i := range page.Events {
		if w := want.Records[len(want.Records)-11-i]; page.Events[i].Seq != w.Seq {
			t.Fatalf("the page that goes on has %s at place %d; %s is wanted", page.Events[i].ID, i, w.ID)
		}
	}
	if run := lastRun(t, g); !sameJSON(t, run, want.Run) {
		t.Errorf("the last run of Force Sync was\n%s and is\n%s", want.Run, run)
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	must(t, json.Unmarshal(a, &x))
	must(t, json.Unmarshal(b, &y))
	return reflect.DeepEqual(x, y)
}

// TestOldBackup: backups of earlier versions are restored; ids that the lost store
// may have given out are not given again.
func TestOldBackup(t *testing.T) {
	for _, dir := range fixtures(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			want := readExpected(t, dir)
			g := prepare(t, "", "")
			file := filepath.Join(g.Dir, "osa.bak")
			unzip(t, filepath.Join(dir, backupFile), file)
			if out, err := g.Run("osa", "restore", "--check", file); err != nil {
				t.Fatalf("osa restore --check: %v: %s", err, out)
			}
			if out, err := g.Run("osa", "restore", "--to", g.Data, file); err != nil {
				t.Fatalf("osa restore: %v: %s", err, out)
			}
			refused(t, g.Data)
			g.Start()
			compare(t, g, want, want.Records[:want.Backed], false)
			a := g.MustPost(gateway.Event("strategy_workflow-new", "geo_audit", "new", nil))
			if seq := (gateway.Message{ID: a.WebhookID}).Seq(); a.Status != "processed" || seq <= want.Records[want.Backed-1].Seq {
				t.Errorf("a new event is answered with %+v", a)
			}
			// A cursor of the lost store's later events is reset, also after others came.
			for range 2 {
				s, err := g.Open("reset=floor&last_event_id=" + want.Records[len(want.Records)-1].ID)
				must(t, err)
				if err := s.Wait(10*time.Second, func(ms []gateway.Message) bool {
					return slices.ContainsFunc(ms, func(m gateway.Message) bool { return m.Event == "stream_reset" })
				}); err != nil {
					t.Errorf("a cursor that the restored store cannot know: %v", err)
				}
				s.Close()
				g.MustPost(gateway.Event("strategy_workflow-new", "geo_audit", fmt.Sprint(time.Now()), nil))
			}
			g.Terminate()
		})
	}
}
