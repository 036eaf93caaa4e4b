package event

import (
	"errors"
	"math"
	"testing"
)

func TestParseID(t *testing.T) {
	for _, c := range []struct {
		in   string
		want uint64
		ok   bool
	}{
		{"evt_1", 1, true},
		{"evt_0", 0, true},
		{"evt_18446744073709551615", math.MaxUint64, true},
		{"evt_18446744073709551616", 0, false},
		{"evt_", 0, false},
		{"", 0, false},
		{"1", 0, false},
		{"EVT_1", 0, false},
		{"evt_01", 0, false},
		{"evt_00", 0, false},
		{"evt_+1", 0, false},
		{"evt_-1", 0, false},
		{"evt_1 ", 0, false},
		{" evt_1", 0, false},
		{"evt_1_0", 0, false},
		{"evt_0x1", 0, false},
		{"evt_1\n", 0, false},
		{"evt_١", 0, false},
	} {
		got, err := ParseID(c.in)
		if got != c.want || (err == nil) != c.ok || err != nil && !errors.Is(err, ErrBadID) {
			t.Errorf("%q: %d, %v", c.in, got, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"evt_1", "evt_", "evt_01", "evt_18446744073709551615", "evt_1\r\n"} {
		f.Add(s, uint64(1))
	}
	f.Fuzz(func(t *testing.T, s string, seq uint64) {
		if n, err := ParseID(s); err == nil && FormatID(n) != s {
			t.Fatalf("%q was read as %q", s, FormatID(n))
		}
		id := FormatID(seq)
		if n, err := ParseID(id); err != nil || n != seq || string(AppendID([]byte("x"), seq)) != "x"+id {
			t.Fatalf("%q: %d, %v", id, n, err)
		}
	})
}

func FuzzParseCursor(f *testing.F) {
	for _, s := range []string{"", "a", "YTE", "ZDE", "YTE\n", "YT\rE", "YTF", "YTE=", "YTAx", "eDE", "YS0x"} {
		f.Add(s, uint64(7), true)
	}
	f.Fuzz(func(t *testing.T, s string, seq uint64, ascending bool) {
		c, err := ParseCursor(s)
		if err == nil && c.String() != s {
			t.Fatalf("%q was read as %q", s, c)
		}
		if err != nil && (!errors.Is(err, ErrBadCursor) || c != Cursor{}) {
			t.Fatalf("%q: %+v, %v", s, c, err)
		}
		want := Cursor{Seq: seq, Ascending: ascending}
		if got, err := ParseCursor(want.String()); err != nil || got != want {
			t.Fatalf("%+v: %+v, %v", want, got, err)
		}
	})
}
