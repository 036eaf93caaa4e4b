package main

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
)

// ceiling is a broadcast server that does nothing else: no log, no filters, no
// resume, no deadlines. Subscribers share one growing window of bytes; each has a
// goroutine that writes what has come since its last write, in one call, to a
// connection taken over from net/http.
func ceiling(address string) error {
	var hall struct {
		sync.Mutex
		more   *sync.Cond
		window []byte
		base   int
		n      int
	}
	hall.more = sync.NewCond(&hall.Mutex)
	const windowBytes = 64 << 20

	mux := http.NewServeMux()
	mux.HandleFunc("POST /publish", func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		hall.Lock()
		defer hall.Unlock()
		hall.n++
		if len(hall.window) > windowBytes {
			// Writers hold on to what they are writing.
			keep := len(hall.window) - windowBytes/2
			hall.window = append([]byte(nil), hall.window[keep:]...)
			hall.base += keep
		}
		hall.window = append(hall.window, "id: "...)
		hall.window = strconv.AppendInt(hall.window, int64(hall.n), 10)
		hall.window = append(hall.window, "\nevent: agent_status_change\ndata: "...)
		hall.window = append(hall.window, body...)
		hall.window = append(hall.window, "\n\n"...)
		hall.more.Broadcast()
	})
	write := func(conn net.Conn, at int) {
		defer conn.Close()
		for {
			hall.Lock()
			for at == hall.base+len(hall.window) {
				hall.more.Wait()
			}
			at = max(at, hall.base)
			b := hall.window[at-hall.base:]
			at += len(b)
			hall.Unlock()
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	}
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, _ *http.Request) {
		hall.Lock()
		at := hall.base + len(hall.window)
		hall.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Transfer-Encoding", "identity")
		_, _ = io.WriteString(w, "retry: 3000\n\n")
		_ = http.NewResponseController(w).Flush()
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			go write(conn, at)
		}
	})
	return http.ListenAndServe(address, mux) //nolint:gosec // a peer of the benchmark, on a local address
}
