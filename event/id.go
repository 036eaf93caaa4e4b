package event

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
)

const idPrefix = "evt_"

// ErrBadID is returned for a string that is not an event id.
var ErrBadID = errors.New("not an event id: want evt_<number>")

// FormatID returns the public id of the event with that sequence number:
// `evt_<seq>`.
func FormatID(seq uint64) string { return idPrefix + strconv.FormatUint(seq, 10) }

// AppendID appends the public id of seq.
func AppendID(dst []byte, seq uint64) []byte {
	return strconv.AppendUint(append(dst, idPrefix...), seq, 10)
}

// ParseID parses the exact output of FormatID. It accepts no sign, leading zero
// or space.
func ParseID(s string) (uint64, error) {
	digits, ok := strings.CutPrefix(s, idPrefix)
	if !ok {
		return 0, ErrBadID
	}
	return parseSeq(digits)
}

func parseSeq(digits string) (uint64, error) {
	if digits == "" || digits[0] == '+' || digits[0] == '-' || (len(digits) > 1 && digits[0] == '0') {
		return 0, ErrBadID
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, ErrBadID
	}
	return seq, nil
}

// Cursor is a position in a listing: the last returned event, and the
// direction.
type Cursor struct {
	Seq       uint64
	Ascending bool
}

// ErrBadCursor is returned for a string that is not a cursor of a listing.
var ErrBadCursor = errors.New("not a cursor that a listing gave out")

// String returns the opaque form for clients.
func (c Cursor) String() string {
	order := "d"
	if c.Ascending {
		order = "a"
	}
	return base64.RawURLEncoding.EncodeToString([]byte(order + strconv.FormatUint(c.Seq, 10)))
}

// ParseCursor parses the exact output of String.
func ParseCursor(s string) (Cursor, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) < 2 || (raw[0] != 'a' && raw[0] != 'd') {
		return Cursor{}, ErrBadCursor
	}
	seq, err := parseSeq(string(raw[1:]))
	if err != nil {
		return Cursor{}, ErrBadCursor
	}
	c := Cursor{Seq: seq, Ascending: raw[0] == 'a'}
	if c.String() != s {
		return Cursor{}, ErrBadCursor // The base64 decoder ignores line breaks.
	}
	return c, nil
}
