package main

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/image"
	"gitgate.dev/gitgate/webhook/lock"
)

// trustIn asks for scans by a key.
func trustIn(key *registry.Key) v1alpha1.ImageTrust {
	named := []v1alpha1.ImageAuthority{{Name: "release", Key: v1alpha1.ImageKey{Data: key.Public}}}
	return v1alpha1.ImageTrust{Rules: []v1alpha1.ImageRule{{
		Match: []string{"**"}, Authorities: named,
		Attestations: []v1alpha1.ImageAttestation{{Name: "scan", PredicateType: "vuln", Optional: true, Authorities: named}},
	}}}
}

// At admission no registry is asked: what releases have proven serves, where their
// GitSync may write, for as long as they are in force.
func TestAdmissionAttestations(t *testing.T) {
	reg, key := registry.New(t, registry.Options{}), registry.MustKey(t, registry.ECDSAP256)
	scanned, bare := reg.MustPushImage(t, "acme/scanned:1"), reg.MustPushImage(t, "acme/bare:1")
	for _, i := range []registry.Image{scanned, bare} {
		if err := reg.SignTag(i, key); err != nil {
			t.Fatal(err)
		}
	}
	if err := reg.AttestBundle(scanned, key, "vuln", `{"invocation":{"uri":"https://acme.dev/scan"}}`); err != nil {
		t.Fatal(err)
	}
	config := imageConfig(trustIn(key))
	config.LoopbackHTTP = true
	v, err := image.NewVerifier(config)
	if err != nil {
		t.Fatal(err)
	}
	var evidence []image.Evidence
	for _, i := range []registry.Image{scanned, bare} {
		e, err := v.Verify(t.Context(), i.Name)
		if err != nil {
			t.Fatal(err)
		}
		evidence = append(evidence, e)
	}
	reg.Close()

	const rego = `package a
deny contains sprintf("%s was not scanned", [c.image]) if {
	some c in input.object.spec.containers
	not scanned
}
scanned if input.images[_].attestations[_].predicate.invocation.uri == "https://acme.dev/scan"
`
	images := &verifiedImages{}
	j := &admissionJudge{images: images}
	sink := newLockSink("gitgate-system", lock.NewInventory(), images, func() {})
	set := admissionSet("s", "Enforce", rego)
	set.Set.Spec.Match = nil
	if err := j.build(t.Context(), &gates{lastGood: map[string]goodSet{}}, []reconcile.PolicyInput{set}, nil); err != nil {
		t.Fatal(err)
	}
	judge := func(ref string) string {
		pod := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"m","namespace":"shop"},"spec":{"containers":[{"name":"c","image":"` + ref + `"}]}}`
		fs := j.Judge(t.Context(), review("Pod", "", pod, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"m"}}`))
		if len(fs) == 0 {
			return ""
		}
		return string(fs[0].Severity) + " " + fs[0].Message
	}
	accept := func(namespace string, images ...image.Evidence) {
		sync := &v1alpha1.GitSync{}
		sync.Name, sync.Namespace = "web", namespace
		sync.Spec.Lock = &v1alpha1.Lock{Mode: v1alpha1.ModeEnforce}
		sink.Accept(reconcile.Locked{Sync: sync, Current: &reconcile.Verified{Revision: "main@sha1:1", Images: images}})
	}
	unknown := string(verdict.Undetermined) + " the rule reads input.images, which is not known here"
	for _, step := range []struct {
		reason string
		do     func()
		ref    string
		want   string
	}{
		{"Nothing is known before a release is.", func() {}, scanned.Pinned(), unknown},
		{"What another team's release proved says nothing here.", func() { accept("other", evidence...) }, scanned.Pinned(), unknown},
		{"What this one's did counts.", func() { accept("shop", evidence...) }, scanned.Pinned(), ""},
		{"Also of what was not attested.", func() {}, bare.Pinned(), "deny " + bare.Pinned() + " was not scanned"},
		{"A tag stands for nothing.", func() {}, scanned.Name, unknown},
		{"It is gone with the GitSync.", func() { sink.Drop(types.NamespacedName{Namespace: "shop", Name: "web"}) }, scanned.Pinned(), unknown},
		{"Gitgate's own may write anywhere.", func() { accept("gitgate-system", evidence...) }, scanned.Pinned(), ""},
	} {
		step.do()
		if got := judge(step.ref); got != step.want && !(step.want == unknown && strings.HasPrefix(got, unknown)) {
			t.Errorf("%s\ngot  %s\nwant %s", step.reason, got, step.want)
		}
	}
	if got := images.proven("shop", "Not/A:Ref"); got != nil {
		t.Errorf("%v", got)
	}
	accept("shop", evidence...) // two releases that say the same say it twice, and no more
	accept("shop", append(evidence, evidence...)...)
	if got := images.proven("shop", scanned.Pinned()); len(got) != 2 {
		t.Errorf("%d times", len(got))
	}
}

// Decisions are made at a time, which is the logged one when they are made again.
func TestClock(t *testing.T) {
	then := time.Unix(0, 0)
	if g := (&gates{now: func() time.Time { return then }}); !g.clock().Equal(then) {
		t.Error("another time")
	}
	if (&gates{}).clock().Before(then) {
		t.Error("no time")
	}
}
