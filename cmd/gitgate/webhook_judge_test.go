package main

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/lock"
)

func admissionSet(name, mode, rego string) reconcile.PolicyInput {
	set := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "1"}}
	set.Spec.Admission, set.Spec.Source.Inline = mode, map[string]string{"a.rego": rego}
	set.Spec.Match = &v1alpha1.PolicyMatch{Kinds: []v1alpha1.MatchKinds{{APIGroups: []string{""}, Kinds: []string{"ConfigMap"}}}}
	return reconcile.PolicyInput{Set: set}
}

func review(kind, sub, object, old string) *admissionv1.AdmissionRequest {
	return &admissionv1.AdmissionRequest{
		Operation: admissionv1.Update, Kind: metav1.GroupVersionKind{Version: "v1", Kind: kind}, Name: "m", Namespace: "shop", SubResource: sub,
		Object: runtime.RawExtension{Raw: []byte(object)}, OldObject: runtime.RawExtension{Raw: []byte(old)},
	}
}

const evil = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m","namespace":"shop"},"data":{"k":"evil"}}`

const good = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m","namespace":"shop"}}`

func TestAdmissionJudge(t *testing.T) {
	const rego = "package a\ndeny contains \"no evil\" if input.object.data.k == \"evil\"\n"
	dying := strings.Replace(evil, `"name":"m"`, `"name":"m","deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["a"]`, 1)
	for name, tc := range map[string]struct {
		reason string
		sets   []reconcile.PolicyInput
		req    *admissionv1.AdmissionRequest
		want   verdict.Severity // of the only finding; empty for none
		says   string
		mode   lock.Mode
	}{
		"Enforce":     {"A rule denies.", []reconcile.PolicyInput{admissionSet("s", "Enforce", rego)}, review("ConfigMap", "", evil, good), verdict.Deny, "no evil", lock.Enforce},
		"Audit":       {"In audit it warns.", []reconcile.PolicyInput{admissionSet("s", "Audit", rego)}, review("ConfigMap", "", evil, good), verdict.Warn, "no evil", lock.Audit},
		"None":        {"Without rules nothing is wrong.", nil, review("ConfigMap", "", evil, good), "", "", lock.Off},
		"Status":      {"Status is the controllers' business.", []reconcile.PolicyInput{admissionSet("s", "Enforce", rego)}, review("ConfigMap", "status", evil, evil), "", "", lock.Enforce},
		"Leaving":     {"What goes away is not held up.", []reconcile.PolicyInput{admissionSet("s", "Enforce", rego)}, review("ConfigMap", "", evil, dying), "", "", lock.Enforce},
		"Broken":      {"Rules that do not compile refuse what they select.", []reconcile.PolicyInput{admissionSet("s", "Enforce", "package a\ndeny[")}, review("ConfigMap", "", evil, good), verdict.Deny, "do not compile", lock.Enforce},
		"BrokenOther": {"And nothing else.", []reconcile.PolicyInput{admissionSet("s", "Enforce", "package a\ndeny[")}, review("Service", "", `{"apiVersion":"v1","kind":"Service"}`, `{"apiVersion":"v1","kind":"Service"}`), "", "", lock.Enforce},
		"BrokenAudit": {"In audit they warn.", []reconcile.PolicyInput{admissionSet("s", "Audit", "package a\ndeny[")}, review("ConfigMap", "", evil, good), verdict.Warn, "do not compile", lock.Audit},
	} {
		t.Run(name, func(t *testing.T) {
			g := &gates{lastGood: map[string]goodSet{}}
			j := &admissionJudge{images: &verifiedImages{}}
			if err := j.build(t.Context(), g, tc.sets, nil); err != nil {
				t.Fatal(err)
			}
			if got := j.rules.Load().mode(); got != tc.mode {
				t.Errorf("mode %s, want %s", got, tc.mode)
			}
			got := j.Judge(t.Context(), tc.req)
			if tc.want == "" {
				if len(got) > 0 {
					t.Errorf("%s\nfindings %v", tc.reason, got)
				}
				return
			}
			if len(got) != 1 || got[0].Severity != tc.want || !strings.Contains(got[0].Message, tc.says) {
				t.Errorf("%s\nfindings %v, want one %s with %q", tc.reason, got, tc.want, tc.says)
			}
		})
	}
}

// A broken change of rules leaves the former ones in force.
func TestAdmissionJudgeKeepsGoodRules(t *testing.T) {
	g := &gates{lastGood: map[string]goodSet{}}
	j := &admissionJudge{images: &verifiedImages{}}
	former := admissionSet("s", "Enforce", "package a\ndeny contains \"first\" if true\n")
	bad := admissionSet("s", "Enforce", "package a\ndeny[")
	for _, in := range []reconcile.PolicyInput{former, bad} {
		if err := j.build(t.Context(), g, []reconcile.PolicyInput{in}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := j.Judge(t.Context(), review("ConfigMap", "", evil, good)); len(got) != 1 || got[0].Message != "first" {
		t.Errorf("findings %v", got)
	}
}
