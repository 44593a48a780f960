package schema_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy/schema"
)

func TestCustom(t *testing.T) {
	v := schema.New(schema.Options{})
	if err := v.AddCRD(object(t, file(t, "widgets.yaml"))); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason string
		spec   string
		want   []string
	}{
		"Clean":   {"Defaults count for what is required.", "{size: 1}", nil},
		"Missing": {"What has no default is required.", "{mode: Fast}", []string{"spec.size: Required value"}},
		"Unknown": {"The API server would drop it.", "{size: 1, sise: 2}", []string{`unknown field "spec.sise"`}},
		"Type": {"The words are the server's.", "{size: big}",
			[]string{`spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"`}},
		"Enum": {"A closed list.", "{size: 1, mode: Middling}",
			[]string{`spec.mode: Unsupported value: "Middling": supported values: "Fast", "Slow"`}},
		"Bounds": {"Numbers have bounds.", "{size: 11}",
			[]string{"spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10"}},
		"Pattern": {"And texts patterns.", "{size: 1, color: '#XXXXXX'}",
			[]string{`spec.color: Invalid value: "#XXXXXX": spec.color in body should match '^#[0-9a-f]{6}$'`}},
		"Format": {"A date is not any text.", "{size: 1, since: now}",
			[]string{`spec.since: Invalid value: "now": spec.since in body must be of type date-time: "now"`}},
		"FormatList": {"Nor a list.", "{size: 1, since: [now]}", []string{`spec.since: Invalid value: "array": must be string`}},
		"Rule": {"CEL rules run.", "{size: 1, replicas: 2}",
			[]string{"spec: Invalid value: replicas must not exceed size"}},
		"RuleAfterError": {"A rule that needs what is broken does not run.", "{replicas: 2}", []string{"spec.size: Required value"}},
		"Scale": {"The scale subresource reads it.", "{size: 1, replicas: -1}",
			[]string{".spec.replicas: Invalid value: -1: should be a non-negative integer"}},
		"ListMap": {"Parts have names of their own.", "{size: 1, parts: [{name: a}, {name: a}]}",
			[]string{`spec.parts[1]: Duplicate value: {"name":"a"}`}},
		"Set":         {"Tags differ.", "{size: 1, tags: [a, a]}", []string{`spec.tags[1]: Duplicate value: "a"`}},
		"IntOrString": {"Either will do.", "{size: 1, limit: 10%}", nil},
		"Free":        {"Unknown fields are kept here.", "{size: 1, free: {a: {b: [1]}}}", nil},
		"Nullable":    {"The schema says so.", "{size: 1, note: null}", nil},
		"Null": {"The schema does not say so.", "{size: 1, color: null}",
			[]string{`spec.color: Invalid value: "null": spec.color in body must be of type string: "null"`}},
		"NullDefault": {"The default is put in its place.", "{size: 1, mode: null}", nil},
		"Float":       {"JSON does not tell 1.0 from 1.", "{size: 1.0}", nil},
		"EmbeddedMetadata": {"Embedded objects have metadata, too.",
			"{size: 1, template: {apiVersion: v1, kind: Pod, metadata: {nom: x}}}", []string{`unknown field "spec.template.metadata.nom"`}},
	} {
		t.Run(name, func(t *testing.T) {
			obj := object(t, "{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}, spec: "+tc.spec+"}")
			before := fmt.Sprint(obj)
			got, err := v.Validate(t.Context(), obj)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, messages(got)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
			if after := fmt.Sprint(obj); after != before {
				t.Errorf("the object was changed:\n%s\n%s", before, after)
			}
		})
	}
}

func TestCustomVersions(t *testing.T) {
	v := schema.New(schema.Options{})
	if err := v.AddCRD(object(t, file(t, "widgets.yaml"))); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ version, want string }{
		"Unserved":  {"v1alpha1", "Widget example.com/v1alpha1 is not served by the CustomResourceDefinition widgets.example.com: use example.com/v1"},
		"Undefined": {"v9", "Widget example.com/v9 is not served by the CustomResourceDefinition widgets.example.com: use example.com/v1"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := v.Validate(t.Context(), object(t, "{apiVersion: example.com/"+tc.version+", kind: Widget, metadata: {name: w}}"))
			if err != nil || len(got) != 1 || got[0].Message != tc.want || !got[0].NotServed {
				t.Errorf("Validate() = %+v, %v", got, err)
			}
		})
	}
}

