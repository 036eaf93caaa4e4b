package stream

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/osa-edge/osa-gateway/event"
	"github.com/osa-edge/osa-gateway/modules/stream/reactor"
)

func TestConnectionsAreTakenOver(t *testing.T) {
	for name, want := range map[string]int{"HTTP/1.1": 3, "kept": 0, "HTTP/1.1 over TLS": 3, "HTTP/2": 0} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(s *site) {
				s.stream["keep_connections"] = name == "kept"
				if way := ways(t)[name]; way != nil {
					way(s)
				}
			})
			readers := []*reader{s.open(""), s.open(""), s.open("")}
			s.publishN(10)
			for _, r := range readers {
				wantIDs(t, r.ids(10), 1, 10)
			}
			s.eventually(fmt.Sprintf("%d taken over", want), func() bool { return reactor.Active() == want })
			readers[0].close()
			s.eventually("one has left", func() bool { return the.count() == 2 })
			s.publishN(10)
			wantIDs(t, readers[1].ids(10), 11, 20)
		})
	}
}

// TestAccessLog: one line a stream, when it ends, with what became of it,
// whether the connection was taken over or not.
func TestAccessLog(t *testing.T) {
	for _, kept := range []bool{false, true} {
		for _, way := range []string{"HTTP/1.1", "HTTP/1.1 over TLS", "HTTP/2"} {
			proto := "HTTP/1.1"
			if way == "HTTP/2" {
				proto = "HTTP/2.0"
			}
			t.Run(fmt.Sprintf("%s, kept=%v", way, kept), func(t *testing.T) {
				s := newSite(t, func(s *site) {
					if change := ways(t)[way]; change != nil {
						change(s)
					}
					s.stream["keep_connections"] = kept
					s.server["logs"] = map[string]any{"default_logger_name": "streams"}
				})
				lines := func() (out []map[string]any) {
					f, err := os.Open(s.log)
					if err != nil {
						t.Fatal(err)
					}
					defer f.Close()
					for in := bufio.NewScanner(f); in.Scan(); {
						var line map[string]any
						if json.Unmarshal(in.Bytes(), &line) == nil && line["logger"] == "http.log.access.streams" &&
							strings.HasPrefix(line["request"].(map[string]any)["uri"].(string), "/stream") {
							out = append(out, line)
						}
					}
					return out
				}
				r := s.open("workflow_id=wf", "Authorization", "unknown", "User-Agent", "test")
				s.publishN(3)
				wantIDs(t, r.ids(3), 1, 3)
				if !kept {
					s.eventually("Caddy's handlers have returned", func() bool { return handling() == 0 })
				}
				if got := lines(); len(got) != 0 {
					t.Fatalf("logged while it is open: %v", got)
				}
				open := time.Since(the.oldest())
				r.close()
				s.eventually("the end is logged", func() bool { return len(lines()) == 1 })
				line := lines()[0]
				request := line["request"].(map[string]any)
				for field, want := range map[string]any{
					"msg": "handled request", "level": "info", "status": 200.0,
				} {
					if line[field] != want {
						t.Errorf("%s is %v", field, line[field])
					}
				}
				for field, want := range map[string]any{
					"uri": "/stream?workflow_id=wf", "method": "GET", "proto": proto, "client_ip": "127.0.0.1", "remote_ip": "127.0.0.1",
				} {
					if request[field] != want {
						t.Errorf("request %s is %v", field, request[field])
					}
				}
				if h := request["headers"].(map[string]any); fmt.Sprint(h["Authorization"]) != "[REDACTED]" || fmt.Sprint(h["User-Agent"]) != "[test]" {
					t.Errorf("headers %v", h)
				}
				if size := line["size"].(float64); size < 3*100 {
					t.Errorf("size %v", size)
				}
				if d := line["duration"].(float64); d < open.Seconds() {
					t.Errorf("duration %v of a stream open for %v", d, open)
				}
				if h := line["resp_headers"].(map[string]any); fmt.Sprint(h["Content-Type"]) != "[text/event-stream]" || h["Transfer-Encoding"] != nil {
					t.Errorf("response headers %v", h)
				}
				shown, _ := request["tls"].(map[string]any)
				if secure := way != "HTTP/1.1"; secure != (shown != nil) || secure && shown["server_name"] != "localhost" {
					t.Errorf("tls %v", shown)
				}
			})
		}
	}
}

// oldest is when the first of the open streams began.
func (t *registry) oldest() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := time.Now()
	for _, s := range t.queue {
		if s.start.Before(first) {
			first = s.start
		}
	}
	return first
}

