package breakglass

import (
	"slices"
	"time"
)

// A Verifier verifies SSH signatures for [Namespace]; verify/commit has one.
type Verifier interface {
	// Verify verifies one armored signature over message. The error says in one
	// line why it does not count.
	Verify(armored string, message []byte) (Signature, error)
}

// A Signature is one that holds.
type Signature struct {
	// Key identifies the key that made it.
	Key string
	// Principals are the names of the key's owner; there is at least one.
	Principals []string
	// ValidAt says why the key does not count at a time, or nil.
	ValidAt func(time.Time) error
}

// sameOwner reports whether two signatures may be one person's.
func (s Signature) sameOwner(o Signature) bool {
	return s.Key == o.Key || slices.ContainsFunc(s.Principals, func(p string) bool { return slices.Contains(o.Principals, p) })
}

// people returns one name for each person that surely is another than all the
// rest: signatures that share a key or a principal, be it by way of a third, are
// taken for one person's.
func people(signatures []Signature) []string {
	var owners [][]Signature
	for _, s := range signatures {
		owner := []Signature{s}
		owners = slices.DeleteFunc(owners, func(other []Signature) bool {
			if slices.ContainsFunc(other, s.sameOwner) {
				owner = append(owner, other...)
				return true
			}
			return false
		})
		owners = append(owners, owner)
	}
	names := make([]string, len(owners))
	for i, owner := range owners {
		for _, s := range owner {
			if p := slices.Min(s.Principals); names[i] == "" || p < names[i] {
				names[i] = p
			}
		}
	}
	slices.Sort(names)
	return names
}
