package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// An Attestation is a statement about an image that was verified: who made it, about
// what, and of which type. What it states is read only if a rule reads it.
type Attestation struct {
	// Name is what the trust policy calls it.
	Name string
	// PredicateType is the URI of its type.
	PredicateType string
	// Authority is who signed it.
	Authority string
	// Digest stands for what it states; what is decoded is not kept where it is empty.
	Digest string
	// Predicate returns what it states, as JSON. Nil, or an error, is that this is not
	// known: a rule that comes to read it is undetermined.
	Predicate func() ([]byte, error)
}

// eachElement is a step of a path that stands for every element of a list.
const eachElement = "*"

var (
	attestationPath = partPath{PartAttestations, []string{"images", eachElement, "attestations"}, "input.images[].attestations"}
	predicatePath   = partPath{partPredicates, []string{"images", eachElement, "attestations", eachElement, "predicate"},
		"input.images[].attestations[].predicate"}
)

// attested reports whether it is known of every image what was attested about it.
func (in *Input) attested() bool {
	if in.Images == nil {
		return in.None&PartImages != 0
	}
	return !slices.ContainsFunc(in.Images, func(i Image) bool { return i.Attestations == nil })
}

// imagesTerm is input.images, with what rules read of predicates. Those that cannot be
// had make them unknown.
func (s *subject) imagesTerm(keep *readPaths, intern map[string]*ast.Term) (*ast.Term, error) {
	if s.Images == nil {
		return nil, nil
	}
	below := keep.element().key("attestations")
	terms := make([]*ast.Term, len(s.Images))
	for i, im := range s.Images {
		parts := []any{"ref", ast.StringTerm(im.Ref), "digest", ast.StringTerm(im.Digest), "authorities", stringsTerm(im.Authorities)}
		if im.Attestations != nil && below != nil {
			list := make([]*ast.Term, len(im.Attestations))
			for j, a := range im.Attestations {
				var err error
				if list[j], err = s.attestationTerm(a, below.element().key("predicate"), intern); err != nil {
					return nil, fmt.Errorf("image %s: attestation %s: %w", im.Ref, a.Name, err)
				}
			}
			parts = append(parts, "attestations", ast.ArrayTerm(list...))
		}
		terms[i] = objectTerm(parts...)
	}
	return ast.ArrayTerm(terms...), nil
}

func (s *subject) attestationTerm(a Attestation, keep *readPaths, intern map[string]*ast.Term) (*ast.Term, error) {
	parts := []any{"name", ast.StringTerm(a.Name), "predicateType", ast.StringTerm(a.PredicateType), "authority", ast.StringTerm(a.Authority)}
	if keep != nil {
		predicate, err := s.predicateTerm(a, keep, intern)
		switch {
		case errors.Is(err, errNoPredicate):
			s.unknown |= partPredicates
		case err != nil:
			return nil, err
		default:
			parts = append(parts, "predicate", predicate)
		}
	}
	return objectTerm(parts...), nil
}

var errNoPredicate = errors.New("not at hand")

func (s *subject) predicateTerm(a Attestation, keep *readPaths, intern map[string]*ast.Term) (*ast.Term, error) {
	if t := s.predicates.get(keep, a.Digest); t != nil {
		return t, nil
	}
	if a.Predicate == nil {
		return nil, errNoPredicate
	}
	raw, err := a.Predicate()
	if err != nil {
		return nil, errNoPredicate
	}
	d := decoder{src: string(raw), intern: intern}
	t, err := d.value(keep)
	if err == nil {
		if d.space(); d.pos != len(d.src) {
			err = errors.New("data after the value")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("what it states, byte %d: %w", d.pos, err)
	}
	s.predicates.put(keep, a.Digest, t)
	return t, nil
}

// timeTerm is input.time.
func (s *subject) timeTerm() *ast.Term {
	if s.Time.IsZero() {
		return nil
	}
	return ast.StringTerm(s.Time.UTC().Format(time.RFC3339))
}

// Bounds of the decoded predicates that an engine keeps, in terms, for each of two
// generations.
const (
	maxPredicateTerms  = 50_000 // of one
	maxPredicatesTerms = 400_000
)

// decodedPredicates keep what rules read of predicates: one image is often in many
// objects. It keeps nothing where it is nil.
type decodedPredicates struct {
	mu         sync.Mutex
	young, old map[predicateKey]*ast.Term
	terms      int // of young
}

// A predicateKey is a predicate and what is kept of it.
type predicateKey struct {
	keep   *readPaths
	digest string
}

func (d *decodedPredicates) get(keep *readPaths, digest string) *ast.Term {
	if d == nil || digest == "" {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.young[predicateKey{keep, digest}]; t != nil {
		return t
	}
	return d.old[predicateKey{keep, digest}]
}

func (d *decodedPredicates) put(keep *readPaths, digest string, t *ast.Term) {
	if d == nil || digest == "" {
		return
	}
	n := 0
	ast.WalkTerms(t, func(*ast.Term) bool {
		n++
		return n > maxPredicateTerms
	})
	if n > maxPredicateTerms {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.young == nil || d.terms+n > maxPredicatesTerms {
		d.old, d.young, d.terms = d.young, map[predicateKey]*ast.Term{}, 0
	}
	d.young[predicateKey{keep, strings.Clone(digest)}] = t
	d.terms += n + 1
}
