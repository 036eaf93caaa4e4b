package checksum

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
)

func TestSalted(t *testing.T) {
	sum := Salted(1, 2, []byte("123"), []byte("456"))
	if sum != 0xd0743f11 {
		t.Errorf("%#x: files hold these sums", sum)
	}
	if Salted(1, 2, []byte("123456")) != sum {
		t.Error("parts are summed otherwise than the whole")
	}
	head := append(binary.LittleEndian.AppendUint64(nil, 1), 2, 0, 0, 0, 0, 0, 0, 0)
	if crc32.Checksum(append(head, "123456"...), castagnoli) != sum {
		t.Error("not the CRC-32C of salt, place and bytes")
	}
	for name, other := range map[string]uint32{
		"salt": Salted(3, 2, []byte("123456")), "place": Salted(1, 3, []byte("123456")), "bytes": Salted(1, 2, []byte("123457")),
	} {
		if other == sum {
			t.Errorf("another %s has the same sum", name)
		}
	}
	b := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() { Salted(1, 2, b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
