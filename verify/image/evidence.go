package image

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
)

// A Layout is where a signature was found.
type Layout string

// The layouts.
const (
	// LayoutTag is a manifest under a tag named after the digest.
	LayoutTag Layout = "tag"
	// LayoutBundle is a Sigstore bundle that refers to the image.
	LayoutBundle Layout = "bundle"
	// LayoutStatic is no signature: a rule or the default allows the image.
	LayoutStatic Layout = "static"
)

// A Grant is how one rule was satisfied.
type Grant struct {
	// Rule is "rules[0]" and so on, or "default".
	Rule string `json:"rule"`
	// Match is the glob that matched.
	Match string `json:"match,omitempty"`
	// Authority is the name of the signer; empty without a signature.
	Authority string `json:"authority,omitempty"`
	// Key is "sha256:…" over the signer's key in DER.
	Key    string `json:"key,omitempty"`
	Layout Layout `json:"layout"`
}

// Evidence says that an image satisfies every rule that matches it. Only this
// package makes it; the zero value is no evidence and [Evidence.Valid] is false.
type Evidence struct {
	ref      reference
	digest   string
	grants   []Grant
	attested []Attested
}

// An Attested is an attestation that was verified: an authority signed it, and it is
// about the digest of the evidence.
type Attested struct {
	// Rule is "rules[0]" and so on.
	Rule string `json:"rule"`
	// Name is what the rule calls it.
	Name string `json:"name"`
	// PredicateType is that of the statement, a URI.
	PredicateType string `json:"predicateType"`
	// Authority is the name of the signer.
	Authority string `json:"authority"`
	// Key is "sha256:…" over the signer's key in DER.
	Key    string `json:"key"`
	Layout Layout `json:"layout"`
	// Digest is "sha256:…" over the predicate as it was signed, and Size its bytes.
	Digest string `json:"digest"`
	Size   int    `json:"size"`

	sum  [sha256.Size]byte
	from *source
}

// Predicate is what the attestation states, as JSON. It is kept within a bound, see
// [Predicates]: when it is gone the error is [ErrPredicateGone].
func (a Attested) Predicate() ([]byte, error) {
	if a.from == nil {
		return nil, ErrPredicateGone
	}
	return a.from.read(a.sum)
}

// same reports whether two say the same, in whatever layout.
func (a Attested) same(b Attested) bool {
	return a.Rule == b.Rule && a.Name == b.Name && a.Authority == b.Authority && a.sum == b.sum
}

// Valid reports whether the evidence was minted by a [Verifier].
func (e Evidence) Valid() bool { return e.digest != "" && len(e.grants) > 0 }

// Reference is the image as it was asked for.
func (e Evidence) Reference() string { return e.ref.original }

// Image is the normalised repository: registry and path.
func (e Evidence) Image() string {
	if !e.Valid() {
		return ""
	}
	return e.ref.name()
}

// Tag is the tag that was asked for, "latest" if there was neither tag nor
// digest. Beside a digest it says nothing: nobody looked it up.
func (e Evidence) Tag() string { return e.ref.tag }

// Digest is "sha256:…" of the manifest or index that was verified.
func (e Evidence) Digest() string { return e.digest }

// Pinned is the reference to apply: as it was asked for, with the verified
// digest.
func (e Evidence) Pinned() string {
	if !e.Valid() {
		return ""
	}
	return e.ref.pinned(e.digest)
}

// Grants says how each rule that matches was satisfied.
func (e Evidence) Grants() []Grant { return slices.Clone(e.grants) }

// Attestations are those that rules ask for and that count, in the order in which
// the registry has them.
func (e Evidence) Attestations() []Attested { return slices.Clone(e.attested) }

// AtHand reports whether everything that the attestations state can still be read.
func (e Evidence) AtHand() bool { return atHand(e.attested) }

func atHand(attested []Attested) bool {
	return !slices.ContainsFunc(attested, func(a Attested) bool {
		if a.from.kept.has(a.sum) {
			return false
		}
		_, err := a.Predicate()
		return err != nil
	})
}

// Rule names the rules that matched, separated by commas.
func (e Evidence) Rule() string { return e.join(func(g Grant) string { return g.Rule }) }

// Authority names those who signed, separated by commas.
func (e Evidence) Authority() string { return e.join(func(g Grant) string { return g.Authority }) }

// Layout names where signatures were found, separated by commas.
func (e Evidence) Layout() string { return e.join(func(g Grant) string { return string(g.Layout) }) }

func (e Evidence) join(field func(Grant) string) string {
	var all []string
	for _, g := range e.grants {
		if f := field(g); f != "" && !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	return strings.Join(all, ",")
}

// MarshalJSON is the form for people and logs.
func (e Evidence) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Reference string     `json:"reference"`
		Image     string     `json:"image"`
		Tag       string     `json:"tag,omitempty"`
		Digest    string     `json:"digest"`
		Pinned    string     `json:"pinned"`
		Grants    []Grant    `json:"grants"`
		Attested  []Attested `json:"attestations,omitempty"`
	}{e.Reference(), e.Image(), e.Tag(), e.Digest(), e.Pinned(), e.grants, e.attested})
}
