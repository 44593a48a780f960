package main

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

const (
	gatekeeperTemplate = `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: noevil}
spec:
  crd: {spec: {names: {kind: NoEvil}, validation: {openAPIV3Schema: {type: object, properties: {value: {type: string, default: evil}}}}}}
  targets:
    - target: admission.k8s.gatekeeper.sh
      rego: |
        package noevil
        violation[{"msg": msg}] {
          input.review.object.data.k == input.parameters.value
          msg := "no evil of Gatekeeper"
        }
`
	gatekeeperConstraint = "apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: NoEvil\nmetadata: {name: everywhere}\n"
)

// One object gets one verdict from each format, at every door that a PolicySet has.
func TestPolicySetFormats(t *testing.T) {
	for name, tc := range map[string]struct {
		reason    string
		spec      v1alpha1.PolicySetSpec
		configMap map[string]string
		want      string // of the finding, or after ! of the error
	}{
		"Gitgate": {reason: "The native format is the default.", want: "native",
			spec: v1alpha1.PolicySetSpec{Source: v1alpha1.PolicySource{Inline: map[string]string{"a.rego": "package a\ndeny contains \"native\" if input.object.data.k == data.word", "data.yaml": "word: evil"}}}},
		"AnyName": {reason: "A module may bear any name.", want: "native",
			spec: v1alpha1.PolicySetSpec{Source: v1alpha1.PolicySource{Inline: map[string]string{"a": "package a\ndeny contains \"native\""}}}},
		"V0": {reason: "In Rego v0.", want: "old",
			spec: v1alpha1.PolicySetSpec{RegoVersion: "v0", Source: v1alpha1.PolicySource{Inline: map[string]string{"a.rego": "package a\ndeny[msg] { input.object.data.k == \"evil\"; msg := \"old\" }"}}}},
		"Conftest": {reason: "The object is the input, files are data.", want: "conftest says evil",
			spec:      v1alpha1.PolicySetSpec{Format: "Conftest", Source: v1alpha1.PolicySource{Inline: map[string]string{"a.rego": "package main\ndeny contains sprintf(\"conftest says %s\", [data.word]) if input.data.k == data.word"}}},
			configMap: map[string]string{"words.yaml": "word: evil", "README.md": "# words"}},
		"Gatekeeper": {reason: "Templates and constraints are taken as they are.", want: "no evil of Gatekeeper",
			spec:      v1alpha1.PolicySetSpec{Format: "Gatekeeper", Source: v1alpha1.PolicySource{Inline: map[string]string{"constraint.yaml": gatekeeperConstraint}}},
			configMap: map[string]string{"template.yaml": gatekeeperTemplate}},
		"GatekeeperName": {reason: "Their files say what they are.", want: "!must end in .yaml",
			spec: v1alpha1.PolicySetSpec{Format: "Gatekeeper", Source: v1alpha1.PolicySource{Inline: map[string]string{"constraint": gatekeeperConstraint}}}},
		"GatekeeperParameters": {reason: "Parameters are in the constraints.", want: "!in the constraints",
			spec: v1alpha1.PolicySetSpec{Format: "Gatekeeper", Parameters: &apiextensionsv1.JSON{Raw: []byte(`{"a":1}`)}, Source: v1alpha1.PolicySource{Inline: map[string]string{"a.yaml": gatekeeperConstraint}}}},
		"Data": {reason: "Data that cannot be read is no data.", want: "!data.yaml",
			spec: v1alpha1.PolicySetSpec{Source: v1alpha1.PolicySource{Inline: map[string]string{"a.rego": "package a\ndeny contains \"x\"", "data.yaml": "[1]"}}}},
		"Format": {reason: "A format that nobody has.", want: "!is not supported",
			spec: v1alpha1.PolicySetSpec{Format: "Kyverno", Source: v1alpha1.PolicySource{Inline: map[string]string{"a.rego": "package a\ndeny contains \"x\""}}}},
	} {
		t.Run(name, func(t *testing.T) {
			in := reconcile.PolicyInput{Set: &v1alpha1.PolicySet{Spec: tc.spec}, Modules: tc.configMap}
			in.Set.Name, in.Set.Spec.Admission = "s", "Enforce"
			g := &gates{lastGood: map[string]goodSet{}}
			engine, err := g.engine(t.Context(), []reconcile.PolicyInput{in})
			if wrong, ok := strings.CutPrefix(tc.want, "!"); ok {
				if err == nil || !strings.Contains(err.Error(), wrong) {
					t.Fatalf("%s\nerror %v, want %q", tc.reason, err, wrong)
				}
				// At admission what selects all refuses all.
				j := &admissionJudge{images: &verifiedImages{}}
				if err := j.build(t.Context(), g, []reconcile.PolicyInput{in}, nil); err != nil {
					t.Fatal(err)
				}
				if fs := j.Judge(t.Context(), review("ConfigMap", "", good, good)); len(fs) != 1 || fs[0].Severity != verdict.Deny || !strings.Contains(fs[0].Message, "do not compile") {
					t.Errorf("findings at admission %v", fs)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			fs := engine.Evaluate(t.Context(), policy.Input{Object: []byte(evil)})
			if len(fs) != 1 || fs[0].Message != tc.want || fs[0].Severity != verdict.Deny {
				t.Fatalf("%s\nfindings %v, want %q", tc.reason, fs, tc.want)
			}
			j := &admissionJudge{images: &verifiedImages{}}
			if err := j.build(t.Context(), g, []reconcile.PolicyInput{in}, nil); err != nil {
				t.Fatal(err)
			}
			if at := j.Judge(t.Context(), review("ConfigMap", "", evil, good)); len(at) != 1 || at[0].Message != fs[0].Message || at[0].Policy != fs[0].Policy {
				t.Errorf("%s\nat admission %v, want %v", tc.reason, at, fs)
			}
		})
	}
}
