package image

import (
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
	ref    reference
	digest string
	grants []Grant
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

// MarshalJSON is the form that policies see.
func (e Evidence) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Reference string  `json:"reference"`
		Image     string  `json:"image"`
		Tag       string  `json:"tag,omitempty"`
		Digest    string  `json:"digest"`
		Pinned    string  `json:"pinned"`
		Grants    []Grant `json:"grants"`
	}{e.Reference(), e.Image(), e.Tag(), e.Digest(), e.Pinned(), e.grants})
}
