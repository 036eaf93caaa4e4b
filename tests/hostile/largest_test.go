//go:build linux

package hostile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"unicode"
)

// The largest legal value of everything in an event.
const (
	maxBody  = 10 << 20
	maxChars = 256
	maxDepth = 1000
)

// classes are ranges of every kind of character that is none of the control ones:
// two, three and four bytes, both directions, marks that join, private ones.
var classes = []*unicode.RangeTable{
	unicode.Latin, unicode.Arabic, unicode.Hebrew, unicode.Han, unicode.Hangul, unicode.Devanagari, unicode.Thai, unicode.Mn, unicode.Cf,
	unicode.So, unicode.Sm, unicode.Zs, unicode.Co, unicode.Egyptian_Hieroglyphs, unicode.Cuneiform, unicode.Nd, unicode.Lm,
}

func char(rng *rand.Rand) rune {
	for {
		table := classes[rng.IntN(len(classes))]
		var r rune
		if n := len(table.R16) + len(table.R32); n == 0 {
			continue
		} else if i := rng.IntN(n); i < len(table.R16) {
			x := table.R16[i]
			r = rune(x.Lo) + rune(x.Stride)*rune(rng.IntN(int(x.Hi-x.Lo)/int(x.Stride)+1))
		} else {
			x := table.R32[i-len(table.R16)]
			r = rune(x.Lo) + rune(x.Stride)*rune(rng.IntN(int(x.Hi-x.Lo)/int(x.Stride)+1))
		}
		if !unicode.IsControl(r) {
			return r
		}
	}
}

// chars are n characters of all classes.
func chars(rng *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		b.WriteRune(char(rng))
	}
	return b.String()
}

// quoted is a JSON string.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always encodes
	}
	return string(b)
}

// escaped is a JSON string in which every character stands as an escape, which is
// the longest way to write it.
func escaped(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		if r > 0xffff {
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		} else {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// astral are n characters of four bytes.
func astral(rng *rand.Rand, n int) string {
	r := make([]rune, n)
	for i := range r {
		r[i] = 0x13000 + rune(rng.IntN(1000))
	}
	return string(r)
}

// largest is an event with the largest legal value in every field. It has size
// bytes.
func largest(rng *rand.Rand, size int) []byte {
	var b bytes.Buffer
	write := func(s string) string {
		if rng.IntN(2) == 0 {
			return escaped(s)
		}
		return quoted(s)
	}
	kinds := []string{"agent_status_update", "workflow_progress", "workflow_completion", "error_notification", astral(rng, maxChars)}
	b.WriteString(`{"event_type":` + write(kinds[rng.IntN(len(kinds))]))
	for _, name := range []string{"workflow_id", "agent_id", "workflow_name", "correlation_id", "timestamp"} {
		fmt.Fprintf(&b, `,%q:%s`, name, write(astral(rng, maxChars)))
	}
	fmt.Fprintf(&b, `,"severity":"critical","error_message":%s,"error":{"message":%s}`, write(astral(rng, 4<<10)), write(astral(rng, 4<<10)))
	b.WriteString(`,"data":{`)
	for i, part := range []string{"agent_status", "workflow_progress", "workflow_completion", "error_notification"} {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `%q:{"previous_status":%s,"current_status":%s,"status":%s,"error_type":%s,"recovery_action":%s,"error_message":%s,`+
			`"estimated_completion":%s,"severity":"critical","execution_time_ms":1e15,"total_execution_time_ms":1000000000000000,"confidence_score":1,`+
			`"progress_percentage":100,"completed_agents":9007199254740991,"total_agents":9007199254740991,"failed_agents":9007199254740991,`+
			`"successful_agents":9007199254740991,"current_phase":9007199254740991,"results_available":true,"affected_agents":[`,
			part, write(astral(rng, maxChars)), write(astral(rng, maxChars)), quoted("failed"), write(astral(rng, maxChars)), write(astral(rng, maxChars)),
			write(astral(rng, 4<<10)), write(astral(rng, maxChars)))
		for n := range 100 {
			if n > 0 {
				b.WriteByte(',')
			}
			b.WriteString(write(astral(rng, maxChars)))
		}
		b.WriteString("]}")
	}
	b.WriteString(`},"deep":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1))
	b.WriteString(`,"members":{`)
	for n := 0; b.Len() < size/2; n++ { // many members with long names
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%d%s":%s`, n, strings.Repeat("n", 200), strconv.FormatFloat(rng.Float64()*1.7e308, 'g', -1, 64))
	}
	b.WriteString(`},"text":"`)
	text := chars(rng, 2000)
	text = quoted(text)[1 : len(quoted(text))-1]
	const end = `"}`
	for b.Len()+len(text)+len(end) < size {
		b.WriteString(text)
	}
	if b.Len()+len(end) < size {
		b.WriteString(strings.Repeat("a", size-b.Len()-len(end)))
	}
	b.WriteString(end)
	return b.Bytes()
}

// shallow is a small event whose ids nobody has had before, with the longest
// error text that is kept or with none.
func shallow(rng *rand.Rand, failed bool) []byte {
	errorText := ""
	if failed {
		errorText = `,"error_message":` + quoted(astral(rng, 1<<10)) // 4 KiB
	}
	return fmt.Appendf(nil, `{"workflow_id":%s,"agent_id":%s,"event_type":%s,"workflow_name":%s,"timestamp":%q%s}`,
		quoted(chars(rng, maxChars)), quoted(chars(rng, maxChars)), quoted(chars(rng, maxChars)), quoted(chars(rng, maxChars)),
		strconv.FormatUint(rng.Uint64(), 36), errorText)
}

// deep is one event nested as deep as may be, over and over, to size bytes.
func deep(rng *rand.Rand, size int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"workflow_id":%s,"event_type":"started","timestamp":"%d","deep":[[]`, quoted(chars(rng, maxChars)), rng.Uint64())
	const stop = `]}`
	one := "," + strings.Repeat(`{"a":[`, (maxDepth-2)/2) + strings.Repeat(stop, (maxDepth-2)/2)
	for b.Len()+len(one)+2 < size {
		b.WriteString(one)
	}
	b.WriteString("]}")
	return b.Bytes()
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }
