package load

import "time"

// Options of a run.
type Options struct {
	Target Target
	Source Source
	// Connections are kept alive; each has one request under way at most.
	Connections int
	// Rate is requests a second that become due whether or not earlier ones were
	// answered (open loop); 0 sends the next request as soon as a connection has
	// its answer (closed loop).
	Rate float64
	// Requests ends the run after so many, Duration after so long; whichever
	// comes first, or the end of Source.
	Requests int
	Duration time.Duration
	// Pause is what the server gets to accept the connections before the first
	// request is due.
	Pause time.Duration
	// Patience is how long the last answers are waited for; default 10 s.
	Patience time.Duration
}
