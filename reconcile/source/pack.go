package source

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
)

const (
	packSuffix  = ".pack"
	indexSuffix = ".idx"
	packHeader  = 12
)

// A pack is an open pack of the store. It never changes. Its file may have been
// unlinked since; it is closed when nothing refers to it any more, by the
// finalizer that os.File has.
type pack struct {
	*index
	name string // pack-<checksum>
	file *os.File
	size int64
}

// errDamaged means that the store is not what was written to it.
var errDamaged = errors.New("the local clone is damaged")

func damaged(format string, args ...any) error {
	return problemf(HashMismatch, "%w: %s", errDamaged, fmt.Sprintf(format, args...))
}

func packName(sum []byte) string { return "pack-" + hex.EncodeToString(sum) }

// openPack opens a pack of the directory. With verify, it reads the whole pack
// and requires that its checksum is right.
func openPack(dir, name string, verify bool) (_ *pack, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, name+indexSuffix))
	if err != nil {
		return nil, err
	}
	x, err := decodeIndex(raw)
	if err != nil || packName(x.sum[:]) != name {
		return nil, damaged("index of %s", name)
	}
	file, err := os.Open(filepath.Join(dir, name+packSuffix))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeQuietly(file)
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	p := &pack{index: x, name: name, file: file, size: info.Size()}
	if info.Size() < packHeader+sha1.Size {
		return nil, damaged("%s is cut short", name)
	}
	if verify {
		return p, p.verify()
	}
	return p, nil
}

func (p *pack) verify() error {
	sum := sha1.New()
	if _, err := io.Copy(sum, io.NewSectionReader(p.file, 0, p.size-sha1.Size)); err != nil {
		return err
	}
	trailer := make([]byte, sha1.Size)
	if _, err := p.file.ReadAt(trailer, p.size-sha1.Size); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), trailer) || !bytes.Equal(trailer, p.sum[:]) {
		return damaged("checksum of %s", p.name)
	}
	return nil
}

// A stored is an object as the store holds it.
type stored struct {
	kind plumbing.ObjectType
	data []byte
	// hashed says that data was found to have the name it was asked for by.
	hashed bool
}

// A rawEntry is an entry of a pack, inflated: an object or a delta.
type rawEntry struct {
	kind plumbing.ObjectType
	base uint32 // offset of a delta's base
	data []byte
}

// header reads an entry's type, size and base, and returns where its data
// starts.
func (p *pack) header(at uint32) (kind plumbing.ObjectType, size int64, base uint32, data int64, err error) {
	section := io.NewSectionReader(p.file, int64(at), p.size-int64(at))
	r := bufio.NewReaderSize(section, 64)
	kind, n, err := readEntryHeader(r)
	if err != nil || n > maxObjectBytes {
		return 0, 0, 0, 0, damaged("entry %d of %s", at, p.name)
	}
	switch kind {
	case plumbing.OFSDeltaObject:
		back, err := readBackOffset(r)
		if err != nil || back == 0 || back > uint64(at) {
			return 0, 0, 0, 0, damaged("entry %d of %s", at, p.name)
		}
		base = at - uint32(back)
	case plumbing.REFDeltaObject:
		var h plumbing.Hash
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return 0, 0, 0, 0, damaged("entry %d of %s", at, p.name)
		}
		var ok bool
		if base, ok = p.find(h); !ok {
			return 0, 0, 0, 0, damaged("entry %d of %s", at, p.name)
		}
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
	default:
		return 0, 0, 0, 0, damaged("entry %d of %s", at, p.name)
	}
	position, err := section.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, 0, 0, 0, err
	}
	return kind, int64(n), base, int64(at) + position - int64(r.Buffered()), nil
}

func (p *pack) entry(at uint32) (rawEntry, error) {
	kind, size, base, start, err := p.header(at)
	if err != nil {
		return rawEntry{}, err
	}
	data, err := inflate(bufio.NewReader(io.NewSectionReader(p.file, start, p.size-start)), size)
	if err != nil {
		return rawEntry{}, damaged("entry %d of %s: %v", at, p.name, err)
	}
	return rawEntry{kind, base, data}, nil
}

// read makes the object at an offset. Deltas were bounded when the pack was
// indexed; the bounds here stop a damaged pack only.
func (p *pack) read(at uint32, cache *objectCache) (stored, error) {
	var deltas []rawEntry
	var offsets []uint32
	var object stored
	for {
		if hit, ok := cache.get(cacheKey{p, at}); ok {
			object = hit
			break
		}
		e, err := p.entry(at)
		if err != nil {
			return stored{}, err
		}
		if e.kind.IsDelta() {
			if len(deltas) > maxDeltaDepth {
				return stored{}, damaged("chain of deltas in %s", p.name)
			}
			deltas, offsets = append(deltas, e), append(offsets, at)
			at = e.base
			continue
		}
		object = stored{kind: e.kind, data: e.data}
		cache.put(cacheKey{p, at}, object)
		break
	}
	for i := len(deltas) - 1; i >= 0; i-- {
		data, err := applyDelta(object.data, deltas[i].data, maxObjectBytes)
		if err != nil {
			return stored{}, damaged("%v in %s", err, p.name)
		}
		object = stored{kind: object.kind, data: data}
		cache.put(cacheKey{p, offsets[i]}, object)
	}
	return object, nil
}

// kindOf returns the type of the object at an offset without making it.
func (p *pack) kindOf(at uint32) (plumbing.ObjectType, error) {
	for range maxDeltaDepth + 1 {
		kind, _, base, _, err := p.header(at)
		if err != nil || !kind.IsDelta() {
			return kind, err
		}
		at = base
	}
	return 0, damaged("chain of deltas in %s", p.name)
}
