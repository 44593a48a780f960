package source

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"io"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// resolveDeltas makes every object that is stored as a delta, to learn its
// name. It goes depth first, so that a base is at hand when it is needed.
func (x *indexer) resolveDeltas() error {
	var stack []int32
	for i := range x.entries {
		if x.entries[i].delta {
			continue
		}
		x.adopt(int32(i))
		for stack = x.pushChildren(stack[:0], int32(i)); len(stack) > 0; {
			next := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if err := x.ctx.Err(); err != nil {
				return unavailable("%w", err)
			}
			if err := x.resolve(next); err != nil {
				return err
			}
			stack = x.pushChildren(stack, next)
		}
		x.bases.clear()
	}
	for i := range x.entries {
		if !x.entries[i].done {
			return malformed("the pack holds a delta whose base it does not hold")
		}
	}
	return nil
}

// adopt links the deltas that name an entry by its hash.
func (x *indexer) adopt(i int32) {
	e := &x.entries[i]
	first, ok := x.byBaseHash[e.hash]
	if !ok {
		return
	}
	delete(x.byBaseHash, e.hash)
	for c := first; c != none; {
		next := x.entries[c].next
		x.entries[c].base, x.entries[c].next = i, e.child
		e.child, c = c, next
	}
}

func (x *indexer) pushChildren(stack []int32, i int32) []int32 {
	for c := x.entries[i].child; c != none; c = x.entries[c].next {
		stack = append(stack, c)
	}
	return stack
}

func (x *indexer) resolve(i int32) error {
	e := &x.entries[i]
	base := &x.entries[e.base]
	if int(base.depth) >= x.limits.DeltaDepth {
		return limitExceeded("the pack holds a chain of more than %d deltas", x.limits.DeltaDepth)
	}
	data, err := x.content(i)
	if err != nil {
		return err
	}
	if uint64(base.chain)+uint64(len(data)) > maxChainBytes {
		return limitExceeded("the pack holds a chain of deltas of more than %d bytes", maxChainBytes)
	}
	e.depth, e.chain, e.kind = base.depth+1, base.chain+uint32(len(data)), base.kind
	e.hash, e.done = plumbing.ComputeHash(e.kind, data), true
	if err := x.addObject(e.hash, e.kind, data); err != nil {
		return err
	}
	x.adopt(i)
	if e.child != none {
		x.bases.put(i, data)
	}
	return nil
}

// content makes an entry's object, from the nearest base that is still at hand.
func (x *indexer) content(i int32) ([]byte, error) {
	var chain []int32
	data, ok := x.bases.data[i]
	for !ok && x.entries[i].delta {
		chain = append(chain, i)
		i = x.entries[i].base
		data, ok = x.bases.data[i]
	}
	if !ok {
		var err error
		if data, err = x.reread(i); err != nil {
			return nil, err
		}
		x.bases.put(i, data)
	}
	for n := len(chain) - 1; n >= 0; n-- {
		delta, err := x.reread(chain[n])
		if err != nil {
			return nil, err
		}
		if data, err = applyDelta(data, delta, x.limits.ObjectBytes); err != nil {
			return nil, err
		}
		if x.inflated += int64(len(data)); x.inflated > x.limits.InflatedBytes {
			return nil, limitExceeded("the pack inflates to more than %d bytes", x.limits.InflatedBytes)
		}
	}
	return data, nil
}

// reread inflates an entry's data again, from the file.
func (x *indexer) reread(i int32) ([]byte, error) {
	e := &x.entries[i]
	r := io.NewSectionReader(x.file, int64(e.data), x.tap.consumed()-int64(e.data))
	data, err := inflate(r, int64(e.size))
	if err != nil {
		return nil, err
	}
	x.inflated += int64(len(data))
	return data, nil
}

// inflaters are zlib readers to be used again: their tables take longer to make
// than most objects take to inflate.
var inflaters sync.Pool

// inflate reads one zlib stream that must hold exactly size bytes.
func inflate(r io.Reader, size int64) ([]byte, error) {
	z, ok := inflaters.Get().(io.ReadCloser)
	var err error
	if ok {
		err = z.(zlib.Resetter).Reset(r, nil)
	} else {
		z, err = zlib.NewReader(r)
	}
	if err != nil {
		return nil, err
	}
	defer inflaters.Put(z)
	var b bytes.Buffer
	// The buffer grows with what is there, not with what is promised.
	b.Grow(int(min(size, 64<<10)) + bytes.MinRead)
	if _, err := b.ReadFrom(io.LimitReader(z, size+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) != size {
		return nil, malformed("an object is not of its declared size of %d bytes", size)
	}
	return b.Bytes(), nil
}

// applyDelta makes an object from its base, of at most limit bytes.
func applyDelta(base, delta []byte, limit int64) ([]byte, error) {
	baseSize, resultSize, err := deltaSizes(delta)
	if err != nil {
		return nil, err
	}
	if baseSize != uint64(len(base)) {
		return nil, malformed("a delta is for a base of another size")
	}
	if resultSize > uint64(limit) {
		return nil, limitExceeded("a delta makes an object of %d bytes, more than %d", resultSize, limit)
	}
	data, err := packfile.PatchDelta(base, delta)
	if err != nil {
		return nil, malformed("a delta cannot be applied: %w", err)
	}
	return data, nil
}

// isZlib reports whether an error says that compressed data is wrong.
func isZlib(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.As(err, &corrupt) || errors.Is(err, zlib.ErrChecksum) || errors.Is(err, zlib.ErrHeader) || errors.Is(err, zlib.ErrDictionary)
}

// maxBaseBytes bounds the cache of delta bases while a pack is indexed. A base
// that was dropped is made again.
const maxBaseBytes = 96 << 20

// A baseCache keeps the objects that deltas were made from most recently.
type baseCache struct {
	data  map[int32][]byte
	order []int32 // oldest first; depth first, that is the outermost
	size  int
}

func (c *baseCache) put(i int32, data []byte) {
	if _, ok := c.data[i]; ok || len(data) > maxBaseBytes/2 {
		return
	}
	c.data[i] = data
	c.order = append(c.order, i)
	for c.size += len(data); c.size > maxBaseBytes; c.order = c.order[1:] {
		c.size -= len(c.data[c.order[0]])
		delete(c.data, c.order[0])
	}
}

func (c *baseCache) clear() {
	if len(c.order) == 0 {
		return
	}
	clear(c.data)
	c.order, c.size = c.order[:0], 0
}
