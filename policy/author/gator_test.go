package author_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy/author"
)

const (
	labelsTemplate = `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: k8srequiredlabels}
spec:
  crd:
    spec:
      names: {kind: K8sRequiredLabels}
      validation:
        openAPIV3Schema:
          type: object
          properties:
            labels: {type: array, items: {type: string}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package k8srequiredlabels
      violation[{"msg": msg}] {
        required := input.parameters.labels[_]
        not input.review.object.metadata.labels[required]
        msg := sprintf("label %v is missing", [required])
      }
      violation[{"msg": "two of this name"}] {
        other := data.inventory.cluster.v1.Namespace[_]
        other.metadata.annotations.alias == input.review.object.metadata.name
      }
      violation[{"msg": msg}] {
        input.review.operation == "DELETE"
        msg := sprintf("%v deletes", [input.review.userInfo.username])
      }
`
	labelsConstraint = `apiVersion: constraints.gatekeeper.sh/v1beta1
kind: K8sRequiredLabels
metadata: {name: team}
spec:
  match: {kinds: [{apiGroups: [""], kinds: [Namespace]}]}
  parameters: {labels: [team, owner]}
`
	suiteHead = "apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\nmetadata: {name: labels}\ntests:\n- name: team\n  template: ../template.yaml\n  constraint: constraint.yaml\n"
)

// gator runs one suite.
func gator(t *testing.T, text string, o author.Options) (author.Report, error) {
	t.Helper()
	return author.Run(t.Context(), []author.Source{{FS: files(map[string]string{
		"template.yaml":         labelsTemplate,
		"tests/constraint.yaml": labelsConstraint,
		"tests/wrong.yaml":      strings.Replace(labelsConstraint, "[team, owner]", "7", 1),
		"tests/suite.yaml":      text,
		"tests/bare.yaml":       "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n",
		"tests/good.yaml":       "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {team: a, owner: b}}\n",
		"tests/alias.yaml":      "apiVersion: v1\nkind: Namespace\nmetadata: {name: b, annotations: {alias: a}}\n",
		"tests/other.yaml":      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\n",
		"tests/review.yaml": "apiVersion: admission.k8s.io/v1\nkind: AdmissionReview\nrequest:\n  operation: DELETE\n  userInfo: {username: mallory}\n" +
			"  oldObject: {apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {team: a, owner: b}}}\n",
	})}}, o)
}

