package format1

import (
	"testing"

	bdg "github.com/dgraph-io/badger/v4"

	"github.com/osa-edge/osa-gateway/event"
)

func FuzzBlock(f *testing.F) {
	f.Add([]byte{1, 1, 0, 0, 0, 0, 1, 1, 0}, uint64(1))
	db, err := bdg.Open(options(unpack(f, "restored.tar.gz"), nil))
	must(f, err)
	must(f, db.View(func(txn *bdg.Txn) error {
		b := newBlocks(txn)
		defer b.close()
		for ok := b.seek(0); ok; ok = b.next() {
			last, err := parseBlockKey(b.it.Item().Key())
			must(f, err)
			v, err := b.it.Item().ValueCopy(nil)
			must(f, err)
			f.Add(v, last)
		}
		return nil
	}))
	must(f, db.Close())
	f.Fuzz(func(t *testing.T, v []byte, last uint64) {
		if len(v) >= blockHeader { // or it would be no more than a checksum's test
			sum := checksum(v[blockHeader:])
			v[2], v[3], v[4], v[5] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
		}
		var b block
		if err := b.parse(last, v); err != nil {
			wantErr(t, err, event.ErrCorrupt)
			return
		}
		for i := range b.count {
			meta, err := b.span(b.metas, i, 0)
			if err == nil {
				_, err = new(event.Event).DecodeBinary(meta)
			}
			if err != nil {
				wantErr(t, err, event.ErrCorrupt)
			}
		}
	})
}
