package policies_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"gitgate.dev/gitgate/policy"
)

// A contender is one way to do a thing.
type contender struct {
	name string
	do   func()
}

// inTurns has contenders do the same in turns, a batch each, first forwards and then
// backwards: whatever else the machine does meets all of them. It reports the median
// time of each, and the median of how many times as long as the last one each of the
// others took in the same turn.
func inTurns(b *testing.B, batch int, contenders ...contender) {
	times, ratios := map[string][]float64{}, map[string][]float64{}
	last := contenders[len(contenders)-1].name
	for _, c := range contenders {
		c.do() // pools and caches find their size
	}
	order := slices.Clone(contenders)
	for b.Loop() {
		turn := map[string]float64{}
		for _, c := range order {
			start := time.Now()
			for range batch {
				c.do()
			}
			turn[c.name] = float64(time.Since(start).Nanoseconds()) / float64(batch)
		}
		slices.Reverse(order)
		for name, t := range turn {
			times[name], ratios[name] = append(times[name], t), append(ratios[name], t/turn[last])
		}
	}
	for name := range times {
		b.ReportMetric(medianOf(times[name]), name+"-ns")
		if name != last {
			b.ReportMetric(medianOf(ratios[name]), name+"/"+last)
		}
	}
	b.ReportMetric(0, "ns/op") // of a turn it says nothing
}

func medianOf(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// BenchmarkPairs holds what gitgate does against the least that OPA needs for it.
// test/bench/policies makes its table of it.
func BenchmarkPairs(b *testing.B) {
	b.Run("deployment", benchmarkAgainstBare)
	b.Run("others", benchmarkOthers)
	b.Run("load", benchmarkLoad)
}

// benchmarkAgainstBare judges one Deployment by all packs, with nothing remembered
// and nothing pruned, beside one prepared query of the rules that match its kind.
// "Bare" is given the input as values, "bytes" as what it is read from.
func benchmarkAgainstBare(b *testing.B) {
	prepared, rules := barePrepared(b)
	object := benchDeployment("web")
	input := bareInput(b, object)
	ask := func(v ast.Value) {
		if rs, err := prepared.Eval(b.Context(), rego.EvalParsedInput(v)); err != nil || len(rs) != 1 {
			b.Fatal(rs, err)
		}
	}
	sets := allPacks(b)
	inTurns(b, 10,
		contender{"new", judging(b, benchEngine(b, policy.Options{ReadWholeInput: true}, sets...))},
		contender{"known", judging(b, benchEngine(b, policy.Options{}, sets...))},
		contender{"bytes", func() { ask(bareInput(b, object)) }},
		contender{"bare", func() { ask(input) }})
	b.ReportMetric(float64(rules), "matching-rules")
	b.ReportMetric(float64(len(ruleNames(b))), "all-rules")
}

// benchmarkOthers is about what rules for other kinds cost.
func benchmarkOthers(b *testing.B) {
	sets := allPacks(b)
	beside := append(slices.Clone(sets), others(60))
	for name, opts := range map[string]policy.Options{"new": {ReadWholeInput: true}, "known": {}} {
		b.Run(name, func(b *testing.B) {
			inTurns(b, 10,
				contender{"beside", judging(b, benchEngine(b, opts, beside...))},
				contender{"alone", judging(b, benchEngine(b, opts, sets...))})
		})
	}
}

// judging asks about one Deployment that passes.
func judging(b *testing.B, e *policy.Engine) func() {
	object := benchDeployment("web")
	return func() {
		if found := e.Evaluate(b.Context(), benchInput(object)); len(found) != 0 {
			b.Fatal(found)
		}
	}
}

// ruleNames lists the rules of all packs that speak.
func ruleNames(t testing.TB) []string {
	names := map[string]bool{}
	for file, mod := range modules(t) {
		for _, rule := range mod.Rules {
			if name := rule.Head.Name.String(); entryName.MatchString(name) && !strings.HasSuffix(file, "_test.rego") {
				names[mod.Package.Path.String()+"."+name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// benchmarkLoad has 200 modules or a few more loaded, in one set, beside what OPA needs to parse and
// compile them.
func benchmarkLoad(b *testing.B) {
	set := policy.Set{Name: "many", Modules: manyModules(b, 200)}
	inTurns(b, 1,
		contender{"gitgate", func() {
			if _, err := policy.Load(b.Context(), []policy.Set{set}, policy.Options{}); err != nil {
				b.Fatal(err)
			}
		}},
		contender{"opa", func() {
			parsed := make(map[string]*ast.Module, len(set.Modules))
			for file, src := range set.Modules {
				mod, err := ast.ParseModuleWithOpts(file, src, ast.ParserOptions{ProcessAnnotation: true})
				if err != nil {
					b.Fatal(err)
				}
				parsed[file] = mod
			}
			if c := ast.NewCompiler().WithStrict(true); compiled(c, parsed).Failed() {
				b.Fatal(c.Errors)
			}
		}})
	b.ReportMetric(float64(len(set.Modules)), "modules")
}

func compiled(c *ast.Compiler, modules map[string]*ast.Module) *ast.Compiler {
	c.Compile(modules)
	return c
}

// packagePath is a package of the library where it is declared, imported or read.
var packagePath = regexp.MustCompile(`(?m)(^package |\bdata\.)([a-z_]+)`)

// manyModules are the modules of the library, over and over, each time in packages of
// their own: n of them at least, for each copy is whole.
func manyModules(t testing.TB, n int) map[string]string {
	t.Helper()
	sources, roots := map[string]string{}, map[string]bool{}
	for _, set := range allPacks(t) {
		for file, src := range set.Modules {
			if !strings.HasSuffix(file, "_test.rego") {
				sources[file] = src
				roots[packagePath.FindStringSubmatch(src)[2]] = true
			}
		}
	}
	out := map[string]string{}
	for copied := 0; len(out) < n; copied++ {
		for _, file := range slices.Sorted(maps.Keys(sources)) {
			out[fmt.Sprintf("%d/%s", copied, file)] = packagePath.ReplaceAllStringFunc(sources[file], func(found string) string {
				m := packagePath.FindStringSubmatch(found)
				if !roots[m[2]] {
					return found
				}
				return fmt.Sprintf("%scopy%d.%s", m[1], copied, m[2])
			})
		}
	}
	return out
}
