package source

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"io"
	"math"

	"github.com/go-git/go-git/v5/plumbing"
)

// An entry is one object of a pack while it is being indexed.
type entry struct {
	hash   plumbing.Hash
	offset uint32 // of the entry's header
	data   uint32 // of its compressed data
	crc    uint32
	size   uint32 // inflated: of the object, or of the delta
	kind   plumbing.ObjectType
	delta  bool
	done   bool // hash and kind are known
	depth  uint16
	chain  uint32 // bytes of all objects in the chain of deltas
	base   int32  // index of the base once known, else none
	child  int32  // first delta upon this entry, else none
	next   int32  // next delta upon the same base, else none
}

const none = -1

// An indexer reads one pack from the network, writes it to a file and learns
// the name of every object in it, all under limits. Memory is bounded by
// Objects, a few times ObjectBytes and the cache of delta bases.
type indexer struct {
	ctx     context.Context
	limits  Limits
	has     func(plumbing.Hash) bool // objects that the store has already
	file    packFile
	tap     *tap
	zlib    io.ReadCloser
	entries []entry
	// byBaseHash has the deltas that wait for an object of that name.
	byBaseHash map[plumbing.Hash]int32
	known      map[plumbing.Hash]struct{}
	// missing are objects that others name and that were not seen yet.
	missing  map[plumbing.Hash]plumbing.Hash
	declared int
	inflated int64
	bases    baseCache
	sum      [sha1.Size]byte
}

// packFile is what a pack is written to and read back from.
type packFile interface {
	io.Writer
	io.ReaderAt
}

// indexPack copies the pack in src to file and indexes it. It accepts a pack
// that stands alone and after which the store is closed; see [verifyClosed].
func indexPack(ctx context.Context, src io.Reader, file packFile, l Limits, has func(plumbing.Hash) bool) (*index, error) {
	x := &indexer{
		ctx: ctx, limits: l, has: has, file: file,
		tap:        &tap{src: src, file: file, sum: sha1.New(), limit: l.PackBytes},
		byBaseHash: map[plumbing.Hash]int32{}, known: map[plumbing.Hash]struct{}{}, missing: map[plumbing.Hash]plumbing.Hash{},
		bases: baseCache{data: map[int32][]byte{}},
	}
	for _, step := range []func() error{x.readHeader, x.readEntries, x.readTrailer, x.resolveDeltas, x.verifyClosed} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return newIndex(x.entries, x.sum), nil
}

func (x *indexer) readHeader() error {
	var head [12]byte
	if _, err := io.ReadFull(x.tap, head[:]); err != nil {
		return x.streamError(err)
	}
	if string(head[:4]) != "PACK" || binary.BigEndian.Uint32(head[4:8]) != 2 {
		return malformed("the server sent no pack of version 2")
	}
	n := binary.BigEndian.Uint32(head[8:])
	if uint64(n) > uint64(x.limits.Objects) {
		return limitExceeded("the pack has %d objects, more than %d", n, x.limits.Objects)
	}
	x.declared = int(n)
	return nil
}

func (x *indexer) readEntries() error {
	for range x.declared {
		if err := x.ctx.Err(); err != nil {
			return unavailable("%w", err)
		}
		if err := x.readEntry(); err != nil {
			return err
		}
	}
	return nil
}

// readEntry reads one entry (gitformat-pack(5)).
func (x *indexer) readEntry() error {
	if err := x.tap.account(); err != nil {
		return err
	}
	x.tap.crc = 0
	e := entry{offset: uint32(x.tap.consumed()), base: none, child: none, next: none}
	kind, size, err := readEntryHeader(x.tap)
	if err != nil {
		return x.streamError(err)
	}
	if size > uint64(x.limits.ObjectBytes) {
		return limitExceeded("the pack holds an object of %d bytes, more than %d", size, x.limits.ObjectBytes)
	}
	e.kind, e.size = kind, uint32(size)
	switch kind {
	case plumbing.OFSDeltaObject:
		if e.base, err = x.readOffset(e.offset); err != nil {
			return err
		}
		e.delta = true
	case plumbing.REFDeltaObject:
		var base plumbing.Hash
		if _, err := io.ReadFull(x.tap, base[:]); err != nil {
			return x.streamError(err)
		}
		e.delta = true
		e.next = none
		if first, ok := x.byBaseHash[base]; ok {
			e.next = first
		}
		x.byBaseHash[base] = int32(len(x.entries))
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
	default:
		return malformed("the pack holds an entry of the unknown type %d", kind)
	}
	e.data = uint32(x.tap.consumed())
	if err := x.readContent(&e); err != nil {
		return err
	}
	if err := x.tap.account(); err != nil {
		return err
	}
	e.crc = x.tap.crc
	x.entries = append(x.entries, e)
	if i := int32(len(x.entries) - 1); kind == plumbing.OFSDeltaObject {
		base := &x.entries[e.base]
		x.entries[i].next, base.child = base.child, i
	}
	return nil
}

