package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"gitgate.dev/gitgate/policy/report"
)

// An indexEntry is a path that is staged.
type indexEntry struct {
	name        string
	mode        filemode.FileMode
	hash        plumbing.Hash
	intentToAdd bool
}

// Bounds of an index. Names are bounded in all because version 4 shares prefixes,
// so that a small file can say many long ones.
const (
	maxIndexEntries   = 2_000_000
	maxIndexName      = 4096 // PATH_MAX
	maxIndexNameBytes = 512 << 20
)

var errIndexCut = errors.New("ends before it should: it is damaged")

// parseIndex reads an index of version 2, 3 or 4 (gitformat-index(5)). It is read
// here rather than by go-git because that bounds nothing, refuses an index without
// checksum (index.skipHash), and does not say which extension it lacks.
//
// A sparse index is read. One that is split, or holds an unresolved conflict, is an
// error that says what to do.
func parseIndex(raw []byte) ([]indexEntry, error) {
	if err := checkIndex(raw); err != nil {
		return nil, err
	}
	version, count := binary.BigEndian.Uint32(raw[4:]), binary.BigEndian.Uint32(raw[8:])
	switch {
	case version < 2 || version > 4:
		return nil, fmt.Errorf("is of version %d: versions 2 to 4 are known", version)
	case count > maxIndexEntries:
		return nil, fmt.Errorf("holds %d entries, more than %d", count, maxIndexEntries)
	}
	p := indexParser{rest: raw[12 : len(raw)-sha1.Size], version: version}
	var entries []indexEntry
	for range count {
		e, err := p.entry()
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, p.extensions()
}

// checkIndex checks the frame of an index: a header of 12 bytes, and the SHA-1 of
// all before at the end, or zeros where git was told to leave that out.
func checkIndex(raw []byte) error {
	if len(raw) < 12+sha1.Size {
		return errIndexCut
	}
	if string(raw[:4]) != "DIRC" {
		return errors.New("is none: it does not begin with DIRC")
	}
	body, sum := raw[:len(raw)-sha1.Size], raw[len(raw)-sha1.Size:]
	if got := sha1.Sum(body); !bytes.Equal(sum, got[:]) && !bytes.Equal(sum, make([]byte, sha1.Size)) {
		return errors.New("does not fit its checksum: it is damaged")
	}
	return nil
}

type indexParser struct {
	rest     []byte
	version  uint32
	previous string // name, of which version 4 takes the beginning
	names    int    // bytes of all names
}

// Flags of an entry, and of its extension.
const (
	indexExtended    = 1 << 14
	indexStage       = 3 << 12
	indexIntentToAdd = 1 << 13
	indexFixedBytes  = 62 // of an entry before its name
)

func (p *indexParser) entry() (e indexEntry, err error) {
	if len(p.rest) < indexFixedBytes {
		return e, errIndexCut
	}
	e.mode = filemode.FileMode(binary.BigEndian.Uint32(p.rest[24:]))
	copy(e.hash[:], p.rest[40:60])
	flags := binary.BigEndian.Uint16(p.rest[60:])
	fixed := indexFixedBytes
	if flags&indexExtended != 0 {
		if fixed += 2; p.version < 3 || len(p.rest) < fixed {
			return e, errIndexCut
		}
		e.intentToAdd = binary.BigEndian.Uint16(p.rest[62:])&indexIntentToAdd != 0
	}
	if e.name, err = p.name(fixed); err != nil {
		return e, err
	}
	switch e.mode {
	case filemode.Regular, filemode.Executable, filemode.Symlink, filemode.Submodule, filemode.Dir:
	default:
		return e, fmt.Errorf("%s has the mode %o, which is none of git's", report.Printable(e.name), uint32(e.mode))
	}
	if flags&indexStage != 0 {
		return e, fmt.Errorf("%s is in conflict: resolve it and git add it first", report.Printable(e.name))
	}
	return e, nil
}

// name reads the name that follows after so many bytes of an entry, and moves on.
func (p *indexParser) name(fixed int) (string, error) {
	rest, shared := p.rest[fixed:], ""
	if p.version == 4 {
		strip, n := indexOffset(rest)
		if n == 0 || strip > len(p.previous) {
			return "", errIndexCut
		}
		rest, shared = rest[n:], p.previous[:len(p.previous)-strip]
	}
	end := bytes.IndexByte(rest, 0)
	if end < 0 {
		return "", errIndexCut
	}
	own := rest[:end]
	p.names += len(shared) + len(own)
	if len(shared)+len(own) > maxIndexName || p.names > maxIndexNameBytes {
		return "", fmt.Errorf("holds a name of more than %d bytes, or more than %d bytes of names", maxIndexName, maxIndexNameBytes)
	}
	if p.version == 4 {
		p.rest = rest[end+1:]
	} else {
		// One to eight zeros make the entry a multiple of eight bytes.
		size := (fixed + end + 8) &^ 7
		if len(p.rest) < size {
			return "", errIndexCut
		}
		p.rest = p.rest[size:]
	}
	p.previous = shared + string(own)
	return p.previous, nil
}

// indexOffset reads a number as gitformat-pack(5) encodes offsets, and returns how
// many bytes it took; none if it is not one that an index can hold.
func indexOffset(b []byte) (value, n int) {
	for n < len(b) && n < 4 {
		c := int(b[n])
		value |= c & 0x7f
		if n++; c&0x80 == 0 {
			return value, n
		}
		value = (value + 1) << 7
	}
	return 0, 0
}

// extensions looks for those without which the entries mean something else: they
// begin with a small letter.
func (p *indexParser) extensions() error {
	for len(p.rest) > 0 {
		if len(p.rest) < 8 {
			return errIndexCut
		}
		name, size := string(p.rest[:4]), uint64(binary.BigEndian.Uint32(p.rest[4:]))
		if uint64(len(p.rest)-8) < size {
			return errIndexCut
		}
		p.rest = p.rest[8+size:]
		switch {
		case name == "link":
			return errors.New("is split, which is not supported: git update-index --no-split-index puts it together")
		case name == "sdir", name[0] >= 'A' && name[0] <= 'Z':
		default:
			return fmt.Errorf("has the extension %q, which this gitgate does not know", name)
		}
	}
	return nil
}
