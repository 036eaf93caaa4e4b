package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"

	"github.com/osa-edge/osa-gateway/storage"
)

// The file format of bbolt, in the machine's byte order: a page starts with a
// header (id 8, flags 2, count 2, overflow 4) and elements of 16 bytes. The
// keys and values follow without gaps.
const (
	pageSize    = 4096
	pageHeader  = 16
	elementSize = 16
	metaSize    = 64
	bucketHead  = 16 // Of a bucket's value: root page, sequence.

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagMeta     = 0x04
	flagFreelist = 0x10
	flagBucket   = 0x01 // Of an element of a leaf.

	metaMagic   = 0xED0CDAED
	metaVersion = 2

	// maxDepth is greater than the depth of any tree.
	maxDepth = 32
)

var order = binary.NativeEndian

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", storage.ErrDamaged, fmt.Errorf(format, args...))
}

// check checks the pages of a file.
type check struct {
	r io.ReaderAt
	// end is the first unused page.
	end  uint64
	used []bool // Pages that were visited.
	// entry is called with the entries of the buckets. Its arguments are valid
	// until it returns.
	entry func(bucket, key, value []byte) error
}

// checkFile reads the whole file and returns storage.ErrDamaged if it finds a
// defect: a page that belongs to two trees or to none, keys that do not ascend,
// or a pointer outside of the file.
func checkFile(r io.ReaderAt, entry func(bucket, key, value []byte) error) error {
	m, err := newestMeta(r)
	if err != nil {
		return err
	}
	c := &check{r: r, end: m.end, used: make([]bool, m.end), entry: entry}
	c.used[0], c.used[1] = true, true
	if err := c.freelist(m.freelist); err != nil {
		return err
	}
	if err := c.tree(m.root, nil, nil, nil, 0); err != nil {
		return err
	}
	if lost := slices.Index(c.used, false); lost >= 0 {
		return damaged("page %d is neither used nor free", lost)
	}
	return nil
}

type meta struct {
	root, freelist, end, txid uint64
}

// newestMeta returns the meta page that bbolt would use: the newer one of the
// valid ones.
func newestMeta(r io.ReaderAt) (meta, error) {
	var newest meta
	var whole bool
	for i := range int64(2) {
		b := make([]byte, pageHeader+metaSize)
		if _, err := r.ReadAt(b, i*pageSize); err != nil {
			if errors.Is(err, io.EOF) {
				return meta{}, damaged("the file ends within its first pages")
			}
			return meta{}, err
		}
		m, ok := parseMeta(b[pageHeader:])
		if ok && (!whole || m.txid > newest.txid) {
			newest, whole = m, true
		}
	}
	if !whole {
		return meta{}, damaged("both meta pages are invalid")
	}
	return newest, nil
}

func parseMeta(b []byte) (meta, bool) {
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8])
	m := meta{root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]), end: order.Uint64(b[40:]), txid: order.Uint64(b[48:])}
	ok := order.Uint32(b) == metaMagic && order.Uint32(b[4:]) == metaVersion && order.Uint32(b[8:]) == pageSize &&
		order.Uint64(b[56:]) == sum.Sum64() && m.end < 1<<40/pageSize
	return m, ok
}

