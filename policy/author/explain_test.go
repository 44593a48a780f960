package author_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/author"
)

func TestExplain(t *testing.T) {
	e, err := policy.Load(t.Context(), []policy.Set{{Name: "s", Modules: map[string]string{"a.rego": `package a

deny contains msg if {
	some i, c in input.object.spec.containers
	not allowed(c)
	msg := sprintf("%d", [i])
}

allowed(c) if c.image == "good"

warn contains "w" if input.object.data.password
`}}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	in := policy.Input{Object: []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"image":"good"},{"image":"bad"}]}}`)}
	got, err := author.Explain(t.Context(), e, in, []string{"s/a.deny"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"s/a.deny": {
		"a.rego:3: a.deny holds",
		"  a.rego:4: some i, c in input.object.spec.containers",
		"  a.rego:5: not allowed(c)",
		`  a.rego:6: msg := sprintf("%d", [i])`,
		`  where c is {"image": "bad"}`,
		"  where i is 1",
		`  where msg is "1"`,
		"a.rego:9: a.allowed holds",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestExplainSecret wants no value of a Secret in an explanation.
func TestExplainSecret(t *testing.T) {
	e, err := policy.Load(t.Context(), []policy.Set{{Name: "s", Modules: map[string]string{
		"a.rego": "package a\ndeny contains msg if { v := input.object.data.password; msg := sprintf(\"x %v\", [v]) }\n",
	}}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	in := policy.Input{Object: []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"p"},"data":{"password":"aHVudGVyMg=="}}`)}
	got, err := author.Explain(t.Context(), e, in, []string{"s/a.deny"})
	if text := strings.Join(got["s/a.deny"], "\n"); err != nil || strings.Contains(text, "aHVud") || !strings.Contains(text, "(redacted)") {
		t.Errorf("Explain() = %q, %v", text, err)
	}
}

func TestExplainIsBounded(t *testing.T) {
	e, err := policy.Load(t.Context(), []policy.Set{{Name: "s", Modules: map[string]string{
		"a.rego": "package a\ndeny contains sprintf(\"%d\", [i]) if some i in numbers.range(1, 1000000)\n",
	}}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := author.Explain(t.Context(), e, policy.Input{Object: []byte(`{"apiVersion":"v1","kind":"A"}`)}, []string{"s/a.deny"})
	if lines := got["s/a.deny"]; err != nil || len(lines) > 70 || !strings.Contains(strings.Join(lines, "\n"), "more of the kind") || !strings.Contains(lines[len(lines)-1], "steps") {
		t.Errorf("%d lines, %v: %v", len(lines), err, lines)
	}
}
