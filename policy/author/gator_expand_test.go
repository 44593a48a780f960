package author_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy/author"
)

const (
	ownerTemplate = `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: owned}
spec:
  crd: {spec: {names: {kind: Owned}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package owned
      violation[{"msg": msg}] {
        not input.review.object.metadata.labels.owner
        msg := sprintf("%v %v/%v of %v has no owner", [input.review.kind.kind, input.review.namespace, input.review.object.metadata.name, owner])
      }
      owner = input.review.object.metadata.ownerReferences[0].kind
      default owner = "nobody"
`
	podsOfDeployments = `apiVersion: expansion.gatekeeper.sh/v1beta1
kind: ExpansionTemplate
metadata: {name: pods}
spec:
  applyTo: [{groups: [apps], versions: [v1], kinds: [Deployment]}]
  templateSource: spec.template
  generatedGVK: {group: "", version: v1, kind: Pod}
  enforcementAction: warn
`
	crews = `apiVersion: expansion.gatekeeper.sh/v1alpha1
kind: ExpansionTemplate
metadata: {name: crews}
spec:
  applyTo: [{groups: [acme.example], versions: [v1], kinds: [Crew]}]
  templateSource: spec.crew
  generatedGVK: {group: apps, version: v1, kind: Deployment}
`
)

// aToB and bToA make each other's: every object has metadata.
var (
	aToB = strings.Replace(podsOfDeployments, "spec.template", "metadata", 1)
	bToA = strings.NewReplacer("name: pods", "name: back", "groups: [apps]", `groups: [""]`, "kinds: [Deployment]", "kinds: [Pod]",
		"spec.template", "metadata", `{group: "", version: v1, kind: Pod}`, "{group: apps, version: v1, kind: Deployment}").Replace(podsOfDeployments)
)

// expansionSuite runs one case.
func expansionSuite(t *testing.T, spec, expansion, assertions string) author.Result {
	t.Helper()
	r, err := author.Run(t.Context(), []author.Source{{FS: files(map[string]string{
		"template.yaml":   ownerTemplate,
		"constraint.yaml": "apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: Owned\nmetadata: {name: c}\nspec: " + spec + "\n",
		"expansion.yaml":  expansion,
		"web.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: Web, namespace: shop, labels: {owner: a}}\n" +
			"spec: {replicas: 12345678901234567890, template: {metadata: {labels: {app: web}}, spec: {containers: []}}}\n",
		"crew.yaml": "apiVersion: acme.example/v1\nkind: Crew\nmetadata: {name: all, namespace: shop, labels: {owner: a}}\nspec: {crew: {metadata: {labels: {owner: a}}, spec: {template: {}}}}\n",
		"bare.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: bare, labels: {owner: a}}\nspec: {}\n",
		"suite.yaml": "apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\ntests:\n- name: t\n  template: template.yaml\n  constraint: constraint.yaml\n" +
			"  expansion: expansion.yaml\n  cases:\n  - {name: c, " + assertions + "}\n",
	})}}, author.Options{})
	if err != nil || len(r.Tests) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	return r.Tests[0]
}

// What a controller would make of an object is judged with it, as gator does.
func TestGatorExpands(t *testing.T) {
	both := podsOfDeployments + "---\n" + crews
	for name, tc := range map[string]struct {
		reason, spec, expansion, assertions string
		want                                author.Status
		message                             string
	}{
		"Pod":       {"The Pod of a Deployment is judged, in its namespace and as its own.", "{}", podsOfDeployments, `object: web.yaml, assertions: [{violations: 1}, {violations: 1, message: '^\[Implied by pods\] Pod shop/web-pod of Deployment has no owner$'}]`, author.Passed, ""},
		"Chain":     {"What is made makes more.", "{}", both, `object: crew.yaml, assertions: [{violations: 1, message: 'Pod shop/all-deployment-pod of Deployment'}, {violations: 1}]`, author.Passed, ""},
		"Others":    {"What no template applies to is judged alone.", "{}", crews, "object: web.yaml, assertions: [{violations: \"no\"}]", author.Passed, ""},
		"Kinds":     {"A constraint judges what it matches.", "{match: {kinds: [{apiGroups: [apps], kinds: [Deployment]}]}}", podsOfDeployments, "object: web.yaml, assertions: [{violations: \"no\"}]", author.Passed, ""},
		"Original":  {"One on what is written does not judge what is made.", "{match: {source: Original}}", podsOfDeployments, "object: web.yaml, assertions: [{violations: \"no\"}]", author.Passed, ""},
		"Generated": {"One on what is made does.", "{match: {source: Generated}}", podsOfDeployments, "object: web.yaml, assertions: [{violations: 1}]", author.Passed, ""},
		"NoSource":  {"An object without the part is no success.", "{}", podsOfDeployments, "object: bare.yaml, assertions: [{violations: \"no\"}]", author.Errored, "no object at spec.template"},
		"Itself":    {"Nothing is made of what it is.", "{}", strings.Replace(podsOfDeployments, `{group: "", version: v1, kind: Pod}`, "{group: apps, version: v1, kind: Deployment}", 1), "object: web.yaml, assertions: [{}]", author.Errored, "applies to what it generates"},
		"Circle":    {"Nor in a circle.", "{}", aToB + "---\n" + bToA, "object: web.yaml, assertions: [{}]", author.Errored, "can be expanded again, 30 times"},
		"Mutation":  {"What would be mutated is told.", "{}", "apiVersion: mutations.gatekeeper.sh/v1\nkind: Assign\nmetadata: {name: a}\n", "object: web.yaml, assertions: [{}]", author.Errored, "expansion.yaml:1: mutations.gatekeeper.sh/v1 Assign: only ExpansionTemplates are expanded by"},
		"Version":   {"A version that nobody knows.", "{}", strings.Replace(crews, "v1alpha1", "v9", 1), "object: web.yaml, assertions: [{}]", author.Errored, `version "v9"`},
		"Nameless":  {"One that lacks what it needs.", "{}", strings.Replace(crews, "spec.crew", "''", 1), "object: web.yaml, assertions: [{}]", author.Errored, "has metadata.name"},
	} {
		t.Run(name, func(t *testing.T) {
			got := expansionSuite(t, tc.spec, tc.expansion, tc.assertions)
			if got.Status != tc.want || !strings.Contains(strings.Join(got.Message, "\n"), tc.message) {
				t.Errorf("%s\n%+v, want %s %q", tc.reason, got, tc.want, tc.message)
			}
		})
	}
}

// Of constraints that are scoped, gator asks those that are for it.
func TestGatorPoint(t *testing.T) {
	scoped := func(points string) string {
		return "{enforcementAction: scoped, scopedEnforcementActions: [{action: warn, enforcementPoints: [" + points + "]}], match: {source: Generated}}"
	}
	for points, violations := range map[string]string{
		"{name: gator.gatekeeper.sh}": "1", `{name: "*"}`: "1", "{name: validation.gatekeeper.sh}": `"no"`, "{name: audit.gatekeeper.sh}, {name: gator.gatekeeper.sh}": "1",
	} {
		if got := expansionSuite(t, scoped(points), podsOfDeployments, "object: web.yaml, assertions: [{violations: "+violations+"}]"); got.Status != author.Passed {
			t.Errorf("%s: %+v", points, got)
		}
	}
}
