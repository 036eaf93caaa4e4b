// Package hub fans the event log out to live subscribers.
package hub

import "github.com/osa-edge/osa-gateway/eventlog"

// Hub fans out the log. (Being written.)
type Hub struct{}

// Options of a hub.
type Options struct{}

// New starts a hub on the log.
func New(log *eventlog.Log, opt Options) *Hub { return &Hub{} }

// Close ends every subscription and the hub's goroutines.
func (h *Hub) Close() {}
