package policy_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/verdict"
)

// readers read the input in every way that Rego has: by name, by variable, by
// number, through aliases, imports, functions, comprehensions and built-ins.
const readers = `package acme

import input.object.spec as spec
import input.object.metadata

deny_name contains sprintf("name %v", [input.object.a.b])
deny_any contains sprintf("any %v", [x]) if x := input.object.a[_].c
deny_key contains sprintf("key %v", [k]) if input.object.b[k] == true
deny_var contains sprintf("var %v", [input.object[input.object.key]])
deny_index contains sprintf("index %v", [input.object.c[1].a])
deny_import contains sprintf("import %v", [spec.a.c])
deny_alias contains sprintf("alias %v", [y.b]) if { x := input.object.b; y := x.a }
deny_count contains sprintf("count %v", [count(input.object.c)])
deny_some contains sprintf("some %v %v", [k, v.a]) if some k, v in input.object.spec.b
deny_every contains "every" if every v in input.object.c { v.b != 7 }
deny_func contains sprintf("func %v", [f(input.object.spec)])
deny_get contains sprintf("get %v", [object.get(input.object.a, ["b", "c"], "none")])
deny_not contains "not" if not input.object.d.e
deny_comp contains sprintf("comp %v", [sort([v | v := input.object.c[_].c])])
deny_in contains "in" if "a" in input.object.c
deny_two contains sprintf("two %v", [input.object.a.a.a]) if input.object.a[_].b
deny_kind contains "pod" if input.object.kind == "Pod"
deny_kinds contains "kinds" if input.object.kind in {"Service", "Job"}
deny_bare contains sprintf("bare %v", [object.get(input, ["object", "a", "b"], "none")])
deny_self contains sprintf("self %v", [i.object.b.c]) if i := input
deny_walk contains sprintf("walk %v", [p]) if walk(input, [p, 7])
deny_dynamic contains sprintf("dynamic %v", [input[k].a.d]) if some k in ["object", "z"]
deny_notkind contains "not kind" if not input.object.kind == "Pod"
deny_withkind contains "with kind" if input.object.kind == "Pod" with input.object.kind as "Pod"
deny_local contains sprintf("local %v", [k]) if { k := input.object.kind; k == "Job" }
deny_nested contains sprintf("nested %v", [x]) if { k := "b"; x := input.object.a[k].c }
deny_with contains "with" if q with input.object as {"d": {"e": 1}}
warn_label contains sprintf("label %v", [metadata.labels.a])

f(x) := x.c.a

q if input.object.d.e == 1
`

// randomValue builds documents from few keys, so that paths meet.
func randomValue(r *rand.Rand, depth int) any {
	keys := []string{"a", "b", "c", "d", "e"}
	switch n := r.IntN(8); {
	case depth > 0 && n < 3:
		m := map[string]any{}
		for range r.IntN(5) {
			m[keys[r.IntN(len(keys))]] = randomValue(r, depth-1)
		}
		return m
	case depth > 0 && n < 5:
		list := []any{}
		for range r.IntN(4) {
			list = append(list, randomValue(r, depth-1))
		}
		return list
	case n == 5:
		return r.IntN(9)
	case n == 6:
		return []any{true, false, nil}[r.IntN(3)]
	}
	return keys[r.IntN(len(keys))]
}

