package image

import (
	"bytes"
	"compress/flate"
	"container/list"
	"crypto/sha256"
	"errors"
	"io"
	"sync"
)

// DefaultPredicateBytes is what [Predicates] take at most.
const DefaultPredicateBytes = 64 << 20

// Predicates keep what attestations state, compressed and within a bound: a list of
// packages is some megabytes, and hardly any rule reads it. Those not read for
// longest go first; from a verifier with a CacheDir they are read again from there.
// They may be shared by any number of verifiers, and are safe for concurrent use.
type Predicates struct {
	mu      sync.Mutex
	most    int64
	size    int64
	order   *list.List // of *keptPredicate, recent first
	entries map[[sha256.Size]byte]*list.Element
}

type keptPredicate struct {
	sum    [sha256.Size]byte
	packed []byte
}

// NewPredicates makes a store of that many bytes; zero means
// [DefaultPredicateBytes].
func NewPredicates(most int64) *Predicates {
	if most <= 0 {
		most = DefaultPredicateBytes
	}
	return &Predicates{most: most, order: list.New(), entries: map[[sha256.Size]byte]*list.Element{}}
}

// predicateOverhead is what an entry takes beside its bytes.
const predicateOverhead = 256

func (p *Predicates) put(sum [sha256.Size]byte, raw []byte) {
	if p.has(sum) {
		return
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		return // the level is valid
	}
	if _, err := w.Write(raw); err != nil || w.Close() != nil {
		return // a buffer takes everything
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.entries[sum] != nil {
		return
	}
	p.entries[sum] = p.order.PushFront(&keptPredicate{sum, bytes.Clone(packed.Bytes())})
	p.size += int64(packed.Len()) + predicateOverhead
	for p.size > p.most && p.order.Len() > 0 {
		oldest := p.order.Remove(p.order.Back()).(*keptPredicate)
		delete(p.entries, oldest.sum)
		p.size -= int64(len(oldest.packed)) + predicateOverhead
	}
}

func (p *Predicates) has(sum [sha256.Size]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.entries[sum]
	if ok {
		p.order.MoveToFront(e)
	}
	return ok
}

func (p *Predicates) get(sum [sha256.Size]byte) ([]byte, bool) {
	p.mu.Lock()
	e, ok := p.entries[sum]
	var packed []byte
	if ok {
		p.order.MoveToFront(e)
		packed = e.Value.(*keptPredicate).packed
	}
	p.mu.Unlock()
	if !ok {
		return nil, false
	}
	raw, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
	return raw, err == nil
}

// ErrPredicateGone is a predicate that was verified and is no longer at hand.
var ErrPredicateGone = errors.New("what the attestation states is no longer at hand")

// A source is where the predicate of an attestation is found again.
type source struct {
	kept   *Predicates
	disk   disk
	limits Limits
	key    string // of the image, on disk
}

// read returns the predicate with that hash. What is on disk counts by its hash.
func (s *source) read(sum [sha256.Size]byte) ([]byte, error) {
	if raw, ok := s.kept.get(sum); ok {
		return raw, nil
	}
	for _, p := range s.disk.get(s.key, s.limits) {
		if !p.Statement {
			continue
		}
		e, err := p.openEnvelope()
		if err != nil {
			continue
		}
		st, err := parseStatement(e.payload)
		if err != nil || sha256.Sum256(st.predicate) != sum {
			continue
		}
		s.kept.put(sum, st.predicate)
		return st.predicate, nil
	}
	return nil, ErrPredicateGone
}