func TestCustomReplaced(t *testing.T) {
	v := schema.New(schema.Options{})
	crd := file(t, "widgets.yaml")
	for _, text := range []string{crd, strings.Replace(crd, "maximum: 10", "maximum: 20", 1)} {
		if err := v.AddCRD(object(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := v.Validate(t.Context(), object(t, "{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}, spec: {size: 15}}"))
	if err != nil || len(got) > 0 {
		t.Errorf("Validate() = %v, %v: the later definition must count", got, err)
	}
}

func TestAddCRD(t *testing.T) {
	base := file(t, "widgets.yaml")
	for name, tc := range map[string]struct{ reason, old, new, want string }{
		"Clean":      {"It is fine.", "", "", ""},
		"Other":      {"Only definitions define.", "kind: CustomResourceDefinition", "kind: ConfigMap", "not a CustomResourceDefinition"},
		"OldVersion": {"v1beta1 has another form.", "apiextensions.k8s.io/v1", "apiextensions.k8s.io/v1beta1", "not a CustomResourceDefinition"},
		"NoGroup":    {"Without a group there is no kind.", "group: example.com", "group: [a]", "must be text"},
		"NoScope":    {"Neither is told.", "scope: Namespaced", "scope: Galaxy", "must be Cluster or Namespaced"},
		"SameName":   {"Which one would it be?", "name: v1alpha1", "name: v1", "no other version has"},
	} {
		t.Run(name, func(t *testing.T) {
			err := schema.New(schema.Options{}).AddCRD(object(t, strings.Replace(base, tc.old, tc.new, 1)))
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s\nAddCRD() = %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// TestUnusable holds that a definition that is no good makes its objects undecided
// rather than valid.
func TestUnusable(t *testing.T) {
	deep := strings.Repeat("{type: object, properties: {a: ", 200) + "{type: string}" + strings.Repeat("}}", 200)
	large := "{type: object, properties: {a: {type: string, enum: [" + strings.Repeat("a,", 300_001) + "]}}}"
	rules := strings.Repeat("{rule: 'true'},", 2001)
	for name, tc := range map[string]struct{ reason, schema, want string }{
		"None":        {"Version 1 demands a schema.", "null", "no schema"},
		"NotAnObject": {"A schema is an object.", "[a]", "cannot unmarshal"},
		"Untyped":     {"Structural schemas have types.", "{properties: {a: {properties: {b: {type: string}}}}}", "structural"},
		"Reference":   {"Structural schemas have no references, so none that go round.", "{type: object, properties: {a: {$ref: '#'}}}", "$ref"},
		"Deep":        {"Nesting is bounded.", deep, "nested deeper"},
		"Large":       {"So is size.", large, "more than 300000"},
		"Rules":       {"Each rule is compiled.", "{type: object, x-kubernetes-validations: [" + rules + "]}", "more than 2000"},
		"Nested":      {"Structural schemas have types in one place.", "{type: object, properties: {a: {type: string}}, allOf: [{properties: {a: {type: string}}}]}", "allOf[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			v := schema.New(schema.Options{})
			if err := v.AddCRD(crdOf(t, tc.schema)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time it is remembered
				problems, err := v.Validate(t.Context(), object(t, "{apiVersion: example.org/v1, kind: Thing, metadata: {name: a}}"))
				if !errors.Is(err, schema.ErrUnusable) || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s\nValidate() = %v, %v, want %q", tc.reason, problems, err, tc.want)
				}
			}
		})
	}
}

// TestDefinition holds that a definition is refused for its schema.
func TestDefinition(t *testing.T) {
	v := schema.New(schema.Options{})
	const at = "spec.versions[0].schema.openAPIV3Schema"
	for name, tc := range map[string]struct {
		reason, schema string
		want           []string
	}{
		"Clean": {"It is structural.", "{type: object, properties: {a: {type: string}}}", nil},
		"None":  {"Version 1 demands a schema.", "null", []string{at + ": it has no schema"}},
		"Untyped": {"Structural schemas have types.", "{type: object, properties: {a: {enum: [x]}}}",
			[]string{at + ".properties[a].type: Required value: must not be empty for specified object fields"}},
		"Reference": {"And no references.", "{type: object, properties: {a: {$ref: '#'}}}",
			[]string{at + ": OpenAPIV3Schema '$ref' is not supported"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := v.Validate(t.Context(), crdOf(t, tc.schema))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, messages(got)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// crdOf defines example.org/v1 Thing by a schema.
func crdOf(t testing.TB, schema string) map[string]any {
	t.Helper()
	return object(t, `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: things.example.org}, spec: {
		group: example.org, scope: Cluster, names: {plural: things, kind: Thing},
		versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: `+schema+`}}]}}`)
}
