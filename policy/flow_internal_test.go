package policy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// list names what is read; * is any key, and a trailing … all that is below.
func (p *readPaths) list() []string {
	if p.all {
		return []string{"…"}
	}
	var out []string
	add := func(key string, below *readPaths) {
		if below == nil {
			return
		}
		names := below.list()
		if len(names) == 0 {
			out = append(out, key)
		}
		for _, n := range names {
			out = append(out, key+"."+n)
		}
	}
	add("*", p.any)
	for key, below := range p.keys {
		add(key, below)
	}
	slices.Sort(out)
	return out
}

// What is pruned away is what makes judging fast: rules as people write them must
// not be taken to read everything.
func TestReads(t *testing.T) {
	for name, tc := range map[string]struct{ rego, want string }{
		"Element":  {`deny contains "x" if { some c in input.object.spec.containers; c.securityContext.privileged }`, "object.spec.containers.*.securityContext.privileged.…"},
		"Whole":    {`deny contains c if some c in input.object.spec.containers`, "object.spec.containers.*.…"},
		"Rule":     {"deny contains spec.a.b\nspec := input.object.spec", "object.spec.a.b.…"},
		"Set":      {"deny contains c.name if some c in containers\ncontainers contains c if some c in input.object.spec.containers", "object.spec.containers.*.name.…"},
		"Function": {"deny contains \"x\" if { some c in input.object.c; f(c) }\nf(c) if c.a == 1", "object.c.*.a.…"},
		"Constant": {"deny contains k if { some k in [\"a\", \"b\"]; input.object[k].c }", "object.a.c.… object.b.c.…"},
		"Any":      {"deny contains k if { some k in input.parameters.keys; input.object[k].c }", "object.*.c.… parameters.keys.*.…"},
		"With":     {"deny contains \"x\" if p with input.object as {}\np if { c := input.object.c; c.a }", "object.…"},
	} {
		t.Run(name, func(t *testing.T) {
			var bad problems
			s := compileSet(Set{Name: "a", Modules: map[string]string{"a.rego": "package acme\n\n" + tc.rego}}, Options{}.withDefaults(), &bad)
			if s == nil {
				t.Fatal(bad.err())
			}
			if diff := cmp.Diff(tc.want, strings.Join(s[0].reads.list(), " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("Benchmark", func(t *testing.T) {
		files, err := filepath.Glob("../test/bench/admission/rules/*.rego")
		if err != nil || len(files) != 11 {
			t.Fatal(files, err)
		}
		set := Set{Name: "a", Modules: map[string]string{}}
		for _, f := range files {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			set.Modules[f] = string(src)
		}
		var bad problems
		s := compileSet(set, Options{}.withDefaults(), &bad)
		if s == nil {
			t.Fatal(bad.err())
		}
		for _, path := range s[0].reads.list() {
			if strings.Contains(path, "ontainers.*.…") || strings.HasSuffix(path, ".spec.…") {
				t.Errorf("%s is read whole", path)
			}
		}
	})
}
