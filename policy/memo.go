package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policy/verdict"
)

// Bounds of what an engine remembers, for each of two generations.
const (
	maxRemembered      = 16 << 10
	maxRememberedBytes = 8 << 20
	// rememberedOverhead is what one remembered entry takes beside its texts.
	rememberedOverhead = 128
)

// A memo remembers what rules said. A rule that reads the same says the same:
// there is no clock but input.time, no chance and no state in an evaluation. So an answer is
// kept by all that the rule reads, and a Pod that has a new name gets the answers
// of its brothers from every rule that does not look at names. Only answers that
// were found without any trouble are kept, never a timeout or an error.
//
// The memory is bounded: when a generation is full it becomes the old one, and
// the former old one is dropped.
type memo struct {
	mu         sync.Mutex
	young, old map[memoKey][]said
	bytes      int // of young
}

// A memoKey stands for a rule and what it reads. It is made by a hash for which
// nobody can find two inputs: otherwise the verdict on one object could be had
// for another one.
type memoKey [sha256.Size]byte

// A said is one finding of a rule without the place of the object.
type said struct {
	severity       verdict.Severity
	message, field string
}

func newMemo() *memo { return &memo{young: map[memoKey][]said{}} }

func (m *memo) get(k memoKey) ([]said, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.young[k]
	if !ok {
		if s, ok = m.old[k]; !ok {
			return nil, false
		}
		m.store(k, s)
	}
	return s, true
}

// put remembers findings. Their texts are copied: they may share memory with the
// whole object.
func (m *memo) put(k memoKey, findings []verdict.Finding) {
	var s []said
	for _, f := range findings {
		s = append(s, said{f.Severity, strings.Clone(f.Message), strings.Clone(f.Field)})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store(k, s)
}

// sizeOf estimates what an answer takes.
func sizeOf(s []said) int {
	size := rememberedOverhead
	for _, f := range s {
		size += rememberedOverhead + len(f.message) + len(f.field)
	}
	return size
}

func (m *memo) store(k memoKey, s []said) {
	size := sizeOf(s)
	if len(m.young) >= maxRemembered || m.bytes+size > maxRememberedBytes {
		m.old, m.young, m.bytes = m.young, map[memoKey][]said{}, 0
	}
	if size <= maxRememberedBytes {
		m.young[k] = s
		m.bytes += size
	}
}

// memoContext is what no answer is kept by: who asks and what for is hardly ever
// the same twice.
var memoContext = []string{"userInfo", "commit", "images", "source", "time", inventoryKey, fileKey}

// memorable reports whether answers of a rule that reads this may be kept.
func (p *readPaths) memorable() bool {
	if p.all {
		return false
	}
	for _, key := range memoContext {
		if p.key(key) != nil {
			return false
		}
	}
	return true
}

// luck says whether looking for the answer of a rule pays: where everything that
// a rule reads is new each time, making keys is a waste. It changes no answer.
type luck struct{ turns, asked, known atomic.Int32 }

// The answers of a rule are looked for as long as one in luckAtLeast is known, and
// one time in luckSample otherwise: habits change.
const (
	luckAtLeast = 16
	luckSample  = 16
	luckWindow  = 4096
)

// try reports whether to look.
func (l *luck) try() bool {
	turn, asked, known := l.turns.Add(1), l.asked.Load(), l.known.Load()
	if asked >= luckWindow/luckSample && known*luckAtLeast < asked && turn%luckSample != 0 {
		return false
	}
	if l.asked.Add(1) >= luckWindow { // forget half; what is lost when two do so at once is little
		l.asked.Store(asked / 2)
		l.known.Store(known / 2)
	}
	return true
}

func (l *luck) hit() { l.known.Add(1) }

// keyOf makes the key of a rule and an input, in buf. The set counts by its name,
// which no other set of the engine has: compiled sets are shared between engines,
// so they have no number.
func keyOf(buf []byte, set string, entry int, reads *readPaths, items [][2]*ast.Term) (memoKey, []byte) {
	buf = appendText(buf[:0], 's', set)
	buf = binary.AppendUvarint(buf, uint64(entry))
	for _, item := range items {
		if below := reads.key(string(item[0].Value.(ast.String))); below != nil {
			buf = below.append(appendText(buf, 's', string(item[0].Value.(ast.String))), item[1])
		}
	}
	return sha256.Sum256(buf), buf
}

// append writes what is read of a value, so that different values are written in
// different ways. Every value begins with its type and tells where it ends.
func (p *readPaths) append(buf []byte, t *ast.Term) []byte {
	switch v := t.Value.(type) {
	case ast.String:
		return appendText(buf, 's', string(v))
	case ast.Number:
		return appendText(buf, 'n', string(v))
	case ast.Boolean:
		if v {
			return append(buf, 't')
		}
		return append(buf, 'f')
	case ast.Null:
		return append(buf, '0')
	case ast.Object:
		buf = append(buf, '{')
		v.Foreach(func(k, m *ast.Term) { // in the order of the keys
			key := string(k.Value.(ast.String))
			if below := p.key(key); below != nil {
				buf = below.append(appendText(buf, 's', key), m)
			}
		})
		return append(buf, '}')
	case *ast.Array:
		buf = append(buf, '[')
		if below := p.element(); below != nil {
			v.Foreach(func(e *ast.Term) { buf = below.append(buf, e) })
		}
		return append(buf, ']')
	}
	panic("policy: a value that JSON does not have") // the decoder makes none
}

func appendText(buf []byte, kind byte, s string) []byte {
	buf = binary.AppendUvarint(append(buf, kind), uint64(len(s)))
	return append(buf, s...)
}
