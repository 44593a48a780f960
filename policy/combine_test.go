package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/verdict"
)

func combining(s *policy.Set, o *policy.Options) { s.Format, s.Combine = policy.FormatConftest, true }

const twins = `package main

deny contains sprintf("%s and %s have one name", [a.path, b.path]) if {
	some i, a in input
	some j, b in input
	i < j
	a.contents.metadata.name == b.contents.metadata.name
}`

func named(names ...string) []policy.Input {
	var ins []policy.Input
	for i, n := range names {
		ins = append(ins, policy.Input{
			Object: fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":"shop"}}`, n),
			File:   fmt.Sprintf("%d.yaml", i), Together: true,
		})
	}
	return ins
}

func TestCombine(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, rego string
		change       func(*policy.Set, *policy.Options)
		inputs       []policy.Input
		want         string
	}{
		"Pair":     {"Rules see all objects at once.", twins, nil, named("a", "b", "a"), "deny PolicyDenied [acme/main.deny]: 0.yaml and 2.yaml have one name"},
		"Nothing":  {"And may find nothing.", twins, nil, named("a", "b"), ""},
		"Input":    {"The input is a list of paths and contents.", `deny contains json.marshal(input)`, nil, named("a"), `deny PolicyDenied [acme/main.deny]: [{"contents":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"shop"}},"path":"0.yaml"}]`},
		"Match":    {"Only of what the set selects.", `deny contains sprintf("%d", [count(input)])`, func(s *policy.Set, _ *policy.Options) { s.Match.Kinds = []policy.KindMatch{{Kinds: []string{"Pod"}}} }, named("a"), ""},
		"Deletion": {"Not of what is deleted.", `deny contains "x"`, nil, []policy.Input{{Operation: policy.Delete, OldObject: named("a")[0].Object}}, ""},
		"Warns":    {"It may only warn.", twins, func(s *policy.Set, _ *policy.Options) { s.Enforcement = policy.Warn }, named("a", "a"), "warn PolicyDenied [acme/main.deny]: 0.yaml and 1.yaml have one name"},
		"File":     {"There is no one file.", `deny contains data.conftest.file.name`, nil, named("a"), "undetermined PolicyUndefined [acme/main.deny]: the rule reads data.conftest.file, which is not known here"},
		"Broken":   {"An object that is none denies.", twins, nil, []policy.Input{{Object: []byte(`{"apiVersion":"v1","kind":"a","x":{"y":1,"y":1}}`)}}, `deny PolicyError []: the objects cannot be judged together: a/: byte 44: duplicate key "y"`},
		"Secret":   {"Secrets are masked.", `deny contains input[_].contents.data.k`, nil, []policy.Input{{Object: []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"data":{"k":"aHVudGVyMg=="}}`)}}, "deny PolicyDenied [acme/main.deny]: (redacted)"},
	} {
		t.Run(name, func(t *testing.T) {
			rego := tc.rego
			if !strings.HasPrefix(rego, "package") {
				rego = "package main\n\n" + rego
			}
			e := load(t, rego, combining, func(s *policy.Set, o *policy.Options) {
				if tc.change != nil {
					tc.change(s, o)
				}
			})
			if diff := cmp.Diff(tc.want, short(e.EvaluateTogether(t.Context(), tc.inputs))); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
			for _, in := range tc.inputs { // on their own they are not judged
				if fs := e.Evaluate(t.Context(), in); in.Together && len(fs) != 0 {
					t.Errorf("findings of one object: %v", fs)
				}
			}
		})
	}
}

// Who judges one object only does not know the others.
func TestCombineAlone(t *testing.T) {
	in := named("a")[0]
	in.Together = false
	e := load(t, twins, combining)
	if fs := e.Evaluate(t.Context(), in); len(fs) != 1 || fs[0].Severity != verdict.Undetermined || !e.Combines() || !e.ReadsNeighbours() {
		t.Errorf("findings = %v, want one that is undetermined", fs)
	}
	if fs := load(t, "package a\ndeny contains \"x\"").EvaluateTogether(t.Context(), named("a")); len(fs) != 0 {
		t.Errorf("findings of sets that do not combine: %v", fs)
	}
	if fs := new(policy.Engine).EvaluateTogether(t.Context(), nil); len(fs) != 1 || fs[0].Severity != verdict.Deny {
		t.Errorf("the zero engine lets pass: %v", fs)
	}
}

func TestAttack_O3_CombineCrossProduct(t *testing.T) {
	e := load(t, strings.Replace(twins, "i < j", "some c in input\n\tsome d in input\n\tc.path != d.contents.metadata.name", 1), combining,
		func(_ *policy.Set, o *policy.Options) { o.Timeout = 50 * time.Millisecond })
	var names []string
	for i := range 3000 {
		names = append(names, fmt.Sprint(i))
	}
	if fs := e.EvaluateTogether(t.Context(), named(names...)); len(fs) != 1 || fs[0].Reason != verdict.PolicyTimeout {
		t.Errorf("findings = %v, want a timeout", fs)
	}
}
