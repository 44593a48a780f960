package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/verdict"
)

// Name is namespace/name of the PolicyException.
func (e *Exception) Name() string { return e.name }

// Owner is who answers for it, cut to what a message holds.
func (e *Exception) Owner() string { return clip(e.spec.Owner) }

// Reason is why it was made, cut to what a message holds.
func (e *Exception) Reason() string { return clip(e.spec.Reason) }

// Expires is when it ends.
func (e *Exception) Expires() time.Time { return e.spec.Expires }

// An ExceptionScope is what an exception may have something to say about. Which rules
// of an object it covers is for [Exceptions] to tell.
type ExceptionScope struct {
	// ID is equal for exceptions that say the same.
	ID         string
	PolicySets []string
	Kinds      []schema.GroupKind
	// Namespaces is empty for objects in none.
	Namespaces []string
	// Names is empty where Labels alone select.
	Names []string
	// Labels is nil where names alone select.
	Labels labels.Selector
}

// Scope returns what the exception may have something to say about.
func (e *Exception) Scope() ExceptionScope {
	s := ExceptionScope{Namespaces: e.spec.Match.Namespaces, Names: e.spec.Match.Names, Labels: e.selector}
	for _, p := range e.spec.Policies {
		s.PolicySets = append(s.PolicySets, p.PolicySet)
	}
	for _, k := range e.spec.Match.Kinds {
		s.Kinds = append(s.Kinds, schema.GroupKind{Group: k.APIGroup, Kind: k.Kind})
	}
	raw, _ := json.Marshal(e.spec) // it was JSON
	sum := sha256.Sum256(append([]byte(e.name+"\x00"), raw...))
	s.ID = hex.EncodeToString(sum[:])
	return s
}

// Covering returns the exception because of which [Exceptions.Apply] lets a finding
// pass; nil if there is none.
func (x *Exceptions) Covering(f verdict.Finding, u *unstructured.Unstructured) *Exception {
	if x == nil || u == nil || !exceptable(f) {
		return nil
	}
	for _, e := range x.list {
		if ok, _ := e.covers(f, u, x.now); ok {
			return e
		}
	}
	return nil
}

// exceptable reports whether a finding is one that a rule made on purpose, and that
// anybody minds.
func exceptable(f verdict.Finding) bool {
	return f.Reason == verdict.PolicyDenied && (f.Severity == verdict.Deny || f.Severity == verdict.Warn)
}

// An ExceptionCount counts exceptions by how they stand.
type ExceptionCount struct {
	// Active counts those that count, Expiring those of them that end within two weeks,
	// and Unused those of them that the rules do not need.
	Active, Expiring, Unused int
	// Expired counts those that are past their end.
	Expired int
	// Next is when the next one ends; zero if none does.
	Next time.Time
}

// Count counts the exceptions. Which are unused is known after [Exceptions.Apply] saw
// every finding.
func (x *Exceptions) Count() (n ExceptionCount) {
	if x == nil {
		return n
	}
	for _, e := range x.list {
		end := e.spec.Expires
		if !x.now.Before(end) {
			n.Expired++
			continue
		}
		n.Active++
		if end.Sub(x.now) < expiringWithin {
			n.Expiring++
		}
		if !e.used {
			n.Unused++
		}
		if n.Next.IsZero() || end.Before(n.Next) {
			n.Next = end
		}
	}
	return n
}
