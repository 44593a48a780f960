package policy_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy"
)

// What is wrong with templates and constraints is said with its place in the file.
func TestGatekeeperRefused(t *testing.T) {
	const rule = `violation[{"msg": "x"}] { true }`
	ok, some := template("T", rule), constraint("T", "c", "{}")
	replaced := func(s, old, with string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("%q is not in %s", old, s)
		}
		return strings.Replace(s, old, with, 1)
	}
	inCode := func(code string) string {
		before, _, _ := strings.Cut(ok, "      rego:")
		return before + "      code:\n" + indented(code, "      ") + "\n"
	}
	for name, tc := range map[string]struct {
		reason string
		yaml   string
		want   string
	}{
		"OK":              {"This is right.", ok + some, ""},
		"NoConstraint":    {"Templates alone judge nothing.", ok, "no constraint in the files"},
		"NoTemplate":      {"Nor do constraints.", some, "0.yaml:2:1: policy set \"gk\": no ConstraintTemplate makes the kind T"},
		"Nothing":         {"Nor does nothing.", "a: b", "0.yaml:1:1: policy set \"gk\": apiVersion or kind is missing"},
		"Others":          {"Samples beside the templates are left out.", ok + some + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n", ""},
		"GroupTypo":       {"A misspelt group is not.", ok + some + "---\napiVersion: constraint.gatekeeper.sh/v1beta1\nkind: T\n", `constraint.gatekeeper.sh/v1beta1 T: only ConstraintTemplates and constraints`},
		"Mutation":        {"What changes objects is not judged by.", ok + some + "---\napiVersion: mutations.gatekeeper.sh/v1\nkind: Assign\n", "only ConstraintTemplates and constraints"},
		"Sync":            {"What fills Gatekeeper's cache is of no use here.", ok + some + "---\napiVersion: syncset.gatekeeper.sh/v1alpha1\nkind: SyncSet\n", ""},
		"Version":         {"A version that nobody knows.", replaced(ok, "templates.gatekeeper.sh/v1", "templates.gatekeeper.sh/v9") + some, `version "v9" of ConstraintTemplate is unknown`},
		"Kind":            {"A kind needs a name.", replaced(ok, "names: {kind: T}", "names: {kind: T/x}") + some, `"T/x" is no name of a kind`},
		"TwoTemplates":    {"One template makes a kind.", ok + "---\n" + ok + some, "two templates make the kind T"},
		"TwoConstraints":  {"A name is one constraint.", ok + some + some, "two constraints are called T/c"},
		"Target":          {"Another target.", replaced(ok, "admission.k8s.gatekeeper.sh", "hpa.example.com") + some, "the target must be admission.k8s.gatekeeper.sh"},
		"TwoTargets":      {"More than one.", replaced(ok, "  targets:\n", "  targets:\n    - target: admission.k8s.gatekeeper.sh\n") + some, "a list of one target"},
		"NoRego":          {"Nothing to judge by.", replaced(ok, "      rego: |", "      other: |") + some, "has no Rego"},
		"CEL":             {"CEL is the API server's business.", inCode("- engine: K8sNativeValidation\n  source: {validations: []}") + some, "the template T is written for K8sNativeValidation alone, which is not Rego"},
		"Both":            {"Rego beside CEL is judged by.", inCode("- engine: K8sNativeValidation\n  source: {validations: []}\n- engine: Rego\n  source:\n    rego: |\n      package t\n      violation[{\"msg\": \"x\"}] { true }") + some, ""},
		"V1":              {"Rego v1 says so.", inCode("- engine: Rego\n  source:\n    version: v1\n    rego: |\n      package t\n      violation contains {\"msg\": \"x\"} if true") + some, ""},
		"V1InV0":          {"And is not taken for v0.", inCode("- engine: Rego\n  source:\n    rego: |\n      package t\n      violation contains {\"msg\": \"x\"} if true") + some, "0.yaml:13:26:"},
		"RegoVersion":     {"A dialect that there is not.", inCode("- engine: Rego\n  source: {version: v2, rego: package t}") + some, `Rego version "v2" is unknown`},
		"Syntax":          {"An error is where it is in the file.", template("T", "violation[{\"msg\": msg}] {\n  msg := \n}") + some, "0.yaml:12:"},
		"NoViolation":     {"A template that never speaks.", template("T", `deny[{"msg": "x"}] { true }`) + some, "the template has no rule violation"},
		"NoSet":           {"Or not in results.", template("T", `violation = "x" { true }`) + some, "violation is not a set"},
		"Function":        {"Or only when it is called.", template("T", `violation(x) { x }`) + some, "violation is not a set"},
		"O1/Network":      {"The network is closed.", template("T", `violation[{"msg": m}] { m := http.send({"url": "http://x", "method": "get"}).raw_body }`) + some, "0.yaml:10:"},
		"O1/ExternalData": {"So are providers of external data.", template("T", `violation[{"msg": "x"}] { external_data({"provider": "p", "keys": []}) }`) + some, "built-in external_data is not available to policies: policies have no network"},
		"O1/Environment":  {"And the environment.", template("T", `violation[{"msg": m}] { m := opa.runtime().env.HOME }`) + some, "opa.runtime is not available"},
		"O2/Data":         {"Data of other packages is undefined.", template("T", `violation[{"msg": "x"}] { data.other.allowed }`) + some, "0.yaml:10:27: policy set \"gk\": a template is given no data.other.allowed: only data.lib and data.inventory"},
		"O2/AllData":      {"Also as a whole.", template("T", `violation[{"msg": "x"}] { data[_].allowed }`) + some, "a template is given no data[_].allowed"},
		"O2/LibPackage":   {"A lib must not be where the rules are.", replaced(ok, "      rego: |", "      libs:\n        - |\n          package t\n          helper = true { true }\n      rego: |") + some, "must begin with lib"},
		"O2/Input":        {"A function may not take another input.", template("T", "violation[{\"msg\": \"x\"}] { f({}) }\nf(input) { input.review }") + some, "the name input is taken"},
		"O7/Pattern":      {"A pattern that does not compile.", template("T", `violation[{"msg": "x"}] { regex.match("(", input.review.name) }`) + some, "does not compile"},
		"Unused":          {"A template without a constraint must compile too.", ok + "---\n" + template("U", "violation[") + some, "0.yaml:"},
		"Action":          {"A misspelt action must not soften.", ok + constraint("T", "c", "enforcementAction: Deny"), `enforcementAction "Deny" is unknown`},
		"ScopedNone":      {"Scoped without scopes.", ok + constraint("T", "c", "enforcementAction: scoped"), "wants scopedEnforcementActions"},
		"ScopedPoint":     {"A scope without a point.", ok + constraint("T", "c", "enforcementAction: scoped\nscopedEnforcementActions: [{action: deny}]"), "name the points"},
		"SpecField":       {"A misspelt field of a constraint.", ok + constraint("T", "c", "enforcmentAction: warn"), `0.yaml:16:21: policy set "gk": spec has no field "enforcmentAction": is enforcementAction meant?`},
		"MatchField":      {"Or of its match.", ok + constraint("T", "c", "match: {excludedNamespace: [a]}"), `it has no field "excludedNamespace": is excludedNamespaces meant?`},
		"MatchKind":       {"Or of its kinds.", ok + constraint("T", "c", "match: {kinds: [{group: [a]}]}"), `unknown field "group"`},
		"MatchScope":      {"A scope that is none.", ok + constraint("T", "c", "match: {scope: namespaced}"), `scope "namespaced" is unknown`},
		"MatchSelector":   {"A selector that is none.", ok + constraint("T", "c", "match: {labelSelector: {matchExpressions: [{key: a, operator: Is}]}}"), `operator "Is" is unknown`},
		"MatchGlob":       {"An asterisk in the middle.", ok + constraint("T", "c", "match: {namespaces: [\"a*b\"]}"), `namespace "a*b"`},
		"MatchType":       {"A list that is none.", ok + constraint("T", "c", "match: {namespaces: a}"), "cannot unmarshal"},
		"Parameters":      {"Parameters that are none.", ok + constraint("T", "c", "parameters: [a]"), "spec.parameters is not an object"},
		"Duplicate":       {"A key that stands there twice.", ok + constraint("T", "c", "match: {}\nmatch: {}"), "stands here twice"},
		"Boolean":         {"A value that readers disagree about.", ok + constraint("T", "c", "parameters: {a: yes}"), "quote it"},
		"Octal":           {"So is this.", ok + constraint("T", "c", "parameters: {a: 0777}"), "not the same number to all readers"},
		"Bomb":            {"Aliases count as what they stand for.", bomb(), "more than 100000 values"},
		"Deep":            {"Deep nesting.", "a: " + strings.Repeat("[", 150) + strings.Repeat("]", 150), "nested deeper"},
		"Large":           {"A large file.", "a: " + strings.Repeat("x", 2<<20), "bytes are more than the limit"},
		"NotText":         {"What is no text.", "a: \xff", "not UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := gatekeeper(t, tc.yaml)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%s\n%v", tc.reason, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%s\nerror %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// bomb is a YAML file that stands for billions of values.
func bomb() string {
	s := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		s += strings.ReplaceAll(strings.ReplaceAll("aN: &aN [*aM, *aM, *aM, *aM, *aM, *aM, *aM, *aM, *aM, *aM]\n", "N", string(rune('1'+i))), "M", string(rune('0'+i)))
	}
	return s
}

func TestGatekeeperSetRefused(t *testing.T) {
	good := policy.Set{Name: "gk", Format: policy.FormatGatekeeper, Manifests: map[string]string{"a.yaml": template("T", `violation[{"msg": "x"}] { true }`) + constraint("T", "c", "{}")}}
	for name, tc := range map[string]struct {
		reason string
		change func(*policy.Set)
		want   string
	}{
		"OK":         {"This is right.", func(*policy.Set) {}, ""},
		"Modules":    {"Rego is in the templates.", func(s *policy.Set) { s.Modules = map[string]string{"a.rego": "package a"} }, "no Rego of its own"},
		"Parameters": {"Parameters are in the constraints.", func(s *policy.Set) { s.Parameters = map[string]any{} }, "are in the constraints"},
		"Version":    {"And versions in the templates.", func(s *policy.Set) { s.RegoVersion = policy.RegoV1 }, "say their Rego version themselves"},
		"Data":       {"There is no data.", func(s *policy.Set) { s.Data = map[string]any{"a": 1} }, "read no data files"},
		"Manifests":  {"Another format has no manifests.", func(s *policy.Set) { s.Format = policy.FormatConftest }, "want the format Gatekeeper"},
	} {
		t.Run(name, func(t *testing.T) {
			set := good
			tc.change(&set)
			_, err := policy.Load(t.Context(), []policy.Set{set}, policy.Options{})
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nerror %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// Parameters are held to the schema of the template.
func TestGatekeeperParameters(t *testing.T) {
	schema := func(s string) string {
		return strings.Replace(template("T", `violation[{"msg": msg}] { msg := sprintf("%v", [input.parameters]) }`),
			"{type: object, x-kubernetes-preserve-unknown-fields: true}", s, 1)
	}
	const names = "{type: object, properties: {names: {type: array, items: {type: string}}, n: {type: integer, default: 3}, m: {type: object, properties: {d: {type: string, default: x}}}, p: {x-kubernetes-int-or-string: true, type: object}, e: {type: string, enum: [a, b]}}}"
	for name, tc := range map[string]struct{ reason, schema, parameters, want string }{
		"Default":       {"Defaults are filled in.", names, "{}", `{"n": 3}`},
		"Deep":          {"In objects that are there.", names, "{m: {}, n: 1}", `{"m": {"d": "x"}, "n": 1}`},
		"Null":          {"Null is the default, if there is one.", names, "{n: null}", `{"n": 3}`},
		"NullNot":       {"Otherwise it is wrong.", names, "{names: null}", "!spec.parameters.names is null"},
		"Typo":          {"A misspelt one would be dropped by an API server.", names, "{name: [a]}", `!spec.parameters has no field "name": is names meant?`},
		"Loose":         {"Some schemas do not name all.", "{type: object, properties: {a: {type: string}}, x-kubernetes-preserve-unknown-fields: true}", "{b: 1}", `{"b": 1}`},
		"Type":          {"A value of another type.", names, "{names: a}", "!spec.parameters.names must be of type array"},
		"Item":          {"In a list.", names, "{names: [a, 1]}", "!spec.parameters.names[1] must be of type string"},
		"Float":         {"A fraction is no integer.", names, "{n: 1.5}", "!spec.parameters.n must be of type integer"},
		"Either":        {"An integer or a string.", names, "{p: 7}", `{"n": 3, "p": 7}`},
		"Enum":          {"One of few.", names, "{e: c}", "!spec.parameters.e must be one of"},
		"Required":      {"One that must be there.", "{type: object, required: [a], properties: {a: {type: string}}}", "{}", "!spec.parameters.a is missing"},
		"Additional":    {"Any names of one type.", "{type: object, additionalProperties: {type: integer}}", "{a: 1, b: x}", "!spec.parameters.b must be of type integer"},
		"BrokenDefault": {"A default must be of its type.", "{type: object, properties: {a: {type: string, default: 1}}}", "{}", "!the default of spec.parameters.a must be of type string"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := gatekeeper(t, schema(tc.schema), constraint("T", "c", "parameters: "+tc.parameters))
			if wrong, ok := strings.CutPrefix(tc.want, "!"); ok {
				if err == nil || !strings.Contains(err.Error(), wrong) {
					t.Errorf("%s\nerror %v, want %q", tc.reason, err, wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if fs := e.Evaluate(t.Context(), policy.Input{Object: []byte(configMap)}); len(fs) != 1 || fs[0].Message != tc.want {
				t.Errorf("%s\nfindings %v, want %s", tc.reason, fs, tc.want)
			}
		})
	}
}

// No file makes the reader panic, and what it takes it judges by.
func FuzzGatekeeper(f *testing.F) {
	f.Add(template("T", `violation[{"msg": "x"}] { input.review.object.kind }`) + constraint("T", "c", "match: {kinds: [{kinds: [ConfigMap]}], namespaceSelector: {matchLabels: {a: b}}}\nparameters: {a: [1, {b: c}]}"))
	f.Add(template("T", `violation[{"msg": "x"}] { data.inventory }`) + constraint("T", "c", "enforcementAction: scoped\nscopedEnforcementActions: [{action: warn, enforcementPoints: [{name: \"*\"}]}]"))
	f.Add(bomb())
	f.Fuzz(func(t *testing.T, src string) {
		set := policy.Set{Name: "gk", Format: policy.FormatGatekeeper, Manifests: map[string]string{"a.yaml": src}}
		e, err := policy.Load(t.Context(), []policy.Set{set}, policy.Options{})
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r != '\n' && r < ' ' }) {
				t.Errorf("the error %q holds control characters", err)
			}
			return
		}
		if !strings.Contains(src, "violation") {
			t.Errorf("%q judges by nothing", src)
		}
		e.Evaluate(t.Context(), policy.Input{Object: []byte(configMap)})
	})
}
