package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// TestMigratingFromKyverno takes the examples of policies/migrating-from-kyverno.md: what
// stands under gitgate fits our kinds and compiles, and judges the objects below it as
// the page says.
func TestMigratingFromKyverno(t *testing.T) {
	raw, err := os.ReadFile("../../policies/migrating-from-kyverno.md")
	if err != nil {
		t.Fatal(err)
	}
	p := &kyvernoPage{t: t}
	for i, part := range strings.Split(string(raw), "```") {
		text, isYAML := strings.CutPrefix(part, "yaml\n")
		if i%2 == 0 || !isYAML {
			continue
		}
		kind, rest, _ := strings.Cut(text, "\n")
		switch {
		case kind == "# Kyverno":
			if o := p.object(rest); !slices.Contains([]string{"ClusterPolicy", "PolicyException"}, o.GetKind()) {
				t.Errorf("%s %s is none of Kyverno's", o.GetKind(), o.GetName())
			}
			p.theirs++
		case kind == "# gitgate":
			p.ours(rest)
		case kind == "# TrustPolicy, spec":
			var trust v1alpha1.TrustPolicySpec
			if err := yaml.UnmarshalStrict([]byte(rest), &trust); err != nil {
				t.Error(err)
			}
		default:
			for _, document := range strings.Split(text, "---\n") {
				p.judge(document)
			}
		}
	}
	if p.theirs < 8 || p.judged < 18 {
		t.Errorf("%d examples and %d objects were found", p.theirs, p.judged)
	}
}

type kyvernoPage struct {
	t              *testing.T
	engine         *policy.Engine
	exceptions     *gate.Exceptions
	theirs, judged int
}

func (p *kyvernoPage) object(text string) *unstructured.Unstructured {
	p.t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict([]byte(text), &u.Object); err != nil {
		p.t.Fatalf("%v\n%s", err, text)
	}
	return u
}

// ours takes a PolicySet, or an exception from the one before.
func (p *kyvernoPage) ours(text string) {
	p.t.Helper()
	json, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		p.t.Fatal(err)
	}
	schemas, err := ownSchemas()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := fits(p.t.Context(), schemas, json); err != nil {
		p.t.Errorf("%v\n%s", err, text)
	}
	if u := p.object(text); gate.IsException(u) {
		e, err := gate.ParseException(gate.Object{Unstructured: u}, exceptionDay)
		if err != nil {
			p.t.Fatal(err)
		}
		p.exceptions = gate.NewExceptions([]*gate.Exception{e}, exceptionDay)
		return
	}
	p.exceptions = nil
	in := reconcile.PolicyInput{Set: &v1alpha1.PolicySet{}}
	if err := yaml.UnmarshalStrict([]byte(text), in.Set); err != nil {
		p.t.Fatal(err)
	}
	g := &gates{lastGood: map[string]goodSet{}}
	if p.engine, err = g.engine(p.t.Context(), []reconcile.PolicyInput{in}); err != nil {
		p.t.Fatalf("%v\n%s", err, text)
	}
}

// exceptionDay is when the exceptions of the page count.
var exceptionDay = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// judge judges an object whose first line says what comes of it.
func (p *kyvernoPage) judge(document string) {
	p.t.Helper()
	says, text, _ := strings.Cut(document, "\n")
	u := p.object(text)
	json, err := u.MarshalJSON()
	if err != nil {
		p.t.Fatal(err)
	}
	outcome := strings.TrimPrefix(says, "# ")
	in := policy.Input{Operation: policy.Create, Object: json}
	if rest, deleted := strings.CutPrefix(outcome, "deleted, "); deleted {
		in, outcome = policy.Input{Operation: policy.Delete, OldObject: json}, rest
	}
	if u.GetNamespace() == "" {
		in.None = policy.PartNamespace
	}
	outcome, rule, _ := strings.Cut(outcome, ": ")
	severity, known := map[string]verdict.Severity{"denied": verdict.Deny, "warned": verdict.Warn, "excepted": verdict.Info, "allowed": ""}[outcome]
	found := p.exceptions.Apply(p.engine.Evaluate(p.t.Context(), in), u)
	ok := len(found) == 0
	if severity != "" {
		ok = len(found) == 1 && found[0].Severity == severity && strings.HasSuffix(found[0].Policy, "/"+rule)
	}
	if p.judged++; !known || !ok {
		p.t.Errorf("%s\n%s\nfound %v", says, text, found)
	}
}