func randomObject(t testing.TB, r *rand.Rand) []byte {
	t.Helper()
	object := map[string]any{
		"apiVersion": "v1",
		"kind":       []string{"Pod", "Service", "ConfigMap", "Job"}[r.IntN(4)],
		"metadata":   map[string]any{"name": "x", "labels": map[string]any{"a": "b"}},
		"key":        []string{"a", "b", "z"}[r.IntN(3)],
	}
	for _, k := range []string{"a", "b", "c", "d", "spec"} {
		if r.IntN(5) > 0 {
			object[k] = randomValue(r, 4)
		}
	}
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestPruningChangesNothing judges random objects whole and pruned. Each way of
// reading is a set of its own, so that no other keeps its paths in.
func TestPruningChangesNothing(t *testing.T) {
	head, rules, _ := strings.Cut(readers, "deny_name")
	rules = "deny_name" + rules
	var sets []policy.Set
	_, helpers, _ := strings.Cut(rules, "\n\n")
	for line := range strings.Lines(rules) {
		name, _, ok := strings.Cut(line, " contains ")
		if !ok {
			continue
		}
		src := "package acme\n"
		for _, imported := range []string{"spec", "metadata"} {
			if strings.Contains(line, imported+".") && !strings.Contains(line, "."+imported+".") {
				src += "import input.object." + imported + "\n"
			}
		}
		sets = append(sets, policy.Set{Name: name, Modules: map[string]string{"a.rego": src + line + helpers}})
	}
	if len(sets) != 28 || head == "" {
		t.Fatalf("%d sets", len(sets))
	}
	r := rand.New(rand.NewPCG(1, 2))
	whole := make([]*policy.Engine, len(sets))
	pruned := make([]*policy.Engine, len(sets))
	for i := range sets {
		whole[i] = engine(t, policy.Options{ReadWholeInput: true}, sets[i])
		pruned[i] = engine(t, policy.Options{}, sets[i])
	}
	all := engine(t, policy.Options{}, sets...)
	spoke := map[string]bool{}
	for range 400 {
		in := policy.Input{Object: randomObject(t, r)}
		var each []verdict.Finding
		for i := range sets {
			want, got := whole[i].Evaluate(t.Context(), in), pruned[i].Evaluate(t.Context(), in)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("set %s on %s\n%s", sets[i].Name, in.Object, diff)
			}
			each = append(each, want...)
			if len(want) > 0 {
				spoke[sets[i].Name] = true
			}
		}
		together := all.Evaluate(t.Context(), in)
		verdict.Sort(each)
		verdict.Sort(together)
		if diff := cmp.Diff(each, together); diff != "" {
			t.Fatalf("all sets on %s\n%s", in.Object, diff)
		}
	}
	for _, s := range sets {
		if !spoke[s.Name] {
			t.Errorf("%s never spoke: the property was not tested on it", s.Name)
		}
	}
}

