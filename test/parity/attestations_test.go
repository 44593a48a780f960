package parity

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
	"gitgate.dev/gitgate/test/testkit/registry"
)

// provenance is of a build of long ago.
const provenance = `{"buildDefinition": {"buildType": "https://acme.example.com/build/v1", "externalParameters": {"source": "https://git.example.com/acme/web"}},
	"runDetails": {"builder": {"id": "https://acme.example.com/builder"}, "metadata": {"finishedOn": "2020-01-01T00:00:00Z"}}}`

// asks has the first rule for images ask for a provenance.
func asks(trust *v1alpha1.TrustPolicy, optional bool) {
	rule := &trust.Spec.Images.Rules[0]
	rule.Attestations = []v1alpha1.ImageAttestation{{Name: "provenance", PredicateType: "slsaprovenance1", Optional: optional}}
}

// attested is a plan in which provenances are asked for, and perhaps judged.
func (w *world) attested(optional bool, set func(*world) *v1alpha1.PolicySet) func(*site, *plan) {
	return func(_ *site, p *plan) {
		asks(p.trust, optional)
		if p.fresh = true; set != nil { // what is in force elsewhere is not attested
			p.sets = append(p.sets, set(w))
		}
	}
}

// provenanceRules are those of the library for provenances.
func provenanceRules(name string) func(*world) *v1alpha1.PolicySet {
	return func(w *world) *v1alpha1.PolicySet {
		parameters := `{"provenanceRegistries": ["` + w.Registry.Host() + `/acme"], "maxBuildAgeDays": 30}`
		return &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.PolicySetSpec{
			Source: v1alpha1.PolicySource{Library: []string{"supply-chain"}}, Parameters: &apiextensionsv1.JSON{Raw: []byte(parameters)},
		}}
	}
}

// TestAttestations proves that what rules say of attestations is the same, byte for
// byte, of a commit in gitgate check and in the reconciler, and of an object at
// admission, where no registry is asked and what a release has proven serves.
func TestAttestations(t *testing.T) {
	w := begin(t)
	w.openDoor(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	set := provenanceRules("provenance")(w)
	set.Spec.Admission = v1alpha1.ModeEnforce
	set.Spec.Match = &v1alpha1.PolicyMatch{Namespaces: []string{admitted}, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"judge": "provenance"}}}
	must(t, "the rules", w.Client.Create(ctx, set.DeepCopy()))

	release, err := w.NewApp(ctx, "attested-release", func(trust *v1alpha1.TrustPolicy, sync *v1alpha1.GitSync) {
		asks(trust, true)
		sync.Spec.Lock = &v1alpha1.Lock{Mode: v1alpha1.ModeAudit}
	})
	must(t, "the release", err)
	head, err := release.Commit(gitrepo.Change{Files: files("web.yaml", lab.Deployment("web", w.images.web.Pinned(), 1), "old.yaml", lab.Deployment("old", w.images.attested.Name, 1)).Files})
	must(t, "the release", err)
	_, err = release.Accepted(ctx, head)
	must(t, "the release", err)

	for name, tc := range map[string]struct {
		image registry.Image
		says  string
	}{
		"none": {w.images.web, "of which no provenance was verified"},
		"old":  {w.images.attested, "whose build finished at 2020-01-01T00:00:00Z, not within the last 30 days"},
	} {
		t.Run(name, func(t *testing.T) {
			name := "provenance-" + name
			manifest := edited(lab.Deployment(name, tc.image.Pinned(), 1), "metadata:\n", "metadata:\n  labels: {judge: provenance}\n")
			s := w.newSite(t, name, func(_ *site, p *plan) {
				asks(p.trust, true)
				p.fresh, p.sync.Spec.TargetNamespace, p.known = true, admitted, []*v1alpha1.PolicySet{set}
				p.sync.Spec.Policies = []v1alpha1.LocalReference{{Name: set.Name}}
			})
			commit := s.commit(gitrepo.Change{Files: files("object.yaml", manifest).Files})
			check, stderr := s.check(commit)
			if stderr != "" {
				t.Fatalf("gitgate check: %s", stderr)
			}
			reconciler, sync := s.reconcile(commit)
			if reconciler.Revision == "" {
				t.Fatalf("the reconciler judged nothing: %+v", sync.Status.Conditions)
			}
			(trial{reason: "The doors see one attestation.", want: reasons(verdict.PolicyDenied), says: tc.says}).judge(t, check, reconciler)
			w.refusedAtDoor(ctx, t, manifest, tc.says) // once it has verified the release
			if diff := cmp.Diff(withoutPlace(t, check, nil), s.ofSet(s.admission(manifest), set.Name)); diff != "" {
				t.Errorf("the doors differ (-check +webhook)\n%s", diff)
			}
			s.replays()
		})
	}
}

// ofSet leaves out what other sets find at admission.
func (s *site) ofSet(found []string, set string) []string {
	return slices.DeleteFunc(found, func(f string) bool { return !strings.Contains(f, `"policy":"`+set+`/`) })
}