// readOffset reads how far back the base of a delta is and finds its entry.
func (x *indexer) readOffset(at uint32) (int32, error) {
	back, err := readBackOffset(x.tap)
	if err != nil {
		return none, x.streamError(err)
	}
	if back == 0 || back > uint64(at) {
		return none, malformed("a delta's base is outside of the pack")
	}
	want := at - uint32(back)
	lo, hi := 0, len(x.entries)
	for lo < hi {
		if mid := (lo + hi) / 2; x.entries[mid].offset < want {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(x.entries) || x.entries[lo].offset != want {
		return none, malformed("a delta's base is no entry of the pack")
	}
	return int32(lo), nil
}

// readContent inflates an entry and requires that it is as long as declared.
func (x *indexer) readContent(e *entry) error {
	if x.zlib == nil {
		z, err := zlib.NewReader(x.tap)
		if err != nil {
			return x.streamError(err)
		}
		x.zlib = z
	} else if err := x.zlib.(zlib.Resetter).Reset(x.tap, nil); err != nil {
		return x.streamError(err)
	}
	var kept bytes.Buffer
	var sink io.Writer
	var hasher plumbing.Hasher
	if !e.delta {
		hasher = plumbing.NewHasher(e.kind, int64(e.size))
		if sink = hasher; e.kind != plumbing.BlobObject {
			sink = io.MultiWriter(hasher, &kept)
		}
	} else {
		sink = &headWriter{&kept}
	}
	if err := x.inflateTo(sink, x.zlib, int64(e.size)); err != nil {
		return err
	}
	if e.delta {
		return x.checkDeltaHeader(kept.Bytes())
	}
	e.hash, e.done, e.chain = hasher.Sum(), true, e.size
	return x.addObject(e.hash, e.kind, kept.Bytes())
}

// headWriter keeps the first bytes of a delta: its two sizes.
type headWriter struct{ buf *bytes.Buffer }

func (w *headWriter) Write(p []byte) (int, error) {
	w.buf.Write(p[:min(len(p), 2*binary.MaxVarintLen64-w.buf.Len())])
	return len(p), nil
}

// checkDeltaHeader refuses a delta whose result would be too large, before
// anything is allocated for it (CVE-2026-33762).
func (x *indexer) checkDeltaHeader(delta []byte) error {
	_, result, err := deltaSizes(delta)
	if err != nil {
		return err
	}
	if result > uint64(x.limits.ObjectBytes) {
		return limitExceeded("the pack holds an object of %d bytes, more than %d", result, x.limits.ObjectBytes)
	}
	return nil
}

func deltaSizes(delta []byte) (base, result uint64, err error) {
	base, n := binary.Uvarint(delta)
	if n <= 0 {
		return 0, 0, malformed("a delta has no valid header")
	}
	result, m := binary.Uvarint(delta[n:])
	if m <= 0 {
		return 0, 0, malformed("a delta has no valid header")
	}
	return base, result, nil
}

// inflateTo copies exactly size bytes and requires the end after them.
func (x *indexer) inflateTo(w io.Writer, r io.Reader, size int64) error {
	n, err := io.Copy(w, io.LimitReader(r, size+1))
	if x.inflated += n; x.inflated > x.limits.InflatedBytes {
		return limitExceeded("the pack inflates to more than %d bytes", x.limits.InflatedBytes)
	}
	if err != nil {
		return x.streamError(err)
	}
	if n != size {
		return malformed("an object is not of its declared size of %d bytes", size)
	}
	return nil
}

func (x *indexer) readTrailer() error {
	if err := x.tap.account(); err != nil {
		return err
	}
	want := x.tap.sum.Sum(nil)
	if _, err := io.ReadFull(x.tap, x.sum[:]); err != nil {
		return x.streamError(err)
	}
	if !bytes.Equal(x.sum[:], want) {
		return malformed("the pack's checksum is wrong")
	}
	if err := x.tap.account(); err != nil {
		return err
	}
	if _, err := x.tap.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			return malformed("the pack has data after its end")
		}
		return x.streamError(err)
	}
	return nil
}

// streamError tells a stream that broke from one whose content is wrong.
func (x *indexer) streamError(err error) error {
	var p *problem
	switch {
	case errors.As(err, &p):
		return err
	case x.tap.err != nil && !errors.Is(x.tap.err, io.EOF):
		return x.tap.err
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return malformed("the pack ends early")
	case errors.Is(err, errNumber), isZlib(err):
		return malformed("the pack is damaged: %w", err)
	}
	return err
}

// errNumber means a variable-length number of more than 64 bits.
var errNumber = errors.New("number too large")

// readEntryHeader reads an entry's type and inflated size.
func readEntryHeader(r io.ByteReader) (plumbing.ObjectType, uint64, error) {
	c, err := r.ReadByte()
	if err != nil {
		return 0, 0, err
	}
	kind, size := plumbing.ObjectType(c>>4&7), uint64(c&15)
	for shift := 4; c&0x80 != 0; shift += 7 {
		if c, err = r.ReadByte(); err != nil {
			return 0, 0, err
		}
		if shift > 56 { // no real object needs more
			return 0, 0, errNumber
		}
		size |= uint64(c&0x7f) << shift
	}
	return kind, size, nil
}

// readBackOffset reads the distance from a delta to its base.
func readBackOffset(r io.ByteReader) (uint64, error) {
	c, err := r.ReadByte()
	if err != nil {
		return 0, err
	}
	n := uint64(c & 0x7f)
	for c&0x80 != 0 {
		if c, err = r.ReadByte(); err != nil {
			return 0, err
		}
		if n > math.MaxUint32 {
			return 0, errNumber
		}
		n = (n+1)<<7 | uint64(c&0x7f)
	}
	return n, nil
}
