package source

import (
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// A tap reads a stream and accounts for what is consumed, and no more: it
// copies it to the pack's file, sums it and counts it.
type tap struct {
	src    io.Reader
	file   io.Writer
	sum    hash.Hash
	crc    uint32
	buf    [32 << 10]byte
	start  int // of the consumed bytes that are not accounted for yet
	pos    int
	end    int
	offset int64 // of start
	limit  int64
	err    error
}

func (t *tap) consumed() int64 { return t.offset + int64(t.pos-t.start) }

// account passes on what was consumed since the last call.
func (t *tap) account() error {
	b := t.buf[t.start:t.pos]
	t.start, t.offset = t.pos, t.offset+int64(len(b))
	if t.offset > t.limit {
		return limitExceeded("the pack is larger than %d bytes", t.limit)
	}
	t.crc = crc32.Update(t.crc, crc32.IEEETable, b)
	t.sum.Write(b)
	if _, err := t.file.Write(b); err != nil {
		return fmt.Errorf("write the pack: %w", err)
	}
	return nil
}

func (t *tap) fill() error {
	if t.err == nil {
		t.err = t.account()
	}
	if t.err != nil {
		return t.err
	}
	t.start, t.pos, t.end = 0, 0, 0
	for tries := 0; t.end == 0 && t.err == nil; tries++ {
		if tries == 100 {
			return io.ErrNoProgress
		}
		t.end, t.err = t.src.Read(t.buf[:])
	}
	if t.end > 0 {
		return nil
	}
	return t.err
}

func (t *tap) ReadByte() (byte, error) {
	if t.pos == t.end {
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
	t.pos++
	return t.buf[t.pos-1], nil
}

func (t *tap) Read(p []byte) (int, error) {
	if t.pos == t.end {
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.buf[t.pos:t.end])
	t.pos += n
	return n, nil
}
