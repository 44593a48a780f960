package main

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// TestPackParameters: a parameter of a pack that is misspelt keeps the PolicySet from
// compiling, for the reconciler as at admission, where all that it selects is refused.
func TestPackParameters(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, parameters string
		library            []string
		inline             string
		remote             map[string]string
		want               string
	}{
		"Known":     {"A parameter of the pack.", `{"minReplicas": 3}`, []string{"workloads"}, "", nil, ""},
		"Typo":      {"One that is misspelt.", `{"minReplica": 3}`, []string{"workloads"}, "", nil, "is minReplicas meant?"},
		"Packs":     {"Packs of one set share a document.", `{"minReplicas": 3, "allowedRegistries": ["registry.example.com"]}`, []string{"workloads", "supply-chain"}, "", nil, ""},
		"OtherPack": {"What only a pack reads that is not there would be without effect.", `{"allowedRegistries": ["registry.example.com"]}`, []string{"workloads"}, "", nil, `no rule reads a parameter "allowedRegistries"`},
		"None":      {"A pack that has no parameters.", `{"level": "high"}`, []string{"pod-security-restricted"}, "", nil, "there are none to be set"},
		"Inline":    {"Rules of one's own beside a pack have their own.", `{"team": "a"}`, []string{"workloads"}, "package a\ndeny contains \"x\" if input.parameters.team == \"b\"", nil, ""},
		"Alone":     {"Rules of one's own that declare nothing take anything.", `{"taem": "a"}`, nil, "package a\ndeny contains \"x\" if input.parameters.team == \"b\"", nil, ""},
		"Remote": {reason: "Rules from elsewhere may have a schema too.", parameters: `{"taem": "a"}`, want: "is team meant?", remote: map[string]string{
			"a.rego": "package a\ndeny contains \"x\" if input.parameters.team == \"b\"", "parameters.jsonschema": `{"properties": {"team": {}}}`}},
	} {
		t.Run(name, func(t *testing.T) {
			in := reconcile.PolicyInput{Set: &v1alpha1.PolicySet{Spec: v1alpha1.PolicySetSpec{
				Source: v1alpha1.PolicySource{Library: tc.library}, Parameters: &apiextensionsv1.JSON{Raw: []byte(tc.parameters)},
			}}}
			in.Set.Name, in.Set.Spec.Admission = "s", "Enforce"
			if tc.remote != nil {
				in.Remote = &reconcile.RemoteRules{Files: tc.remote}
			}
			if tc.inline != "" {
				in.Set.Spec.Source.Inline = map[string]string{"a.rego": tc.inline}
			}
			g := &gates{lastGood: map[string]goodSet{}}
			err := g.CheckPolicy(t.Context(), in)
			if tc.want == "" {
				if err != nil {
					t.Errorf("%s\n%v", tc.reason, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%s\n%v, want %q", tc.reason, err, tc.want)
			}
			j := &admissionJudge{images: &verifiedImages{}}
			if err := j.build(t.Context(), g, []reconcile.PolicyInput{in}, nil); err != nil {
				t.Fatal(err)
			}
			if fs := j.Judge(t.Context(), review("ConfigMap", "", good, good)); len(fs) != 1 || fs[0].Severity != verdict.Deny || !strings.Contains(fs[0].Message, "do not compile") {
				t.Errorf("%s\nfindings at admission %v", tc.reason, fs)
			}
		})
	}
}

// TestEvalParameters: so it is with --parameters, of all packs and directories together.
func TestEvalParameters(t *testing.T) {
	files := map[string]string{
		"m.yaml": goodConfigMap, "rules/a.rego": "package a\ndeny contains \"x\" if input.parameters.team == \"b\"\n",
		"good.yaml": "{minReplicas: 3, allowedRegistries: [registry.example.com], team: a}\n",
		"bad.yaml":  "{minReplicas: 3, allowedRegistry: [registry.example.com], team: a}\n",
	}
	for file, want := range map[string]struct {
		code int
		says string
	}{"good.yaml": {exitAllowed, ""}, "bad.yaml": {exitUsage, "is allowedRegistries meant?"}} {
		code, out, errs := runPolicyEval(t, files, "", "m.yaml", "--pack", "workloads", "--pack", "supply-chain", "--policy", "rules", "--parameters", file)
		if code != want.code || !strings.Contains(errs, want.says) {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", file, code, want.code, want.says, out, errs)
		}
	}
}
