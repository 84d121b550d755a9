package keyspace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
)

// How bbolt lays out a page (internal/common/page.go, bucket.go and meta.go of bbolt 1.4),
// in the order of bytes of the processors that etcd supports best.
const (
	headerSize  = 16
	elementSize = 16
	bucketSize  = 16
	metaSize    = 64

	branchPage    = 0x01
	leafPage      = 0x02
	metaPage      = 0x04
	bucketElement = 0x01

	metaMagic   = 0xED0CDAED
	metaVersion = 2
)

var order = binary.LittleEndian

// page is one page of a tree, with those behind it that it overflows into: a header, as many
// elements, and the keys and values to which these lead.
type page []byte

func (p page) id() uint64       { return order.Uint64(p) }
func (p page) flags() uint16    { return order.Uint16(p[8:]) }
func (p page) count() int       { return int(order.Uint16(p[10:])) }
func (p page) overflow() uint32 { return order.Uint32(p[12:]) }

// isOfTree says whether it looks like a page of a tree at its place.
func (p page) isOfTree(id uint64) bool {
	return p.id() == id && (p.flags() == branchPage || p.flags() == leafPage)
}

var errTorn = errors.New("an element lies outside of its page")

// element gives where an element is in its page, and its bytes.
func (p page) element(n int) (at int, e []byte, err error) {
	at = headerSize + n*elementSize
	if at+elementSize > len(p) {
		return 0, nil, errTorn
	}
	return at, p[at : at+elementSize], nil
}

// leaf is an element of a leaf.
type leaf struct {
	bucket     bool
	key, value []byte
}

// leaf gives an element of a leaf, in place.
func (p page) leaf(n int) (l leaf, err error) {
	at, e, err := p.element(n)
	if err != nil {
		return l, err
	}
	key := uint64(at) + uint64(order.Uint32(e[4:]))
	value := key + uint64(order.Uint32(e[8:]))
	end := value + uint64(order.Uint32(e[12:]))
	if end > uint64(len(p)) {
		return l, errTorn
	}
	return leaf{order.Uint32(e)&bucketElement != 0, p[key:value], p[value:end]}, nil
}

// child gives the page to which an element of a branch leads.
func (p page) child(n int) (id uint64, err error) {
	_, e, err := p.element(n)
	if err != nil {
		return 0, err
	}
	return order.Uint64(e[8:]), nil
}

// tree is where a bucket has its pages: below a root, or within the element that names it.
type tree struct {
	root   uint64
	inline page
}

func (l leaf) tree() (t tree, err error) {
	if !l.bucket || len(l.value) < bucketSize {
		return t, fmt.Errorf("%q is no bucket", l.key)
	}
	t.root = order.Uint64(l.value)
	if t.root != 0 {
		return t, nil
	}
	t.inline = page(l.value[bucketSize:])
	if len(t.inline) < headerSize || t.inline.flags() != leafPage {
		return t, fmt.Errorf("the pages of bucket %q are nowhere", l.key)
	}
	return t, nil
}

// meta is what the first two pages say in turns, of which the later counts.
type meta struct {
	pageSize           int
	root, pages, txnID uint64
}

// parseMeta gives what a meta page says. One with an error does not count, as when its
// writing was broken off; with a page size, only its checksum is wrong.
func parseMeta(p page) (m meta, err error) {
	at := p[headerSize : headerSize+metaSize]
	if order.Uint32(at) != metaMagic || order.Uint32(at[4:]) != metaVersion {
		return m, errors.New("it is no database of bbolt's")
	}
	size := order.Uint32(at[8:])
	if size < leastPage || size > mostPage || size&(size-1) != 0 {
		return m, fmt.Errorf("it has pages of %d bytes", size)
	}
	m = meta{int(size), order.Uint64(at[16:]), order.Uint64(at[40:]), order.Uint64(at[48:])}
	sum := fnv.New64a()
	sum.Write(at[:56]) // it cannot fail
	if sum.Sum64() != order.Uint64(at[56:]) {
		return m, errors.New("the checksum of its root is wrong")
	}
	return m, nil
}

// Pages have the size of those of the machine that made the file.
const leastPage, mostPage = 512, 64 << 10
