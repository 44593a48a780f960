package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	dsseEnvelope = "application/vnd.dsse.envelope.v1+json"
	// attestedAnnotation is by which cosign lists predicate types in the older layout.
	attestedAnnotation = "predicateType"
)

// A want is an attestation that a rule asks for.
type want struct {
	asked
	label   string // of the rule
	seen    int    // statements offered
	got     int    // statements that count
	refused []string
}

// A gathering collects the attestations of one digest that rules ask for: all of
// them, for a later one may say the contrary of an earlier one.
type gathering struct {
	digest   string
	from     *source
	wants    []*want
	attested []Attested
	proofs   []proof // those that count
}

// newGathering returns nil if no demand asks for attestations.
func newGathering(digest string, demands []demand, from *source) *gathering {
	g := &gathering{digest: digest, from: from}
	for _, d := range demands {
		for _, a := range d.attestations {
			g.wants = append(g.wants, &want{asked: a, label: d.label})
		}
	}
	if g.wants == nil {
		return nil
	}
	return g
}

func asksForAttestations(demands []demand) bool {
	return slices.ContainsFunc(demands, func(d demand) bool { return len(d.attestations) > 0 })
}

// satisfied reports whether nothing is missing that is required.
func (g *gathering) satisfied() bool {
	return g == nil || !slices.ContainsFunc(g.wants, func(w *want) bool { return w.got == 0 && !w.optional })
}

// asksFor reports whether any rule asks for a predicate type.
func (g *gathering) asksFor(uri string) bool {
	return slices.ContainsFunc(g.wants, func(w *want) bool { return w.uri == uri })
}

// offer tries a proof on everything that is asked for. Listed is the type by which
// the registry lists it, empty if it does not say: it is not signed, so it only
// tells where a refusal belongs.
func (g *gathering) offer(p proof, listed string) {
	e, err := p.openEnvelope()
	var st statement
	if err == nil {
		st, err = parseStatement(e.payload)
	}
	used := false
	for _, w := range g.wants {
		switch {
		case err != nil:
			if listed == w.uri || listed == "" {
				w.refuse(err.Error())
			}
		case st.predicateType == w.uri:
			used = g.judge(w, e, st, p.Layout) || used
		case listed == w.uri:
			w.refuse(fmt.Sprintf("it is listed as such, and states %s", quote(st.predicateType)))
		}
	}
	if p.Statement = true; used {
		g.proofs = append(g.proofs, p)
	}
}

// judge decides whether a statement counts: first who signed it, then what it is
// about.
func (g *gathering) judge(w *want, e envelope, st statement, layout Layout) bool {
	i := slices.IndexFunc(w.authorities, func(a *authority) bool { return e.signedBy(a.key) })
	if i < 0 {
		w.refuse("not signed by the key of " + joinNames(w.authorities))
		return false
	}
	if !st.about(g.digest) {
		w.refuse("it is about another image, " + st.subject())
		return false
	}
	w.seen++
	w.got++
	a, sum := w.authorities[i], sha256.Sum256(st.predicate)
	one := Attested{Rule: w.label, Name: w.name, PredicateType: w.uri, Authority: a.name, Key: a.fingerprint,
		Layout: layout, Digest: fmt.Sprintf("sha256:%x", sum), Size: len(st.predicate), sum: sum, from: g.from}
	g.from.kept.put(sum, st.predicate)
	if !slices.ContainsFunc(g.attested, one.same) { // both layouts may hold it
		g.attested = append(g.attested, one)
	}
	return true
}

// refuse keeps the first few different causes for the message.
func (w *want) refuse(cause string) {
	w.seen++
	if len(w.refused) < 3 && !slices.Contains(w.refused, cause) {
		w.refused = append(w.refused, cause)
	}
}

// run looks into both layouts. An error means that something could not be read: it
// might have been what is asked for, or say the contrary of what was found.
func (g *gathering) run(ctx context.Context, c *client) error {
	if g == nil {
		return nil
	}
	return passingFirst(g.tagLayout(ctx, c), g.bundleLayout(ctx, c))
}

// tagLayout reads the attestations under the tag sha256-<hex>.att.
func (g *gathering) tagLayout(ctx context.Context, c *client) error {
	manifest, err := c.manifest(ctx, strings.Replace(g.digest, ":", "-", 1)+".att")
	if errors.Is(err, errNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	layers := slices.DeleteFunc(manifest.Layers, func(d v1.Descriptor) bool {
		listed := d.Annotations[attestedAnnotation]
		return d.MediaType != dsseEnvelope || listed != "" && !g.asksFor(listed)
	})
	if err := c.tooManyAttestations(len(layers)); err != nil {
		return err
	}
	for _, layer := range layers {
		raw, err := c.blob(ctx, layer.Digest, c.limits.AttestationBytes)
		if err != nil {
			return err
		}
		g.offer(proof{Layout: LayoutTag, Payload: raw}, layer.Annotations[attestedAnnotation])
	}
	return nil
}

// bundleLayout reads the Sigstore bundles that refer to the digest. Some versions of
// cosign list an attestation as a signature, so those are looked into too.
func (g *gathering) bundleLayout(ctx context.Context, c *client) error {
	referrers, err := c.referrers(ctx, g.digest)
	if err != nil {
		return err
	}
	referrers = slices.DeleteFunc(slices.Clone(referrers), func(d v1.Descriptor) bool {
		listed := d.Annotations[predicateAnnotation]
		return !mayBeBundle(d) || listed != "" && listed != predicateSign && !g.asksFor(listed)
	})
	if err := c.tooManyAttestations(len(referrers)); err != nil {
		return err
	}
	return c.bundles(ctx, referrers, c.limits.Attestations, c.limits.AttestationBytes, c.tooManyAttestations, func(r v1.Descriptor, raw []byte) bool {
		g.offer(proof{Layout: LayoutBundle, Bundle: raw}, r.Annotations[predicateAnnotation])
		return true
	})
}

func (c *client) tooManyAttestations(n int) error {
	if n <= c.limits.Attestations {
		return nil
	}
	return &limitError{fmt.Sprintf("%d attestations of the types that are asked for, more than %d: remove old ones, as cosign attest --replace does",
		n, c.limits.Attestations)}
}

// refusal explains what is missing first; nil if nothing that is required is.
func (g *gathering) refusal(r reference) *Error {
	if g.satisfied() {
		return nil
	}
	w := g.wants[slices.IndexFunc(g.wants, func(w *want) bool { return w.got == 0 && !w.optional })]
	what := fmt.Sprintf("%s (%s) by %s", quote(w.name), w.uri, joinNames(w.authorities))
	if w.seen == 0 {
		return &Error{Reason: AttestationMissing, Image: r.original,
			Message: fmt.Sprintf("%s@%s has no attestation %s, which %s asks for: add it with cosign attest, for exactly this digest",
				r.name(), g.digest, what, w.label)}
	}
	return &Error{Reason: AttestationInvalid, Image: r.original,
		Message: fmt.Sprintf("none of the %d attestations of %s@%s counts as %s, which %s asks for (%s)",
			w.seen, r.name(), g.digest, what, w.label, strings.Join(w.refused, "; "))}
}

func joinNames(authorities []*authority) string {
	var all []string
	for _, a := range authorities {
		all = append(all, quote(a.name))
	}
	return strings.Join(all, " or ")
}
