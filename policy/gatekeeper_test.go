package policy_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy"
)

// gatekeeper loads YAML files as one set.
func gatekeeper(t testing.TB, files ...string) (*policy.Engine, error) {
	t.Helper()
	set := policy.Set{Name: "gk", Format: policy.FormatGatekeeper, Manifests: map[string]string{}}
	for i, f := range files {
		set.Manifests[fmt.Sprintf("%d.yaml", i)] = f
	}
	return policy.Load(t.Context(), []policy.Set{set}, policy.Options{Timeout: patient})
}

// template is a ConstraintTemplate of a kind, with Rego in v0.
func template(kind, rego string) string {
	return fmt.Sprintf(`apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: %s}
spec:
  crd: {spec: {names: {kind: %s}, validation: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
  targets:
    - target: admission.k8s.gatekeeper.sh
      rego: |
%s
`, strings.ToLower(kind), kind, indented("package t\n"+rego, "        "))
}

func indented(s, by string) string { return by + strings.ReplaceAll(s, "\n", "\n"+by) }

// constraint is one of a kind with what else is in its spec.
func constraint(kind, name, spec string) string {
	return fmt.Sprintf("---\napiVersion: constraints.gatekeeper.sh/v1beta1\nkind: %s\nmetadata: {name: %s}\nspec:\n%s\n", kind, name, indented(spec, "  "))
}

