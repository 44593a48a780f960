package desired

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"
)

// A Digest identifies a normalised object apart from what is left to others.
type Digest [sha256.Size]byte

// Digest digests a normalised object without what the mask leaves to others. Two
// objects with one digest have no [Mask.Diff]; the converse holds but for lists
// that may shrink, and is for Diff to find out.
func (m *Mask) Digest(obj map[string]any) Digest {
	e := encoders.Get().(*encoder)
	e.buf = e.buf[:0]
	e.object(m.top(), obj)
	d := Digest(sha256.Sum256(e.buf))
	clear(e.buf) // it may have held a Secret
	encoders.Put(e)
	return d
}

var encoders = sync.Pool{New: func() any { return &encoder{buf: make([]byte, 0, 8<<10)} }}

// An encoder writes values in a form of its own in which different values
// differ: a tag, the length, the content.
type encoder struct {
	buf  []byte
	keys []string // a stack: every object being written owns a part of it
}

func (e *encoder) size(tag byte, n int) {
	e.buf = binary.AppendUvarint(append(e.buf, tag), uint64(n))
}

func (e *encoder) text(tag byte, s string) {
	e.size(tag, len(s))
	e.buf = append(e.buf, s...)
}

func (e *encoder) object(n *node, m map[string]any) {
	start := len(e.keys)
	for k, v := range m {
		if b := n.below(k); b == nil || !b.open && !hidden(b, v) {
			e.keys = append(e.keys, k)
		}
	}
	end := len(e.keys)
	slices.Sort(e.keys[start:end])
	e.size('{', end-start)
	for i := start; i < end; i++ {
		k := e.keys[i]
		e.text('k', k)
		e.value(n.below(k), m[k])
	}
	e.keys = e.keys[:start]
}

func (e *encoder) value(n *node, v any) {
	if n != nil && n.slot && allocated(v, v) {
		e.class(v)
		return
	}
	switch v := v.(type) {
	case nil:
		e.buf = append(e.buf, '0')
	case bool:
		if v {
			e.buf = append(e.buf, 't')
		} else {
			e.buf = append(e.buf, 'f')
		}
	case string:
		e.text('s', v)
	case map[string]any:
		e.object(n, v)
	case []any:
		v = withoutTokens(n, v)
		e.size('[', len(v))
		for i, item := range v {
			e.value(n.item(i), item)
		}
	default:
		e.number(v)
	}
}

func (e *encoder) number(v any) {
	x, ok := number(v)
	switch {
	case !ok: // no JSON decoder makes it
		e.text('?', fmt.Sprintf("%T:%v", v, v))
	case x.f != 0:
		e.buf = binary.BigEndian.AppendUint64(append(e.buf, 'd'), math.Float64bits(x.f))
	default:
		e.buf = binary.AppendVarint(append(e.buf, 'i'), x.i)
	}
}

// class writes what all values of a slot have in common.
func (e *encoder) class(v any) {
	if l, ok := v.([]any); ok {
		e.size('S', len(l))
		return
	}
	if _, ok := v.(string); ok {
		e.buf = append(e.buf, 'A')
		return
	}
	e.buf = append(e.buf, 'N')
}
