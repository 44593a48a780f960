package policy_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/test/testkit/racing"
)

// flowing rules pass parts of the input on in every way that is followed, and in
// those that must not be.
var flowing = map[string]string{
	"alias":          `deny contains sprintf("%v", [x.a]) if some x in input.object.c`,
	"alias of alias": `deny contains sprintf("%v", [y.a]) if { some x in input.object.c; y := x.b }`,
	"alias whole":    `deny contains sprintf("%v %v", [x.a, x]) if some x in input.object.c`,
	"alias equated":  `deny contains "same" if { x := input.object.a; x == input.object.b; not x.c }`,
	"alias compared": `deny contains sprintf("%v", [x.a]) if { x := input.object.a; x == {"a": 1} }`,
	"alias index":    `deny contains sprintf("%v", [input.object.b[x]]) if some x in input.object.c`,
	"alias exists":   `deny contains "x" if { x := input.object.a; x.b.c }`,
	"alias swapped":  `deny contains sprintf("%v", [x.a]) if input.object.a = x`,
	"pattern":        `deny contains sprintf("%v", [x]) if [x, _] = input.object.c`,
	"pattern deep":   `deny contains sprintf("%v", [x.b]) if {"a": x} = input.object.a`,
	"not alias":      `deny contains sprintf("%v", [x.c]) if { x := input.object.a; not x.b.c }`,
	"not equal":      `deny contains sprintf("%v", [x.c]) if { x := input.object.a; not x == input.object.b }`,
	"complete": `deny contains sprintf("%v", [spec.a.b])
spec := input.object.a if input.object.kind == "Pod"
spec := input.object.b if input.object.kind == "Job"`,
	"complete whole": `deny contains sprintf("%v", [spec])
spec := input.object.a`,
	"complete chain": `deny contains sprintf("%v", [second.b])
first := input.object.a
second := first.c`,
	"complete compared": `deny contains "same" if spec == input.object.b
spec := input.object.a`,
	"default": `deny contains sprintf("%v", [spec.a])
default spec := {}
spec := input.object.a`,
	"else": `deny contains sprintf("%v", [spec.a])
spec := input.object.a if input.object.kind == "Pod" else := input.object.b`,
	"set": `deny contains sprintf("%v", [x.a]) if some x in items
items contains x if some x in input.object.c
items contains x if some x in input.object.a`,
	"set chain": `deny contains sprintf("%v", [x.a]) if some x in inner
items contains x if some x in input.object.c
inner contains y if { some x in items; y := x.b }`,
	"set counted": `deny contains sprintf("%v", [count(items)])
items contains x if some x in input.object.c`,
	"set counted after reading": `deny contains sprintf("%v %v", [count(items), x.a]) if some x in items
items contains x if some x in input.object.c`,
	"set in order": `deny contains sprintf("%v", [[x.e | some x in items]])
items contains x if some x in input.object.c
items contains x if some x in input.object.a`,
	"set in order of an alias": `deny contains sprintf("%v", [[x.e | some x in s]]) if s := items
items contains x if some x in input.object.c`,
	"set counted as list": `deny contains sprintf("%v", [count([1 | some x in items; x.a])])
items contains x if some x in input.object.c`,
	"set of set": `deny contains sprintf("%v", [{x.a | some x in items}])
items contains x if some x in input.object.c`,
	"set key": `deny contains sprintf("%v", [k]) if items[k].a
items contains x if some x in input.object.c`,
	"set member": `deny contains "in" if input.object.a in items
items contains x if some x in input.object.c`,
	"set lookup": `deny contains "in" if { x := input.object.a; items[x] }
items contains x if some x in input.object.c`,
	"map": `deny contains sprintf("%v %v", [k, x.a]) if some k, x in items
items[k] := x if some k, x in input.object.b`,
	"map whole": `deny contains sprintf("%v", [items])
items[k] := x if some k, x in input.object.b`,
	"map by name": `deny contains sprintf("%v", [items.a.b])
items[k] := x if some k, x in input.object.b`,
	"dynamic rule": `deny contains sprintf("%v", [data.acme[r].a]) if some r in ["items", "others"]
items := input.object.b
others := input.object.a`,
	"function": `deny contains sprintf("%v", [f(x)]) if some x in input.object.c
f(x) := x.a`,
	"function whole": `deny contains sprintf("%v", [f(x)]) if some x in input.object.c
f(x) := x`,
	"function compares": `deny contains "same" if f(input.object.a)
f(x) if x == input.object.b`,
	"function patterns": `deny contains sprintf("%v", [f(input.object.a)])
f({"a": y}) := y
f("b") := 1`,
	"function twice": `deny contains sprintf("%v", [f(input.object.a, input.object.b)])
f(x, y) := [x.a, y.b]`,
	"function of the same": `deny contains "same" if f(input.object.a, input.object.b)
f(x, x) := true`,
	"function in function": `deny contains sprintf("%v", [f(input.object.a)])
f(x) := g(x.b)
g(x) := x.c`,
	"function over set": `deny contains sprintf("%v", [f(1)])
f(_) := [x.e | some x in items]
items contains x if some x in input.object.c`,
	"function with else": `deny contains sprintf("%v", [f(input.object.a)])
f(x) := x.a if x.b else := x.c`,
	"constant keys": `deny contains k if { some k in ["a", "b"]; not input.object.a[k] }`,
	"constant set":  `deny contains k if { some k in {"a", "b"}; input.object.a[k] }`,
	"constant rule": `deny contains sprintf("%v", [x.a]) if { some k in fields; some x in input.object[k] }
fields := {"a", "c"}`,
	"constants inside":  `deny contains sprintf("%v %v", [k, n]) if { l := ["a", "b"]; some k, _ in input.object.a; n := count([1 | k = l[_]]) }`,
	"constants negated": `deny contains k if { input.object.a[k]; l := ["a", "b"]; not k = l[0] }`,
	"every":             `deny contains "every" if every x in input.object.c { x.a }`,
	"every alias":       `deny contains "every" if { every x in input.object.c { y := x.b; y.a } }`,
	"walk":              `deny contains sprintf("%v", [p]) if { x := input.object.a; walk(x, [p, 7]) }`,
	"with":              `deny contains sprintf("%v", [y]) if { x := input.object.a; y := p with input.object.b as x }` + "\np := input.object.b.c",
	"input alias":       `deny contains sprintf("%v", [i.object.a.b]) if i := input`,
	"comprehension":     `deny contains sprintf("%v", [{x.a: x.b | some x in input.object.c}])`,
	"nested":            `deny contains sprintf("%v", [{y | some x in input.object.c; some y in x.a}])`,
	"object.get":        `deny contains sprintf("%v", [object.get(input.object, ["a", "b"], 7)])`,
	"object.get alias":  `deny contains sprintf("%v", [object.get(x, "a", x.b)]) if some x in input.object.c`,
	"object.get whole":  `deny contains sprintf("%v", [object.get(input.object.a, [], 7)])`,
	"object.get number": `deny contains sprintf("%v", [object.get(input.object, ["c", 1, "a"], 7)])`,
	"undefined member":  `deny contains "no" if { x := input.object.a; not x.b }`,
}

// TestFlowChangesNothing judges random objects whole and pruned to what flows to
// where it is read.
func TestFlowChangesNothing(t *testing.T) {
	racing.Skip(t)
	for name, rego := range flowing {
		t.Run(name, func(t *testing.T) {
			set := policy.Set{Name: "acme", Modules: map[string]string{"a.rego": "package acme\n\n" + rego}}
			whole := engine(t, policy.Options{ReadWholeInput: true}, set)
			pruned := engine(t, policy.Options{}, set)
			r := rand.New(rand.NewPCG(5, 6))
			verdicts := map[string]bool{}
			for range 800 {
				in := policy.Input{Object: randomObject(t, r)}
				want := whole.Evaluate(t.Context(), in)
				for range 2 { // the second answer may be one that was kept
					if diff := cmp.Diff(want, pruned.Evaluate(t.Context(), in)); diff != "" {
						t.Fatalf("on %s\n%s", in.Object, diff)
					}
				}
				text := ""
				for _, f := range want {
					text += string(f.Reason) + f.Message
				}
				verdicts[text] = true
			}
			if len(verdicts) < 2 {
				t.Error("the rule always says the same: nothing was tested")
			}
		})
	}
}