func TestGatekeeper(t *testing.T) {
	labels, err := os.ReadFile("testdata/gatekeeper/labels.yaml")
	if err != nil {
		t.Fatal(err)
	}
	object := func(kind, rest string) []byte {
		return []byte(`{"apiVersion":"v1","kind":"` + kind + `","metadata":{"name":"a",` + rest + `}}`)
	}
	const owner, team = "deny PolicyDenied [gk/AcmeLabels/owner]: add label owner to ", "warn PolicyDenied [gk/AcmeLabels/team]: label team to "
	for name, tc := range map[string]struct {
		reason string
		input  policy.Input
		want   string
	}{
		"Both":      {"Each constraint judges with its own parameters, defaults filled in.", policy.Input{Object: object("ConfigMap", `"namespace":"shop"`)}, owner + "ConfigMap a\n" + team + "ConfigMap a"},
		"Labelled":  {"What is asked for is there.", policy.Input{Object: object("ConfigMap", `"namespace":"shop","labels":{"owner":"x","team":"red"}`)}, ""},
		"Pattern":   {"But must be what is asked for.", policy.Input{Object: object("ConfigMap", `"namespace":"shop","labels":{"owner":"x","team":"RED"}`)}, team + "ConfigMap a"},
		"Excluded":  {"Namespaces can be excluded, by the beginning of their name.", policy.Input{Object: object("ConfigMap", `"namespace":"kube-system"`)}, team + "ConfigMap a"},
		"Kind":      {"Kinds are selected.", policy.Input{Object: object("Secret", `"namespace":"shop"`)}, team + "Secret a"},
		"Cluster":   {"What is in no namespace is in no excluded one.", policy.Input{Object: object("Namespace", `"labels":{"team":"red"}`)}, owner + "Namespace a"},
		"Selector":  {"By labels.", policy.Input{Object: object("ConfigMap", `"namespace":"shop","labels":{"owner":"x","legacy":"y"}`)}, ""},
		"Update":    {"A lib sees the operation.", policy.Input{Operation: policy.Update, Object: object("ConfigMap", `"namespace":"shop"`), OldObject: object("ConfigMap", `"namespace":"shop"`)}, owner + "ConfigMap a"},
		"Deletion":  {"A template that looks at the operation to leave updates out judges no deletions.", policy.Input{Operation: policy.Delete, OldObject: object("ConfigMap", `"namespace":"shop"`)}, ""},
		"Generated": {"A name that is yet to be made is none.", policy.Input{Object: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"a-","namespace":"shop","labels":{"team":"red"}}}`)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := gatekeeper(t, string(labels))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if diff := cmp.Diff(tc.want, short(e.Evaluate(t.Context(), tc.input))); diff != "" {
					t.Errorf("%s\n%s", tc.reason, diff)
				}
			}
		})
	}
}

// review is what a rule sees: Gatekeeper's names for it.
func TestGatekeeperReview(t *testing.T) {
	in := fullInput(t)
	for rule, want := range map[string]string{
		`input.review.object.metadata.name`:                                         "a",
		`input.review.oldObject.metadata.name`:                                      "old",
		`input.review.operation`:                                                    "UPDATE",
		`input.review.userInfo.username`:                                            "alice",
		`input.review.namespaceObject.metadata.name`:                                "shop",
		`input.review._unstable.namespace.metadata.name`:                            "shop",
		`input.review.kind.kind`:                                                    "ConfigMap",
		`concat("/", ["x", input.review.kind.group, input.review.kind.version])`:    "x//v1",
		`input.review.name`:                                                         "a",
		`input.review.namespace`:                                                    "shop",
		`data.inventory.namespace.shop.v1.ConfigMap.a.metadata.name`:                "a",
		`sprintf("%v", [input.parameters])`:                                         `{"k": [1, "x"]}`,
		`sprintf("%v", [object.get(input, "parameters", {})])`:                      `{"k": [1, "x"]}`,
		`sprintf("%v", [json.unmarshal(json.marshal(input.review.object)).data.n])`: "1",
	} {
		e, err := gatekeeper(t, template("T", "violation[{\"msg\": msg}] { msg := "+rule+" }"), constraint("T", "c", `parameters: {k: [1, x]}`))
		if err != nil {
			t.Errorf("%s: %v", rule, err)
			continue
		}
		fs := e.Evaluate(t.Context(), in)
		if len(fs) != 1 || fs[0].Message != want || fs[0].Policy != "gk/T/c" {
			t.Errorf("%s: findings = %v, want %q", rule, fs, want)
		}
	}
}

func TestGatekeeperContext(t *testing.T) {
	lack := func(what string) string {
		return "undetermined PolicyUndefined [gk/T/c]: the rule reads " + what + ", which is not known here"
	}
	object := []byte(configMap)
	for name, tc := range map[string]struct {
		reason, rule, spec string
		input              policy.Input
		want               string
	}{
		"User":        {"Who asks is not known in CI.", `violation[{"msg": "x"}] { not input.review.userInfo.username == "a" }`, "{}", policy.Input{Object: object}, lack("input.review.userInfo")},
		"Inventory":   {"Nor other objects.", `violation[{"msg": "x"}] { data.inventory.cluster[_] }`, "{}", policy.Input{Object: object}, lack("data.inventory")},
		"Request":     {"Nor anywhere what else is in a request.", `violation[{"msg": "x"}] { input.review.dryRun }`, "{}", policy.Input{Object: object, None: everyPart}, lack("more of input.review than gitgate has")},
		"Create":      {"That nothing is replaced is null, as in a request.", `violation[{"msg": "x"}] { is_null(input.review.oldObject) }`, "{}", policy.Input{Object: object}, "deny PolicyDenied [gk/T/c]: x"},
		"Review":      {"A helper that is given all of it reads what it reads.", "violation[{\"msg\": \"x\"}] { new(input.review) }\nnew(r) { r.operation == \"CREATE\" }", "{}", policy.Input{Object: object}, "deny PolicyDenied [gk/T/c]: x"},
		"Selector":    {"Whether the Namespace is selected is not known.", `violation[{"msg": "x"}] { true }`, "match: {namespaceSelector: {matchLabels: {a: b}}}", policy.Input{Object: object}, "undetermined PolicyUndefined [gk/T/c]: the constraint selects by the labels of the Namespace, which is not known here"},
		"SelectorYes": {"Here it is.", `violation[{"msg": "x"}] { true }`, "match: {namespaceSelector: {matchLabels: {a: b}}}", policy.Input{Object: object, Namespace: []byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","labels":{"a":"b"}}}`)}, "deny PolicyDenied [gk/T/c]: x"},
		"SelectorNo":  {"And here it is not.", `violation[{"msg": "x"}] { true }`, "match: {namespaceSelector: {matchLabels: {a: b}}}", policy.Input{Object: object, Namespace: []byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`)}, ""},
		"SelectorOff": {"What is not selected otherwise does not hang on it.", `violation[{"msg": "x"}] { true }`, "match: {scope: Cluster, namespaceSelector: {matchLabels: {a: b}}}", policy.Input{Object: object}, ""},
		"DryRun":      {"A dry run never blocks.", `violation[{"msg": "x"}] { input.review.userInfo }`, "enforcementAction: dryrun", policy.Input{Object: object}, strings.Replace(lack("input.review.userInfo"), "undetermined", "info", 1)},
		"Deletion":    {"A template that does not look at the operation judges no deletions.", `violation[{"msg": "x"}] { true }`, "{}", policy.Input{Operation: policy.Delete, OldObject: object}, ""},
		"O2/String":   {"A result is an object.", `violation["x"] { true }`, "{}", policy.Input{Object: object}, "deny PolicyError [gk/T/c]: a result is a string and must be an object with a msg"},
		"O2/NoMsg":    {"With a msg: Gatekeeper drops it.", `violation[{"message": "x"}] { true }`, "{}", policy.Input{Object: object}, "deny PolicyError [gk/T/c]: a result has no msg: add one, or a title in the METADATA of the rule"},
		"O2/MsgType":  {"Which is a text.", `violation[{"msg": 7}] { true }`, "{}", policy.Input{Object: object}, "deny PolicyError [gk/T/c]: in a result, msg is not a string"},
		"Details":     {"What else is in it is the author's.", `violation[{"msg": "x", "field": 7, "details": {"a": 1}}] { true }`, "{}", policy.Input{Object: object}, "deny PolicyDenied [gk/T/c]: x"},
		"Parameter":   {"One whose parameters name them does.", `violation[{"msg": "x"}] { input.review.operation == input.parameters.operations[_] }`, "parameters: {operations: [DELETE]}", policy.Input{Operation: policy.Delete, OldObject: object}, "deny PolicyDenied [gk/T/c]: x"},
		"Unread":      {"But not where it does not look at the operation.", `violation[{"msg": "x"}] { true }`, "parameters: {operations: [DELETE]}", policy.Input{Operation: policy.Delete, OldObject: object}, ""},
		"Deletions":   {"One that names them does, and the old object is the object.", `violation[{"msg": msg}] { input.review.operation == "DELETE"; msg := input.review.object.metadata.name }`, "{}", policy.Input{Operation: policy.Delete, OldObject: object}, "deny PolicyDenied [gk/T/c]: a"},
		"NoNamespace": {"That there is no Namespace is null, as in Gatekeeper.", `violation[{"msg": "x"}] { is_null(input.review.namespaceObject) }`, "{}", policy.Input{Object: object, None: policy.PartNamespace}, "deny PolicyDenied [gk/T/c]: x"},
		"Types":       {"Of another type a built-in is undefined: helpers tell types apart by it.", "violation[{\"msg\": \"x\"}] { not percent(object.get(input.review.object, \"n\", 3)) }\npercent(v) { endswith(v, \"%\") }", "{}", policy.Input{Object: object}, "deny PolicyDenied [gk/T/c]: x"},
		"TypesSilent": {"Also where nothing is said.", "violation[{\"msg\": \"x\"}] { endswith(object.get(input.review.object, \"n\", 3), \"%\") }", "{}", policy.Input{Object: object}, ""},
		"O6/Spoke":    {"What is said although a built-in failed is said.", "violation[{\"msg\": \"no number\"}] { not to_number(input.review.name) }", "{}", policy.Input{Object: object}, "deny PolicyDenied [gk/T/c]: no number"},
		"O6/Bound":    {"What would cost too much is an error.", "violation[{\"msg\": \"x\"}] { not numbers.range(1, 1000000000) }", "{}", policy.Input{Object: object}, "undetermined PolicyTimeout [gk/T/c]: 0.yaml:10: numbers.range would work on over 1048576 elements, more than the 1048576 elements or 8 MiB that one call may"},
		"O6/Error":    {"A built-in that fails where nothing is said denies.", `violation[{"msg": "x"}] { to_number(input.review.name) > 1 }`, "{}", policy.Input{Object: object}, "deny PolicyError [gk/T/c]: 0.yaml:10: to_number: strconv.ParseFloat: parsing \"a\": invalid syntax"},
		"Secret":      {"What is in a Secret is not shown.", `violation[{"msg": msg}] { msg := input.review.object.data.k }`, "{}", policy.Input{Object: []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"data":{"k":"aHVudGVyMg=="}}`)}, "deny PolicyDenied [gk/T/c]: (redacted)"},
		"Scoped":      {"Of scoped actions the hardest at admission counts.", `violation[{"msg": "x"}] { true }`, "enforcementAction: scoped\nscopedEnforcementActions:\n- {action: deny, enforcementPoints: [{name: audit.gatekeeper.sh}]}\n- {action: warn, enforcementPoints: [{name: validation.gatekeeper.sh}]}", policy.Input{Object: object}, "warn PolicyDenied [gk/T/c]: x"},
		"ScopedElse":  {"Where none is for it, it is noted.", `violation[{"msg": "x"}] { true }`, "enforcementAction: scoped\nscopedEnforcementActions:\n- {action: deny, enforcementPoints: [{name: audit.gatekeeper.sh}]}", policy.Input{Object: object}, "info PolicyDenied [gk/T/c]: x"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := gatekeeper(t, template("T", tc.rule), constraint("T", "c", tc.spec))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if diff := cmp.Diff(tc.want, short(e.Evaluate(t.Context(), tc.input))); diff != "" {
					t.Errorf("%s\n%s", tc.reason, diff)
				}
			}
		})
	}
}

// TestGatekeeperOperations: what a template lists says whether it judges deletions,
// whatever its rules look at.
func TestGatekeeperOperations(t *testing.T) {
	in := policy.Input{Operation: policy.Delete, OldObject: []byte(configMap)}
	source := template("T", `violation[{"msg": msg}] { input.review.operation != "delete"; msg := input.review.object.metadata.name }`)
	const denied, target = "deny PolicyDenied [gk/T/c]: a", "target: admission.k8s.gatekeeper.sh\n"
	for list, want := range map[string]string{`["*"]`: denied, `["CREATE", "delete"]`: denied, `["CREATE", "UPDATE"]`: "", `[]`: denied} {
		e, err := gatekeeper(t, strings.Replace(source, target, target+"      operations: "+list+"\n", 1), constraint("T", "c", "{}"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, short(e.Evaluate(t.Context(), in))); diff != "" {
			t.Errorf("%s\n%s", list, diff)
		}
	}
}