func TestGator(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, cases string
		want          author.Status
		message       string
	}{
		"Yes":        {"There are violations.", "{object: bare.yaml, assertions: [{violations: yes}]}", author.Passed, ""},
		"Default":    {"That is what an assertion says by default.", "{object: bare.yaml, assertions: [{}]}", author.Passed, ""},
		"Count":      {"They may be counted.", "{object: bare.yaml, assertions: [{violations: 2}]}", author.Passed, ""},
		"Miscounted": {"The number counts.", "{object: bare.yaml, assertions: [{violations: 1}]}", author.Failed, "got 2 violations, want 1\nviolation: label owner is missing\nviolation: label team is missing"},
		"Message":    {"They may be told apart.", "{object: bare.yaml, assertions: [{violations: 1, message: team}, {violations: no, message: shop}]}", author.Passed, ""},
		"NoMessage":  {"The message counts.", "{object: bare.yaml, assertions: [{message: shop}]}", author.Failed, `got no violations whose message matches "shop", want at least one`},
		"No":         {"There may be none.", "{object: good.yaml, assertions: [{violations: no}]}", author.Passed, ""},
		"NotNo":      {"But there are.", "{object: bare.yaml, assertions: [{violations: no}]}", author.Failed, "got 2 violations, want 0"},
		"NotYes":     {"But there are none.", "{object: good.yaml, assertions: [{violations: yes}]}", author.Failed, "got no violations, want at least one"},
		"Match":      {"A constraint judges what it matches.", "{object: other.yaml, assertions: [{violations: no}]}", author.Passed, ""},
		"Inventory":  {"Other objects are known.", "{object: good.yaml, inventory: [alias.yaml], assertions: [{violations: 1, message: two of}]}", author.Passed, ""},
		"Review":     {"An admission review says who asks for what.", "{object: review.yaml, assertions: [{violations: 1, message: mallory deletes}]}", author.Passed, ""},
		"Skip":       {"A case may be skipped.", "{object: bare.yaml, skip: true}", author.Skipped, ""},
		"NoAssert":   {"A case without assertions asserts nothing.", "{object: bare.yaml}", author.Errored, "no assertions"},
		"NoObject":   {"A case has an object.", "{assertions: [{}]}", author.Errored, "object is missing"},
		"Gone":       {"It is there.", "{object: gone.yaml, assertions: [{}]}", author.Errored, "gone.yaml: file does not exist"},
		"Escape":     {"And it is in the repository.", "{object: ../../gone.yaml, assertions: [{}]}", author.Errored, "leads out of"},
		"Word":       {"What is no number is told.", "{object: bare.yaml, assertions: [{violations: some}]}", author.Errored, "yes, no or a number"},
		"Regexp":     {"A message that is no regular expression is told.", "{object: bare.yaml, assertions: [{message: '('}]}", author.Errored, "missing closing )"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := gator(t, suiteHead+"  cases:\n  - "+strings.Replace(tc.cases, "{", "{name: c, ", 1)+"\n- name: other\n  template: ../template.yaml\n  constraint: constraint.yaml\n  cases: [{name: g, object: good.yaml, assertions: [{violations: \"no\"}]}]\n", author.Options{})
			if err != nil || len(r.Tests) != 2 {
				t.Fatalf("%s\n%+v, %v", tc.reason, r, err)
			}
			got := r.Tests[0]
			if got.Status != tc.want || !strings.Contains(strings.Join(got.Message, "\n"), tc.message) || got.FullName() != "labels.team/c" || got.Line != 5 {
				t.Errorf("%s\n%+v, want %s %q", tc.reason, got, tc.want, tc.message)
			}
		})
	}
}

func TestGatorTests(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, text string
		want         author.Status
		message      string
	}{
		"Invalid":    {"A constraint that should be refused is.", strings.Replace(suiteHead, "constraint.yaml", "wrong.yaml", 1) + "  invalid: true\n", author.Passed, ""},
		"NotInvalid": {"One that should be refused is not.", suiteHead + "  invalid: true\n", author.Failed, "should be refused"},
		"NoCases":    {"A test without cases asserts nothing.", suiteHead, author.Failed, "no cases"},
		"Loads":      {"A test whose constraint does not load fails.", strings.Replace(suiteHead, "constraint.yaml", "wrong.yaml", 1) + "  cases: [{name: c, object: good.yaml, assertions: [{violations: \"no\"}]}]\n", author.Errored, "wrong.yaml:"},
		"Gone":       {"A file that is gone is no constraint that is refused.", strings.Replace(suiteHead, "constraint.yaml", "gone.yaml", 1) + "  invalid: true\n", author.Errored, "gone.yaml"},
		"Expansion":  {"ExpansionTemplates that are gone are told.", suiteHead + "  expansion: e.yaml\n  cases: [{name: c, object: good.yaml, assertions: [{violations: \"no\"}]}]\n", author.Errored, "e.yaml: file does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := gator(t, tc.text, author.Options{})
			if err != nil || len(r.Tests) != 1 {
				t.Fatalf("%s\n%+v, %v", tc.reason, r, err)
			}
			if got := r.Tests[0]; got.Status != tc.want || !strings.Contains(strings.Join(got.Message, "\n"), tc.message) {
				t.Errorf("%s\n%+v, want %s %q", tc.reason, got, tc.want, tc.message)
			}
		})
	}
	for name, text := range map[string]string{
		"UnknownField": suiteHead + "  case: []\n", "Version": strings.Replace(suiteHead, "v1alpha1", "v1", 1), "NoTests": "apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\n",
	} {
		if _, err := gator(t, text, author.Options{}); err == nil || !strings.Contains(err.Error(), "tests/suite.yaml:1: ") {
			t.Errorf("%s: Run() = %v", name, err)
		}
	}
}
