package event

import (
	"crypto/sha256"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// OPALDedupKey is the idempotency key of an OPAL event: SHA-256 of the JSON
// object {workflow_id, agent_id, timestamp, event_type}, byte for byte as
// JavaScript's JSON.stringify writes it (ECMA-262 §25.5.2). Each argument is the
// raw JSON token of that member, or "" where it is absent and therefore left
// out; null stays null. An event without a timestamp says too little of itself
// to be told from the next one: its body digest goes into the key as well.
func OPALDedupKey(workflowID, agentID, timestamp, eventType string, body Digest) Digest {
	buf := make([]byte, 0, 256)
	buf = append(buf, '{')
	member := func(name, token string) {
		if token == "" {
			return
		}
		if len(buf) > 1 {
			buf = append(buf, ',')
		}
		buf = append(buf, '"')
		buf = append(buf, name...)
		buf = append(buf, `":`...)
		buf = appendJSStringify(buf, token)
	}
	member("workflow_id", workflowID)
	member("agent_id", agentID)
	member("timestamp", timestamp)
	member("event_type", eventType)
	buf = append(buf, '}')
	if timestamp == "" || timestamp == "null" {
		buf = append(buf, body[:]...)
	}
	return sha256.Sum256(buf)
}

// DedupKey is the idempotency key of parts that already identify an event, such
// as source, tenant, type, timestamp and body digest, or a delivery id. Parts
// are length-prefixed, so that no two lists of parts run together.
func DedupKey(parts ...string) Digest {
	var buf []byte
	for _, p := range parts {
		buf = strconv.AppendInt(buf, int64(len(p)), 10)
		buf = append(buf, ':')
		buf = append(buf, p...)
	}
	return sha256.Sum256(buf)
}

// appendJSStringify appends what JSON.stringify(JSON.parse(token)) gives for a
// valid JSON scalar token.
func appendJSStringify(dst []byte, token string) []byte {
	switch c := token[0]; {
	case c == '"' && len(token) > 1:
		return appendJSString(dst, token[1:len(token)-1])
	case c == '-' || (c >= '0' && c <= '9'):
		return appendJSNumber(dst, token)
	}
	return append(dst, token...) // true, false, null
}

// appendJSNumber writes a number as ECMA-262 §6.1.6.1.20 does. What JavaScript
// reads as infinite, JSON.stringify writes as null.
func appendJSNumber(dst []byte, token string) []byte {
	f, err := strconv.ParseFloat(token, 64)
	if err != nil || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	if f == 0 {
		return append(dst, '0') // also for -0
	}
	// encoding/json formats float64 as ECMAScript does, save for -0.
	b, err := json.Marshal(f)
	if err != nil {
		return append(dst, "null"...)
	}
	return append(dst, b...)
}

const lowerHex = "0123456789abcdef"

// appendJSString writes the string whose JSON escapes are in raw as
// QuoteJSONString (ECMA-262 §25.5.2.3) does: shortest escapes, lone surrogates as
// \udxxx, everything else literally.
func appendJSString(dst []byte, raw string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' || i+1 >= len(raw) {
			dst = append(dst, c)
			i++
			continue
		}
		switch e := raw[i+1]; e {
		case '"', '\\', 'b', 'f', 'n', 'r', 't':
			dst = append(dst, '\\', e)
			i += 2
		case 'u':
			r := hex4(raw[i+2:])
			i += 6
			if utf16.IsSurrogate(r) {
				if i+6 <= len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
					if full := utf16.DecodeRune(r, hex4(raw[i+2:])); full != utf8.RuneError {
						dst = utf8.AppendRune(dst, full)
						i += 6
						continue
					}
				}
				dst = append(dst, '\\', 'u', 'd', lowerHex[r>>8&15], lowerHex[r>>4&15], lowerHex[r&15])
				continue
			}
			dst = appendJSRune(dst, r)
		default: // \/
			dst = append(dst, e)
			i += 2
		}
	}
	return append(dst, '"')
}

func appendJSRune(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	if r < 0x20 {
		return append(dst, '\\', 'u', '0', '0', lowerHex[r>>4], lowerHex[r&15])
	}
	return utf8.AppendRune(dst, r)
}

func hex4(s string) rune {
	if len(s) < 4 {
		return utf8.RuneError
	}
	n, err := strconv.ParseUint(s[:4], 16, 16)
	if err != nil {
		return utf8.RuneError
	}
	return rune(n)
}
