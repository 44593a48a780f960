package source

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"slices"
	"sort"

	"github.com/go-git/go-git/v5/plumbing"
)

const hashSize = sha1.Size

// An index says where in a pack an object is. It is git's version 2 index
// (gitformat-pack(5)), so that git's own tools can read a clone.
type index struct {
	fanout  [256]uint32 // objects whose first byte is at most this
	names   []byte      // sorted
	crcs    []uint32
	offsets []uint32
	sum     [sha1.Size]byte // of the pack
}

var indexMagic = []byte{0xff, 't', 'O', 'c', 0, 0, 0, 2}

var errIndex = errors.New("the index is damaged")

func newIndex(entries []entry, sum [sha1.Size]byte) *index {
	x := &index{sum: sum}
	for i := range entries {
		x.names = append(x.names, entries[i].hash[:]...)
		x.crcs = append(x.crcs, entries[i].crc)
		x.offsets = append(x.offsets, entries[i].offset)
	}
	x.sort()
	return x
}

// sort orders the objects by name and counts them.
func (x *index) sort() {
	order := make([]int, len(x.offsets))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return bytes.Compare(x.name(a), x.name(b)) })
	old := *x
	x.names = make([]byte, 0, len(old.names))
	x.crcs, x.offsets = make([]uint32, len(order)), make([]uint32, len(order))
	x.fanout = [256]uint32{}
	for to, from := range order {
		x.names = append(x.names, old.name(from)...)
		x.crcs[to], x.offsets[to] = old.crcs[from], old.offsets[from]
		x.fanout[old.name(from)[0]]++
	}
	for i := 1; i < len(x.fanout); i++ {
		x.fanout[i] += x.fanout[i-1]
	}
}

func (x *index) len() int { return len(x.offsets) }

func (x *index) name(i int) []byte { return x.names[i*hashSize : (i+1)*hashSize] }

// find returns the offset of an object in the pack.
func (x *index) find(h plumbing.Hash) (uint32, bool) {
	lo := 0
	if h[0] > 0 {
		lo = int(x.fanout[h[0]-1])
	}
	n := int(x.fanout[h[0]]) - lo
	i := lo + sort.Search(n, func(i int) bool { return bytes.Compare(x.name(lo+i), h[:]) >= 0 })
	if i == lo+n || !bytes.Equal(x.name(i), h[:]) {
		return 0, false
	}
	return x.offsets[i], true
}

func (x *index) encode() []byte {
	b := make([]byte, 0, len(indexMagic)+4*256+x.len()*(hashSize+8)+2*sha1.Size)
	b = append(b, indexMagic...)
	for _, n := range x.fanout {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	b = append(b, x.names...)
	for _, c := range x.crcs {
		b = binary.BigEndian.AppendUint32(b, c)
	}
	for _, o := range x.offsets {
		b = binary.BigEndian.AppendUint32(b, o)
	}
	b = append(b, x.sum[:]...)
	sum := sha1.Sum(b)
	return append(b, sum[:]...)
}

// decodeIndex reads what encode wrote and accepts nothing else.
func decodeIndex(b []byte) (*index, error) {
	const head, tail = 8 + 4*256, 2 * sha1.Size
	n := (len(b) - head - tail) / (hashSize + 8)
	if len(b) < head+tail || len(b) != head+tail+n*(hashSize+8) || !bytes.HasPrefix(b, indexMagic) {
		return nil, errIndex
	}
	if sum := sha1.Sum(b[:len(b)-sha1.Size]); !bytes.Equal(sum[:], b[len(b)-sha1.Size:]) {
		return nil, errIndex
	}
	x := &index{names: b[head : head+n*hashSize], sum: [sha1.Size]byte(b[len(b)-tail:])}
	last := uint32(0)
	for i := range x.fanout {
		x.fanout[i] = binary.BigEndian.Uint32(b[8+4*i:])
		if x.fanout[i] < last || x.fanout[i] > uint32(n) {
			return nil, errIndex
		}
		last = x.fanout[i]
	}
	if last != uint32(n) {
		return nil, errIndex
	}
	crcs := b[head+n*hashSize:]
	for i := range n {
		x.crcs = append(x.crcs, binary.BigEndian.Uint32(crcs[4*i:]))
		x.offsets = append(x.offsets, binary.BigEndian.Uint32(crcs[4*(n+i):]))
	}
	return x, nil
}
