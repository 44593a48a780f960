package author_test

import (
	"context"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/author"
)

var benchSets = []policy.Set{{Name: "s", Modules: map[string]string{
	"a.rego": `package a
deny_cheap contains "x" if input.object.metadata.name == "x"
deny_dear contains "x" if count([i | some i in numbers.range(1, 20000)]) < 0
deny_pod contains "x" if { input.object.kind == "Pod"; input.object.spec.x }
deny_fails contains "x" if 1 / input.object.zero > 1
`, "a_test.rego": "package a_test\ndeny_test contains \"x\" if false\n",
}}}

func TestBench(t *testing.T) {
	objects := []policy.Input{
		{Object: []byte(`{"apiVersion":"v1","kind":"A","metadata":{"name":"a"},"zero":0}`), File: "a.yaml", Line: 1},
		{Object: []byte(`{"apiVersion":"v1","kind":"A","metadata":{"name":"b"}}`), File: "a.yaml", Line: 5},
	}
	r, err := author.Bench(t.Context(), benchSets, objects, author.BenchOptions{Rounds: 3})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rules) != 3 || r.Rules[0].Rule != "s/a.deny_dear" || r.Objects != 2 {
		t.Fatalf("%+v: the rule that takes longest comes first", r)
	}
	for _, b := range r.Rules {
		if b.Objects != 2 || b.Nanos <= 0 || b.Bytes <= 0 || b.Allocs <= 0 || b.Worst < b.Nanos || b.WorstAt == "" {
			t.Errorf("%+v lacks a figure", b)
		}
		if wants := b.Rule == "s/a.deny_fails"; (b.Failures == 1) != wants {
			t.Errorf("%+v: one object divides by zero", b)
		}
	}
	if len(r.NotAsked) != 1 || r.NotAsked[0] != "s/a.deny_pod" {
		t.Errorf("not asked: %v, want the rule of Pods", r.NotAsked)
	}
	var b strings.Builder
	if err := r.Write(&b, "text"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"s/a.deny_fails (fails on 1 object)\n", "not asked about any of the objects: s/a.deny_pod\n", "2 objects: decoding "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s lacks %q", b.String(), want)
		}
	}
	b.Reset()
	if err := r.Write(&b, "json"); err != nil || !strings.HasPrefix(b.String(), `{"kind":"PolicyBenchReport","objects":2,"rules":[{"rule":"s/a.deny_dear"`) {
		t.Errorf("%v %s", err, b.String())
	}
}

func TestBenchRefusals(t *testing.T) {
	if _, err := author.Bench(t.Context(), benchSets, nil, author.BenchOptions{}); err == nil || !strings.Contains(err.Error(), "no objects") {
		t.Errorf("Bench(nothing) = %v", err)
	}
	one := []policy.Input{{Object: []byte(`{"apiVersion":"v1","kind":"A"}`), File: "a.yaml", Line: 1}}
	if _, err := author.Bench(t.Context(), []policy.Set{{Name: "s", Modules: map[string]string{"a.rego": "package a\n"}}}, one, author.BenchOptions{}); err == nil {
		t.Error("policies that do not load are measured")
	}
	if _, err := author.Bench(t.Context(), benchSets, []policy.Input{{Object: []byte(`{}`), File: "a.yaml", Line: 1}}, author.BenchOptions{}); err == nil || !strings.HasPrefix(err.Error(), "a.yaml:1: ") {
		t.Errorf("Bench(no object) = %v, want its place", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := author.Bench(ctx, benchSets, one, author.BenchOptions{}); err == nil {
		t.Error("it goes on after its context ended")
	}
}