// page reads a page with its overflow pages and marks them as used.
func (c *check) page(id uint64) ([]byte, error) {
	if id < 2 || id >= c.end {
		return nil, damaged("page %d is outside of the file", id)
	}
	b := make([]byte, pageSize)
	if err := c.readAt(b, id); err != nil {
		return nil, err
	}
	if got := order.Uint64(b); got != id {
		return nil, damaged("page %d calls itself %d", id, got)
	}
	over := uint64(order.Uint32(b[12:]))
	if over >= c.end-id {
		return nil, damaged("page %d runs over the end of the file", id)
	}
	for i := id; i <= id+over; i++ {
		if c.used[i] {
			return nil, damaged("page %d belongs to two", i)
		}
		c.used[i] = true
	}
	if over > 0 {
		b = append(b, make([]byte, over*pageSize)...)
		if err := c.readAt(b[pageSize:], id+1); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (c *check) readAt(b []byte, id uint64) error {
	_, err := c.r.ReadAt(b, int64(id)*pageSize)
	if errors.Is(err, io.EOF) {
		return damaged("page %d is missing", id)
	}
	return err
}

func (c *check) freelist(id uint64) error {
	b, err := c.page(id)
	if err != nil {
		return err
	}
	if order.Uint16(b[8:]) != flagFreelist {
		return damaged("page %d is no list of free pages", id)
	}
	count, list := uint64(order.Uint16(b[10:])), b[pageHeader:]
	if count == 0xffff {
		count, list = order.Uint64(list), list[8:]
	}
	if count > uint64(len(list)/8) {
		return damaged("the list of free pages is longer than its page")
	}
	for i := range count {
		free := order.Uint64(list[8*i:])
		if free < 2 || free >= c.end || c.used[free] {
			return damaged("page %d is not free", free)
		}
		c.used[free] = true
	}
	return nil
}

// tree checks the pages below id, whose keys are in [lo, hi) (nil: no bound).
// bucket is nil for the root, which holds only buckets.
func (c *check) tree(id uint64, bucket, lo, hi []byte, depth int) error {
	if depth > maxDepth {
		return damaged("the tree is too deep at page %d", id)
	}
	b, err := c.page(id)
	if err != nil {
		return err
	}
	switch order.Uint16(b[8:]) {
	case flagBranch:
		return c.branch(id, b, bucket, lo, hi, depth)
	case flagLeaf:
		return c.leaf(id, b, bucket, lo, hi)
	}
	return damaged("page %d is neither branch nor leaf", id)
}

func (c *check) branch(id uint64, b, bucket, lo, hi []byte, depth int) error {
	count := int(order.Uint16(b[10:]))
	at := pageHeader + elementSize*count
	if count == 0 || at > len(b) {
		return damaged("branch page %d has %d elements", id, count)
	}
	keys, children := make([][]byte, count), make([]uint64, count)
	for i := range count {
		e := b[pageHeader+elementSize*i:]
		key, err := elementData(b, pageHeader+elementSize*i, order.Uint32(e), at, order.Uint32(e[4:]))
		if err != nil {
			return fmt.Errorf("branch page %d: %w", id, err)
		}
		at += len(key)
		keys[i], children[i] = key, order.Uint64(e[8:])
	}
	if err := ascending(keys, lo, hi); err != nil {
		return fmt.Errorf("branch page %d: %w", id, err)
	}
	for i, child := range children {
		upper := hi
		if i+1 < count {
			upper = keys[i+1]
		}
		if err := c.tree(child, bucket, keys[i], upper, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (c *check) leaf(id uint64, b, bucket, lo, hi []byte) error {
	count := int(order.Uint16(b[10:]))
	at := pageHeader + elementSize*count
	if at > len(b) {
		return damaged("leaf page %d has %d elements", id, count)
	}
	keys, values := make([][]byte, count), make([][]byte, count)
	for i := range count {
		e := b[pageHeader+elementSize*i:]
		both, err := elementData(b, pageHeader+elementSize*i, order.Uint32(e[4:]), at, order.Uint32(e[8:]), order.Uint32(e[12:]))
		if err != nil {
			return fmt.Errorf("leaf page %d: %w", id, err)
		}
		at += len(both)
		keys[i], values[i] = both[:order.Uint32(e[8:])], both[order.Uint32(e[8:]):]
		if isBucket := order.Uint32(e) == flagBucket; isBucket != (bucket == nil) || order.Uint32(e) > flagBucket {
			return damaged("leaf page %d: an element with flags %#x", id, order.Uint32(e))
		}
	}
	if err := ascending(keys, lo, hi); err != nil {
		return fmt.Errorf("leaf page %d: %w", id, err)
	}
	for i := range keys {
		var err error
		if bucket == nil {
			err = c.bucket(keys[i], values[i])
		} else {
			err = c.entry(bucket, keys[i], values[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket checks a bucket with the given header. A small bucket is stored in the
// header's page.
func (c *check) bucket(name, value []byte) error {
	if len(value) < bucketHead {
		return damaged("bucket %q has no header", name)
	}
	if root := order.Uint64(value); root != 0 {
		return c.tree(root, name, nil, nil, 0)
	}
	inline := value[bucketHead:]
	if len(inline) < pageHeader || order.Uint16(inline[8:]) != flagLeaf {
		return damaged("bucket %q holds no leaf", name)
	}
	return c.leaf(0, inline, name, nil, nil)
}

// elementData returns the data that the element at offset `of` points to. pos
// counts from there and must be where the previous data ended.
func elementData(b []byte, of int, pos uint32, at int, sizes ...uint32) ([]byte, error) {
	size := uint64(0)
	for _, n := range sizes {
		size += uint64(n)
	}
	if uint64(of)+uint64(pos) != uint64(at) || size > uint64(len(b)-at) || sizes[0] == 0 {
		return nil, damaged("an element points outside of its place")
	}
	return b[at : at+int(size)], nil
}

func ascending(keys [][]byte, lo, hi []byte) error {
	for i, key := range keys {
		if i > 0 && bytes.Compare(keys[i-1], key) >= 0 {
			return damaged("keys do not ascend")
		}
	}
	if n := len(keys); n > 0 && (lo != nil && bytes.Compare(keys[0], lo) < 0 || hi != nil && bytes.Compare(keys[n-1], hi) >= 0) {
		return damaged("keys are outside of the range of their page")
	}
	return nil
}