// TestASlowLogHoldsNobodyUp: while the end of one stream cannot be logged, others
// are written to.
func TestASlowLogHoldsNobodyUp(t *testing.T) {
	s := newSite(t, nil)
	readers := []*reader{s.open(""), s.open(""), s.open(""), s.open("")}
	s.eventually("taken over", func() bool { return reactor.Active() == 4 })
	// All of them log to a sink that takes nothing.
	blocked, entered := make(chan struct{}), make(chan struct{}, 4)
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(writerFunc(func(b []byte) (int, error) {
		entered <- struct{}{}
		<-blocked
		return len(b), nil
	})), zapcore.DebugLevel))
	closeQueue.Lock() // which orders this before any end
	for _, open := range the.streams() {
		open.log = log
	}
	closeQueue.Unlock()
	readers[0].close()
	readers[1].close()
	<-entered
	s.publishN(10)
	wantIDs(t, readers[2].ids(10), 1, 10)
	wantIDs(t, readers[3].ids(10), 1, 10)
	if n := the.count(); n < 3 {
		t.Errorf("%d places are taken before the end was logged", n)
	}
	close(blocked)
	s.eventually("two are there", func() bool { return the.count() == 2 })
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestAccessLogSkipped(t *testing.T) {
	for name, logs := range map[string]map[string]any{
		"skipped host":  {"skip_hosts": []string{"127.0.0.1"}},
		"unmapped host": {"skip_unmapped_hosts": true, "logger_names": map[string]any{"example.com": []string{"x"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(s *site) { s.server["logs"] = logs })
			s.open("").close()
			s.eventually("the end is logged", func() bool {
				b, _ := os.ReadFile(s.log)
				return strings.Contains(string(b), `"stream ended"`)
			})
			if b, _ := os.ReadFile(s.log); strings.Contains(string(b), "http.log.access") {
				t.Error("logged all the same")
			}
		})
	}
}

// TestEveryReaderGetsTheFilteredLog: clients with filters of their own connect,
// read, leave without a word and resume at random, some of them slowly, while
// events come in and the configuration is reloaded under them. Everyone ends up
// with what the log has for them, once and in its order.
func TestEveryReaderGetsTheFilteredLog(t *testing.T) {
	s := newSite(t, func(s *site) { s.stream["heartbeat"] = "20ms" })
	const clients, rounds = 8, 40
	kinds := []string{"agent_status_update", "error_notification", "custom"}
	var last atomic.Uint64 // once all is published
	var all sync.WaitGroup
	got := make([][]uint64, clients)
	query := func(i int) string { return []string{"", "event_types=" + kinds[i%3], "workflow_id=wf-1"}[i/3] }
	for i := range clients {
		random := rand.New(rand.NewPCG(uint64(i), 1))
		all.Go(func() {
			seen := uint64(0)
			for {
				read := random.IntN(200)
				err := func() error {
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					req, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/stream?"+query(i), nil)
					req.Header.Set("Last-Event-ID", event.FormatID(seen))
					resp, err := s.client.Do(req)
					if err != nil {
						// A connection may be lost between the listeners of a
						// reload, before it was accepted.
						return nil //nolint:nilerr // as a client would, try again
					}
					defer resp.Body.Close()
					r := &reader{t: t, resp: resp, stop: cancel, in: bufio.NewReader(resp.Body)}
					for read > 0 || last.Load() > 0 {
						m, ok := r.read()
						if !ok {
							return fmt.Errorf("ended at %d", seen)
						}
						if l := last.Load(); m.comment != "" && l > 0 && random.IntN(20) == 0 {
							// Between heartbeats there was time for all that is left.
							if !s.more(query(i), seen) {
								return nil
							}
						}
						if m.id == "" {
							continue
						}
						if m.event == "stream_reset" {
							return fmt.Errorf("reset: %s", m.data)
						}
						seq, err := event.ParseID(m.id)
						if err != nil {
							return err
						}
						got[i], seen = append(got[i], seq), seq
						read--
						if i%2 == 0 && random.IntN(50) == 0 {
							time.Sleep(time.Millisecond)
						}
					}
					return nil
				}()
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				if last.Load() > 0 && !s.more(query(i), seen) {
					return
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(1, 2))
	want := make(map[string][]uint64)
	for i := range rounds {
		for range random.IntN(60) {
			e := &event.Event{WorkflowID: fmt.Sprintf("wf-%d", random.IntN(3)), Type: kinds[random.IntN(3)]}
			seq := s.publish(e)
			for _, q := range []string{"", "event_types=" + e.Type, "workflow_id=" + e.WorkflowID} {
				want[q] = append(want[q], seq)
			}
		}
		if i%8 == 4 {
			s.stream["max_streams"] = 1000 + i
			s.load()
		}
	}
	s.finals.Store(&want)
	last.Store(1)
	all.Wait()
	for i := range clients {
		if !slices.Equal(got[i], want[query(i)]) {
			t.Errorf("client %d with %q: got %d events, want %d\n got %v\nwant %v", i, query(i), len(got[i]), len(want[query(i)]), got[i], want[query(i)])
		}
	}
}

// more tells whether the log has anything for the query beyond seen.
func (s *site) more(query string, seen uint64) bool {
	all := (*s.finals.Load())[query]
	return len(all) > 0 && all[len(all)-1] > seen
}
