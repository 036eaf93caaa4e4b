package command

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxMessage bounds one message of a stream; the gateway's are a few hundred
// bytes.
const maxMessage = 4 << 20

var errMessageTooLarge = errors.New("a message of the stream is larger than 4 MiB")

// message is one message of an event stream.
type message struct {
	// id is the stream's last id up to here, as an EventSource has it.
	id string
	// ownID tells whether the message carried that id itself.
	ownID bool
	event string
	data  string
}

// sseReader reads text/event-stream by the rules of
// https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation.
// Unlike existing libraries, it drops a message that the end of the stream cuts off, with
// its id. So the message is requested again after a reconnection.
type sseReader struct {
	r      *bufio.Reader
	lastID string
	// retry is the reconnection time that the server asked for, 0 if none.
	retry time.Duration
	began bool
	// sawCR is set if the last line ended with CR. An LF that follows belongs to it; waiting
	// for it could block.
	sawCR bool
}

func newSSEReader(r io.Reader, lastID string) *sseReader {
	return &sseReader{r: bufio.NewReader(r), lastID: lastID}
}

// next returns the next message that has data, or the error that ended the
// stream: io.EOF if it ended by itself.
func (s *sseReader) next() (message, error) {
	var (
		data    strings.Builder
		hasData bool
		event   string
		id      = s.lastID
		ownID   bool
		size    int
	)
	for {
		line, err := s.line()
		if err != nil {
			return message{}, err
		}
		if size += len(line); size > maxMessage {
			return message{}, errMessageTooLarge
		}
		if line == "" {
			s.lastID = id
			if hasData {
				return message{id: id, ownID: ownID, event: event, data: data.String()}, nil
			}
			event, ownID, size = "", false, 0
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "data":
			if hasData {
				data.WriteByte('\n')
			}
			data.WriteString(value)
			hasData = true
		case "event":
			event = value
		case "id":
			if !strings.ContainsRune(value, 0) {
				id, ownID = value, true
			}
		case "retry":
			if ms, ok := digits(value); ok {
				s.retry = ms
			}
		}
	}
}

// digits reads a reconnection time, which has ASCII digits only. More than a day is a day.
func digits(value string) (time.Duration, bool) {
	if value == "" || strings.Trim(value, "0123456789") != "" {
		return 0, false
	}
	ms, err := strconv.ParseInt(value, 10, 64)
	if err != nil || ms > 24*3600*1000 {
		ms = 24 * 3600 * 1000
	}
	return time.Duration(ms) * time.Millisecond, true
}

// line reads up to CR, LF or CRLF. An incomplete last line is dropped.
func (s *sseReader) line() (string, error) {
	var b []byte
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return "", err
		}
		if s.sawCR {
			s.sawCR = false
			if c == '\n' {
				continue
			}
		}
		if c != '\n' && c != '\r' {
			if len(b) == maxMessage {
				return "", errMessageTooLarge
			}
			b = append(b, c)
			continue
		}
		s.sawCR = c == '\r'
		line := string(b)
		if !s.began {
			s.began = true
			line = strings.TrimPrefix(line, "\ufeff")
		}
		return line, nil
	}
}
