package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/verify/image"
)

// keptPredicates is one store for all gates, so that its bound holds for the process.
func (g *gates) keptPredicates() *image.Predicates {
	g.predicatesOnce.Do(func() { g.predicates = image.NewPredicates(0) })
	return g.predicates
}

// clock is the time of a decision.
func (g *gates) clock() time.Time {
	if g.now != nil {
		return g.now()
	}
	return time.Now()
}

// attestationsOf is what rules see of the attestations of an image.
func attestationsOf(e image.Evidence) []policy.Attestation {
	out := []policy.Attestation{}
	for _, a := range e.Attestations() {
		out = append(out, policy.Attestation{
			Name: a.Name, PredicateType: a.PredicateType, Authority: a.Authority, Digest: a.Digest, Predicate: a.Predicate,
		})
	}
	return out
}

// A provenImage is what a release has proven of an image. It counts where the GitSync
// may write: what one team's authorities attest says nothing to another one.
type provenImage struct {
	confine  string // the only namespace in which it counts; empty is all
	evidence image.Evidence
}

// collect lists what is known of each digest. The caller holds the mutex.
func (v *verifiedImages) collect() map[imageDigest][]provenImage {
	all := map[imageDigest][]provenImage{}
	for _, name := range sortedNames(v.bySync) {
		s, confine := v.bySync[name], name.Namespace
		if confine == v.system {
			confine = ""
		}
		for _, e := range slices.Concat(s.inForce, s.retired) {
			id, one := imageDigest{e.Image(), e.Digest()}, provenImage{confine, e}
			if !slices.ContainsFunc(all[id], one.same) {
				all[id] = append(all[id], one)
			}
		}
	}
	return all
}

func sortedNames[V any](m map[types.NamespacedName]V) []types.NamespacedName {
	return slices.SortedFunc(maps.Keys(m), func(a, b types.NamespacedName) int { return cmp.Compare(a.String(), b.String()) })
}

// same reports whether two say the same to rules.
func (p provenImage) same(q provenImage) bool {
	id := func(a image.Attested) string {
		return strings.Join([]string{a.Name, a.PredicateType, a.Authority, a.Digest}, "\n")
	}
	return p.confine == q.confine && p.evidence.Reference() == q.evidence.Reference() &&
		slices.Equal(p.evidence.Grants(), q.evidence.Grants()) &&
		slices.EqualFunc(p.evidence.Attestations(), q.evidence.Attestations(), func(a, b image.Attested) bool { return id(a) == id(b) })
}

// proven is what releases that may write in a namespace have proven of a reference;
// nothing where it names no digest.
func (v *verifiedImages) proven(namespace, ref string) (out []image.Evidence) {
	repository, digest, err := image.Parse(ref)
	all := v.all.Load()
	if err != nil || digest == "" || all == nil {
		return nil
	}
	for _, p := range (*all)[imageDigest{repository, digest}] {
		if p.confine == "" || p.confine == namespace {
			out = append(out, p.evidence)
		}
	}
	return out
}
