package schema_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"gitgate.dev/gitgate/policy/schema"
	"gitgate.dev/gitgate/test/testkit/racing"
)

// nested returns a value n levels deep.
func nested(n int) any {
	var v any = "x"
	for range n {
		v = map[string]any{"properties": map[string]any{"a": v}}
	}
	return v
}

func TestHostileObjects(t *testing.T) {
	v := schema.New(schema.Options{})
	if err := v.AddCRD(crdOf(t, "{type: object, x-kubernetes-preserve-unknown-fields: true, properties: {a: {type: string, pattern: '^(a|a|a|a|a)*$'}}}")); err != nil {
		t.Fatal(err)
	}
	many := map[string]any{}
	for i := range 10_000 {
		many[fmt.Sprintf("key-%05d", i)] = int64(i)
	}
	for name, tc := range map[string]struct {
		reason string
		object map[string]any
		want   string // in the last message
		count  int
	}{
		"Recursive": {"JSONSchemaProps refers to itself.",
			map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": map[string]any{
				"group": "a", "names": map[string]any{"kind": "A", "plural": "a"}, "scope": "Cluster",
				"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true,
					"schema": map[string]any{"openAPIV3Schema": nested(1000)}}}}}, "must not be nested deeper", 1},
		"ManyProblems": {"Enough is enough, and the same ones each time.",
			map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": many}, "there are more problems", schema.MaxProblems},
		"Control": {"What is printed must not steer a terminal.",
			map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "\x1b[31mred\u202e": "x"}, `unknown field`, 1},
		"ControlInKind": {"Nor what was not found.",
			map[string]any{"apiVersion": "apps/v1", "kind": "Dep\x1b[31m\nloyment"}, `Dep[31m loyment apps/v1 is not served`, 1},
		"LongKind": {"Nor fill a screen.",
			map[string]any{"apiVersion": "apps/v1", "kind": strings.Repeat("x", 1<<20)}, "xxx", 1},
		"LongName": {"Nor here.", map[string]any{"apiVersion": "v1", "kind": "ConfigMap", strings.Repeat("x", 1<<20): 1}, "unknown field", 1},
		"Channel": {"No JSON has this.", map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": make(chan int)},
			`data: Invalid value: "unknown": must be object`, 1},
		"ChannelInCustom": {"No JSON has this.", map[string]any{"apiVersion": "example.org/v1", "kind": "Thing", "data": make(chan int)},
			"the object holds a chan int", 1},
		"DeepCustom": {"Nesting is bounded.", map[string]any{"apiVersion": "example.org/v1", "kind": "Thing", "data": nested(1000)},
			"the object is nested deeper", 1},
		"Pattern": {"Regular expressions take linear time.",
			map[string]any{"apiVersion": "example.org/v1", "kind": "Thing", "metadata": map[string]any{"name": "a"},
				"a": strings.Repeat("a", 100_000) + "b"}, "a: Invalid value", 1},
	} {
		t.Run(name, func(t *testing.T) {
			problems, err := v.Validate(t.Context(), tc.object)
			if err != nil {
				t.Fatal(err)
			}
			if len(problems) != tc.count || !strings.Contains(problems[tc.count-1].Message, tc.want) {
				t.Fatalf("%s\n%d problems %.500q, want %d, the last %q", tc.reason, len(problems), messages(problems), tc.count, tc.want)
			}
			for _, p := range problems {
				printable(t, p)
			}
			again, _ := v.Validate(t.Context(), tc.object)
			if fmt.Sprint(again) != fmt.Sprint(problems) {
				t.Error("the second answer is another one")
			}
		})
	}
}

// printable fails unless a problem is fit to print.
func printable(t testing.TB, p schema.Problem) {
	t.Helper()
	for _, s := range []string{p.Field, p.Message} {
		if len(s) > 1500 {
			t.Errorf("%d bytes: %.100q…", len(s), s)
		}
		for _, r := range s {
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == unicode.ReplacementChar {
				t.Errorf("%q holds %q", s, r)
			}
		}
	}
}

// TestTooMuchWork holds that an object is not judged at any price.
func TestTooMuchWork(t *testing.T) {
	racing.Skip(t)
	v := schema.New(schema.Options{})
	alternatives := strings.Repeat("{pattern: '^x$'},", 20_000)
	if err := v.AddCRD(crdOf(t, "{type: object, properties: {l: {type: array, items: {type: string, anyOf: ["+alternatives+"]}}}}")); err != nil {
		t.Fatal(err)
	}
	l := make([]any, 100_000)
	for i := range l {
		l[i] = "y"
	}
	_, err := v.Validate(t.Context(), map[string]any{"apiVersion": "example.org/v1", "kind": "Thing", "l": l})
	if !errors.Is(err, schema.ErrUnusable) {
		t.Errorf("Validate() = %v, want %v", err, schema.ErrUnusable)
	}
}

// TestCostlyRule holds that rules have a budget.
func TestCostlyRule(t *testing.T) {
	racing.Skip(t)
	v := schema.New(schema.Options{})
	rule := "self.l.all(a, self.l.all(b, self.l.all(c, a + b + c != 'zzz')))"
	if err := v.AddCRD(crdOf(t, `{type: object, x-kubernetes-validations: [{rule: "`+rule+`"}], properties: {l: {type: array, items: {type: string}}}}`)); err != nil {
		t.Fatal(err)
	}
	l := make([]any, 2000)
	for i := range l {
		l[i] = "y"
	}
	problems, err := v.Validate(t.Context(), map[string]any{"apiVersion": "example.org/v1", "kind": "Thing", "l": l})
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0].Message, "cost") {
		t.Errorf("Validate() = %v, %v", problems, err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	problems, err := schema.New(schema.Options{}).Validate(ctx, object(t, file(t, "deployment.yaml")))
	if !errors.Is(err, context.Canceled) || problems != nil {
		t.Errorf("Validate() = %v, %v", problems, err)
	}
}

// TestSecret holds that no message about a built-in kind quotes a text.
func TestSecret(t *testing.T) {
	const secret = "hunter2"
	v := schema.New(schema.Options{})
	found := 0
	for _, m := range mutations(map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "a"},
		"data": map[string]any{"a": secret}, "stringData": map[string]any{"b": secret}, "type": "Opaque"}) {
		problems, err := v.Validate(t.Context(), m.object)
		if err != nil {
			t.Fatal(err)
		}
		if s := fmt.Sprint(problems); strings.Contains(s, secret) {
			t.Errorf("%s: %s", m.what, s)
		}
		found += len(problems)
	}
	if found < 50 {
		t.Errorf("only %d problems", found)
	}
}