// TestKindIndex wants a rule to be left out only where it could not hold.
func TestKindIndex(t *testing.T) {
	for name, tc := range map[string]struct {
		rego string
		want string // the kinds on which the rule speaks
	}{
		"Equal":      {`deny contains "x" if input.object.kind == "Pod"`, "Pod"},
		"Reversed":   {`deny contains "x" if "Pod" == input.object.kind`, "Pod"},
		"Assigned":   {`deny contains "x" if { k := input.object.kind; k == "Pod" }`, "Pod"},
		"In":         {`deny contains "x" if input.object.kind in {"Pod", "Job"}`, "Pod Job"},
		"InArray":    {`deny contains "x" if input.object.kind in ["Pod", "Job"]`, "Pod Job"},
		"Bodies":     {"deny contains \"x\" if input.object.kind == \"Pod\"\ndeny contains \"x\" if input.object.kind == \"Job\"", "Pod Job"},
		"OneIsFree":  {"deny contains \"x\" if input.object.kind == \"Pod\"\ndeny contains \"x\" if input.object.metadata.name == \"a\"", "Pod Job Service"},
		"Not":        {`deny contains "x" if not input.object.kind == "Pod"`, "Job Service"},
		"NotEqual":   {`deny contains "x" if input.object.kind != "Pod"`, "Job Service"},
		"With":       {`deny contains "x" if input.object.kind == "Pod" with input.object.kind as "Pod"`, "Pod Job Service"},
		"WithRule":   {"deny contains \"x\" if p with input.object.kind as \"Pod\"\np if input.object.kind == \"Pod\"", "Pod Job Service"},
		"Helper":     {"deny contains \"x\" if p\np if input.object.kind == \"Pod\"", "Pod"},
		"Complete":   {`deny := {"x"} if input.object.kind == "Pod" else := {"y"}`, "Pod Job Service"},
		"Default":    {"default deny := {\"x\"}\ndeny := {\"y\"} if input.object.kind == \"Pod\"", "Pod Job Service"},
		"Dynamic":    {`deny contains "x" if input.object.kind in input.parameters.kinds`, "Job"},
		"OldObject":  {`deny contains "x" if input.oldObject.kind == "Pod"`, ""},
		"Inner":      {`deny contains "x" if count([1 | input.object.kind == "Pod"]) == 0`, "Job Service"},
		"Every":      {`deny contains "x" if every k in [] { input.object.kind == k }`, "Pod Job Service"},
		"Impossible": {`deny contains "x" if { input.object.kind == "Pod"; input.object.kind == "Job" }`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := load(t, "package acme\n\n"+tc.rego, func(s *policy.Set, _ *policy.Options) {
				s.Parameters = map[string]any{"kinds": []any{"Job"}}
			})
			var got []string
			for _, kind := range []string{"Pod", "Job", "Service"} {
				raw := fmt.Appendf(nil, `{"apiVersion":"v1","kind":%q,"metadata":{"name":"a"}}`, kind)
				if len(e.Evaluate(t.Context(), policy.Input{Object: raw})) > 0 {
					got = append(got, kind)
				}
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestConcurrent judges the same and other objects at once; run it with -race.
func TestConcurrent(t *testing.T) {
	e := engine(t, policy.Options{}, pack(t, "pod-security-restricted"),
		policy.Set{Name: "acme", Modules: map[string]string{"a.rego": readers}})
	r := rand.New(rand.NewPCG(3, 4))
	objects := [][]byte{deployment()}
	for range 20 {
		objects = append(objects, randomObject(t, r))
	}
	want := make([][]verdict.Finding, len(objects))
	for i := range objects {
		want[i] = e.Evaluate(t.Context(), policy.Input{Object: objects[i]})
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range objects {
				if diff := cmp.Diff(want[i], e.Evaluate(t.Context(), policy.Input{Object: objects[i]})); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
	wg.Wait()
}

// FuzzEvaluate judges any spec by the restricted pack: it must always answer, and
// no privileged container may pass, wherever it stands.
func FuzzEvaluate(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"containers":{}}`, `{"containers":[{"securityContext":{"privileged":true}}]}`,
		`{"ephemeralContainers":[{"securityContext":{"privileged":true}}]}`, `{"initContainers":[null,{"securityContext":{"privileged":true}}]}`,
		`{"containers":[{"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}],"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}}}`,
		`{"volumes":[{"hostPath":{}}]}`, `{"volumes":"a","os":{"name":"windows"},"hostUsers":false}`, `[`, `null`,
	} {
		f.Add(s)
	}
	e := engine(f, policy.Options{}, pack(f, "pod-security-restricted"))
	f.Fuzz(func(t *testing.T, spec string) {
		raw := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":%s}`, spec)
		fs := e.Evaluate(t.Context(), policy.Input{Object: raw})
		for _, x := range fs {
			if strings.Contains(x.Message, "panicked") {
				t.Fatalf("%s: %v", raw, x)
			}
		}
		var pod struct {
			Spec map[string]json.RawMessage `json:"spec"`
		}
		if json.Unmarshal(raw, &pod) != nil {
			if len(fs) == 0 && !json.Valid(raw) {
				t.Fatalf("what is no JSON passes: %q", raw)
			}
			return
		}
		for _, field := range []string{"containers", "initContainers", "ephemeralContainers"} {
			var list []struct {
				SecurityContext struct {
					Privileged bool `json:"privileged"`
				} `json:"securityContext"`
			}
			if json.Unmarshal(pod.Spec[field], &list) != nil {
				continue
			}
			for _, c := range list {
				if c.SecurityContext.Privileged && len(fs) == 0 {
					t.Fatalf("a privileged container passes: %s", raw)
				}
			}
		}
	})
}
