package render

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"reflect"
	"strings"
	"sync"

	yamlv3 "go.yaml.in/yaml/v3"
)

// A sharer takes values from nodes and has equal ones be one: the objects of a tree
// repeat each other's labels, ports, probes and whole pod templates, and a mapping of one
// key takes as much memory as one of eight. Whoever changes an object changes a copy (see
// [Render]), so nobody can tell. Texts are copied once, so that a word does not hold on to
// the file that it is from.
//
// It is for the files of one rendering, and safe for concurrent use.
type sharer struct {
	mu   sync.Mutex
	seed maphash.Seed
	// values has one mapping or list by the hash of what it holds. Another one with the
	// same hash is not shared.
	values map[uint64]any
	texts  map[string]any // of strings
	items  []sharedItem   // of the collections that are being read
	most   int            // of values, and of texts
}

// maxShared bounds what is remembered, for a tree may be made of values that have
// nothing in common. What comes later is shared with what is remembered.
const maxShared = 300_000

// A sharedItem is a value, with the hash of its key where it has one.
type sharedItem struct {
	key   string
	value any
	hash  uint64
}

func newSharer() *sharer {
	return &sharer{seed: maphash.MakeSeed(), values: map[uint64]any{}, texts: map[string]any{}, most: maxShared}
}

// document returns the value of a document, or false if it is not simple. What it is
// called makes an object, and its metadata, like no other: only what is in them is shared.
func (s *sharer) document(n *yamlv3.Node) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.value(n, false)
	return s.own(i.value), ok
}

func (s *sharer) value(n *yamlv3.Node, share bool) (item sharedItem, ok bool) {
	if n.Anchor != "" || n.Alias != nil || n.Style&yamlv3.TaggedStyle != 0 {
		return item, false
	}
	first := len(s.items)
	switch n.Kind {
	case yamlv3.ScalarNode:
		item.value, ok = simpleScalar(n)
		item.hash = maphash.String(s.seed, n.Value)
	case yamlv3.SequenceNode:
		if ok = s.readList(n); ok {
			item = s.list(s.items[first:])
		}
	case yamlv3.MappingNode:
		if ok = s.readMapping(n, share); ok {
			item, ok = s.mapping(s.items[first:], share)
		}
	}
	s.items = s.items[:first]
	return item, ok
}

func (s *sharer) readList(n *yamlv3.Node) bool {
	for _, c := range n.Content {
		item, ok := s.value(c, true)
		if !ok {
			return false
		}
		s.items = append(s.items, item)
	}
	return true
}

func (s *sharer) readMapping(n *yamlv3.Node, share bool) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, ok := s.value(n.Content[i], true)
		text, isText := key.value.(string)
		if !ok || !isText {
			return false
		}
		item, ok := s.value(n.Content[i+1], share || text != "metadata")
		if !ok {
			return false
		}
		s.items = append(s.items, sharedItem{key: text, value: item.value, hash: mix(key.hash, item.hash)})
	}
	return true
}

// decoded does the same for a value that was taken from elsewhere.
func (s *sharer) decoded(v any) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own(s.again(v, false).value)
}

func (s *sharer) again(v any, share bool) (item sharedItem) {
	first := len(s.items)
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			item := s.again(e, share || key != "metadata")
			s.items = append(s.items, sharedItem{key: key, value: item.value, hash: mix(maphash.String(s.seed, key), item.hash)})
		}
		item, _ = s.mapping(s.items[first:], share) // no key is there twice
	case []any:
		for _, e := range v {
			s.items = append(s.items, s.again(e, true))
		}
		item = s.list(s.items[first:])
	case string:
		item = sharedItem{value: v, hash: maphash.String(s.seed, v)}
	default:
		item = sharedItem{value: v, hash: maphash.String(s.seed, fmt.Sprint(v))}
	}
	s.items = s.items[:first]
	return item
}

// mix makes one hash of two, in this order.
func mix(a, b uint64) uint64 {
	const odd = 0x9e3779b97f4a7c15 // as in Fibonacci hashing
	return (bits.RotateLeft64(a, 31) ^ b) * odd
}

func (s *sharer) list(items []sharedItem) sharedItem {
	hash := uint64(1)
	for i := range items {
		hash = mix(hash, items[i].hash)
	}
	known, taken := s.values[hash]
	if list, ok := known.([]any); ok && sameList(list, items) {
		return sharedItem{value: known, hash: hash}
	}
	out := make([]any, len(items))
	for i := range items {
		out[i] = s.own(items[i].value)
	}
	item := sharedItem{value: out, hash: hash}
	if !taken && len(s.values) < s.most {
		s.values[hash] = item.value
	}
	return item
}

// mapping returns false where a key is there twice.
func (s *sharer) mapping(items []sharedItem, share bool) (sharedItem, bool) {
	hash := uint64(2)
	for i := range items {
		hash += items[i].hash // in whatever order
	}
	known, taken := s.values[hash]
	if m, ok := known.(map[string]any); ok && share && sameMapping(m, items) {
		return sharedItem{value: known, hash: hash}, true
	}
	out := make(map[string]any, len(items))
	for i := range items {
		out[s.own(items[i].key).(string)] = s.own(items[i].value)
	}
	item := sharedItem{value: out, hash: hash}
	if share && !taken && len(s.values) < s.most {
		s.values[hash] = item.value
	}
	return item, len(out) == len(items)
}

// own returns a value that holds on to nothing but itself.
func (s *sharer) own(v any) any {
	text, ok := v.(string)
	if !ok {
		return v
	}
	known, ok := s.texts[text]
	if !ok {
		text = strings.Clone(text)
		known = text
		if len(s.texts) < s.most {
			s.texts[text] = known
		}
	}
	return known
}

func sameList(known []any, items []sharedItem) bool {
	if len(known) != len(items) {
		return false
	}
	for i := range items {
		if !identical(known[i], items[i].value) {
			return false
		}
	}
	return true
}

// sameMapping is for items of which none has the key of another, which [checkNode] has
// seen to.
func sameMapping(known map[string]any, items []sharedItem) bool {
	if len(known) != len(items) {
		return false
	}
	for i := range items {
		if v, ok := known[items[i].key]; !ok || !identical(v, items[i].value) {
			return false
		}
	}
	return true
}

// identical compares values whose collections have been shared before, as far as they
// could be.
func identical(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
	case []any:
		b, ok := b.([]any)
		return ok && len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
	}
	return a == b // scalars, or of different types
}
