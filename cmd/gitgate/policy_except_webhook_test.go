package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
)

// TestAdmissionExceptions: what a verified release excepts passes at the webhook too.
func TestAdmissionExceptions(t *testing.T) {
	const rego = "package a\ndeny contains \"no evil\" if input.object.data.k == \"evil\"\n"
	exception := func(pairs ...string) *unstructured.Unstructured {
		text := strings.NewReplacer(pairs...).Replace(`{apiVersion: gitgate.dev/v1alpha1, kind: PolicyException, metadata: {name: e, namespace: shop}, spec: {
			policies: [{policySet: s, rules: [a.deny]}], match: {kinds: [{kind: ConfigMap}], namespaces: [shop], names: [m]}, owner: o, reason: r, expires: "2026-12-31T00:00:00Z"}}`)
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(strings.ReplaceAll(text, "\t", " ")), &u.Object); err != nil {
			t.Fatal(err)
		}
		return u
	}
	named := func(name string) *admissionv1.AdmissionRequest {
		r := review("ConfigMap", "", strings.Replace(evil, `"m"`, `"`+name+`"`, 1), good)
		r.Name = name
		return r
	}
	generated := review("ConfigMap", "", evil, good)
	generated.Name = "" // the server will choose one
	pods := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "e"}}}
	for name, tc := range map[string]struct {
		reason    string
		namespace string // of the GitSync
		release   *unstructured.Unstructured
		req       *admissionv1.AdmissionRequest
		want      verdict.Severity
		says      string
	}{
		"Covered":   {"An exception of a release.", "gitgate-system", exception(), named("m"), verdict.Info, "excepted until 2026-12-31"},
		"Tenant":    {"One of a tenant counts in his namespace.", "shop", exception(), named("m"), verdict.Info, "excepted until"},
		"Elsewhere": {"And nowhere else.", "other", exception(), named("m"), verdict.Deny, "no evil"},
		"Other":     {"Another object is not covered, and that is explained.", "gitgate-system", exception(), named("n"), verdict.Deny, "PolicyException shop/e does not cover it: the name is n"},
		"Lie":       {"The name in the object is not what counts.", "gitgate-system", exception(), generated, verdict.Deny, "no evil"},
		"Expired":   {"Its end is by the clock of now.", "gitgate-system", exception("2026-12-31", "2026-11-01"), named("m"), verdict.Deny, "it expired"},
		"NoKind":    {"Another kind is no exception.", "gitgate-system", pods, named("m"), verdict.Deny, "no evil"},
		"Wildcard":  {"What the gate would not have let pass counts for nothing.", "gitgate-system", exception("names: [m]", "names: ['*']"), named("m"), verdict.Deny, "no evil"},
	} {
		t.Run(name, func(t *testing.T) {
			j := &admissionJudge{images: &verifiedImages{}}
			if err := j.build(t.Context(), &gates{lastGood: map[string]goodSet{}}, []reconcile.PolicyInput{admissionSet("s", "Enforce", rego)}, nil); err != nil {
				t.Fatal(err)
			}
			x := &j.images.exceptions
			x.now = func() time.Time { return time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC) }
			sync := &v1alpha1.GitSync{ObjectMeta: metav1.ObjectMeta{Namespace: tc.namespace, Name: "x"}}
			x.accept(reconcile.Locked{Sync: sync, Current: &reconcile.Verified{Wants: []apply.Want{{Manifest: tc.release}}}}, "gitgate-system")
			got := j.Judge(t.Context(), tc.req)
			if len(got) != 1 || got[0].Severity != tc.want || !strings.Contains(got[0].Message, tc.says) {
				raw, _ := json.Marshal(got) // findings always marshal
				t.Errorf("%s\n%s, want one %s with %q", tc.reason, raw, tc.want, tc.says)
			}
			x.drop(types.NamespacedName{Namespace: tc.namespace, Name: "x"})
			if got := j.Judge(t.Context(), tc.req); len(got) != 1 || got[0].Severity != verdict.Deny {
				t.Errorf("%s\nwithout the release: %v", tc.reason, got)
			}
		})
	}
}
