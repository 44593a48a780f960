package policy_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/verdict"
)

// peakHeap runs f and returns by how much the heap grew at most.
func peakHeap(f func()) uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	var peak atomic.Uint64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if m.HeapAlloc > peak.Load() {
				peak.Store(m.HeapAlloc)
			}
		}
	})
	f()
	close(stop)
	wg.Wait()
	return max(peak.Load(), before) - before
}

// doubling is a chain of n rules, each twice as large as the one before.
func doubling(n int, first, step string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "x0 := %s\n", first)
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "x%d := "+step+"\n", i, fmt.Sprintf("x%d", i-1))
	}
	return b.String()
}

// TestAttack_O3_CostBomb wants every bomb to end in time, in PolicyTimeout, and
// within bounds of memory that hold for the process.
func TestAttack_O3_CostBomb(t *testing.T) {
	const limit = 512 << 20
	interrupted := []string{"CrossProduct", "Comprehension", "RegexReplace", "ResultTree"} // the others are refused before they start
	long := `x0 := "` + strings.Repeat("a", 1000) + "\"\n"
	for name, rego := range map[string]string{
		"Range":           `deny contains "no" if count(numbers.range(1, 1000000000000)) > 1`,
		"RangeStep":       `deny contains "no" if count(numbers.range_step(1, 1000000000000, 2)) > 1`,
		"HugeRange":       `deny contains "no" if count(numbers.range(1, 1e99)) > 1`,
		"CrossProduct":    "n := numbers.range(1, 1000)\ndeny contains \"no\" if {\n\tsome a in n\n\tsome b in n\n\tsome c in n\n\ta + b + c == 0\n}",
		"Comprehension":   "n := numbers.range(1, 100000)\nall := [[a, b] | some a in n; some b in n]\ndeny contains \"no\" if count(all) > 1",
		"Concat":          doubling(40, `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`, `concat("", [%[2]s, %[2]s])`) + `deny contains "no" if x40 != ""`,
		"ConcatDelimiter": long + "n := numbers.range(1, 1000)\n" + `deny contains "no" if concat(concat(x0, [sprintf("%v", [a]) | some a in n]), [sprintf("%v", [a]) | some a in n]) != ""`,
		"Replace":         doubling(40, `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`, `replace(%[2]s, "a", "aa")`) + `deny contains "no" if x40 != ""`,
		"ReplaceEmpty":    doubling(40, `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`, `replace(%[2]s, "", "aa")`) + `deny contains "no" if x40 != ""`,
		"ReplaceN":        doubling(40, `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`, `strings.replace_n({"a": "aa"}, %[2]s)`) + `deny contains "no" if x40 != ""`,
		"RegexReplace":    doubling(40, `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`, `regex.replace(%[2]s, "a", "$0$0")`) + `deny contains "no" if x40 != ""`,
		"Sprintf":         doubling(40, `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`, `sprintf("%%s%%s", [%[2]s, %[2]s])`) + `deny contains "no" if x40 != ""`,
		"SprintfIndex":    doubling(40, `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`, `sprintf("%%[1]s%%[1]s%%[1]s%%[1]s", [%[2]s])`) + `deny contains "no" if x40 != ""`,
		"SprintfWidth":    `deny contains sprintf("%999999999d", [1])`,
		"SprintfStar":     `deny contains sprintf("%*d", [999999999, 1])`,
		"Template":        doubling(40, `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`, "$`{%[2]s}{%[2]s}`") + `deny contains "no" if x40 != ""`,
		"ArrayConcat":     doubling(40, `[1, 2, 3, 4]`, `array.concat(%[2]s, %[2]s)`) + `deny contains "no" if count(x40) > 1`,
		"Marshal":         doubling(40, `["aaaaaaaaaaaaaaaaaaaaaaaa"]`, `[%[2]s, %[2]s]`) + `deny contains "no" if json.marshal(x40) != ""`,
		"YAMLMarshal":     doubling(40, `["aaaaaaaaaaaaaaaaaaaaaaaa"]`, `[%[2]s, %[2]s]`) + `deny contains "no" if yaml.marshal(x40) != ""`,
		"Walk":            doubling(40, `["a"]`, `[%[2]s, %[2]s]`) + `deny contains "no" if walk(x40, [_, 7])`,
		"SprintfTree":     doubling(40, `["a"]`, `[%[2]s, %[2]s]`) + `deny contains sprintf("%v", [x40])`,
		"Union":           doubling(40, `{"a": 1}`, `{"a": %[2]s, "b": %[2]s}`) + `deny contains "no" if object.union(x40, {"c": 1}) != {}`,
		"ResultTree":      doubling(40, `["a"]`, `[%[2]s, %[2]s]`) + "n := numbers.range(1, 100000)\ndeny contains {\"msg\": \"no\", \"x\": x40} if {\n\tsome a in n\n\tsome b in n\n\ta * b < 0\n}",
		"Multiply":        doubling(40, `123456789012345678901234567890`, `%[2]s * %[2]s`) + `deny contains "no" if x40 > 1`,
		"Shift":           `deny contains "no" if bits.lsh(1, 100000000000) > 1`,
		"Exponent":        `deny contains "no" if to_number("1e999999999") + 1 > 1`,
		"Product":         `deny contains "no" if product([1e300 | some _ in numbers.range(1, 100000)]) > 1`,
		"SprintfText":     doubling(40, `["a"]`, `[%[2]s, %[2]s]`) + `deny contains sprintf("order 999999999 * %v", [x40])`,
		"YAMLAliases": "bomb := concat(\"\\n\", array.concat([\"a0: &a0 [x,x,x,x,x,x,x,x,x]\"], [sprintf(\"a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\", [i, i, j, j, j, j, j, j, j, j, j]) | some i in numbers.range(1, 12); j := i - 1]))\n" +
			`deny contains "no" if yaml.unmarshal(bomb) != {}`,
	} {
		t.Run(name, func(t *testing.T) {
			e := load(t, "package acme\n\n"+rego, func(_ *policy.Set, o *policy.Options) {
				if slices.Contains(interrupted, name) {
					o.Timeout = 500 * time.Millisecond
				}
			})
			var fs []verdict.Finding
			start := time.Now()
			grew := peakHeap(func() { fs = e.Evaluate(t.Context(), policy.Input{Object: []byte(configMap)}) })
			if took := time.Since(start); took > time.Minute {
				t.Errorf("took %s", took)
			}
			if grew > limit {
				t.Errorf("the heap grew by %d MiB", grew>>20)
			}
			if len(fs) != 1 || !fs[0].Severity.Blocks() {
				t.Fatalf("findings = %v, want one that blocks", fs)
			}
			want := verdict.PolicyTimeout
			if name == "YAMLAliases" { // the YAML library refuses it
				want = verdict.PolicyError
			}
			if fs[0].Reason != want {
				t.Errorf("finding = %v, want %s", fs[0], want)
			}
			if want := !slices.Contains(interrupted, name); want != strings.Contains(fs[0].Message, "that one call may") && name != "YAMLAliases" {
				t.Errorf("refused before it started = %t, want %t: %s", !want, want, fs[0].Message)
			}
			t.Logf("%s, %d MiB: %s", time.Since(start).Round(time.Millisecond), grew>>20, fs[0].Message)
		})
	}
}

// TestAttack_O3_Uninterruptible compares values that share structure. OPA looks
// at no deadline there, and the answer must come all the same; an engine that is
// stuck too often answers at once, and recovers when the evaluations end.
func TestAttack_O3_Uninterruptible(t *testing.T) {
	tree := func(x string) string {
		return strings.ReplaceAll(doubling(24, `[input.object.data.n, "a"]`, `[%[2]s, %[2]s]`), "x", x)
	}
	e := load(t, "package acme\n\n"+tree("x")+tree("y")+
		"deny contains \"no\" if {\n\tinput.object.metadata.name == \"bomb\"\n\tx24 < y24\n}",
		func(_ *policy.Set, o *policy.Options) { o.Timeout = 30 * time.Millisecond })
	bomb := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"bomb"},"data":{"n":"1"}}`)
	var atOnce bool
	for i := 0; i < 20 && !atOnce; i++ {
		fs := e.Evaluate(t.Context(), policy.Input{Object: bomb})
		if len(fs) != 1 || fs[0].Reason != verdict.PolicyTimeout || fs[0].Severity != verdict.Undetermined {
			t.Fatalf("findings = %v, want one undetermined PolicyTimeout", fs)
		}
		atOnce = strings.Contains(fs[0].Message, "earlier evaluations ran out of time")
	}
	if !atOnce {
		t.Error("evaluations that do not end pile up without a limit")
	}
	for range 6000 { // under the race detector this takes its time
		if len(e.Evaluate(t.Context(), policy.Input{Object: []byte(configMap)})) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("the engine did not recover when the evaluations ended")
}

// TestAttack_O4_PanicFodder judges objects of the wrong shape.
func TestAttack_O4_PanicFodder(t *testing.T) {
	e := engine(t, policy.Options{}, pack(t, "pod-security-restricted"))
	for _, spec := range []string{
		`{"containers":{}}`, `{"containers":{"a":{}}}`, `{"containers":null}`, `{"containers":[null]}`, `{"containers":[[]]}`,
		`{"containers":["a"]}`, `{"containers":"a"}`, `[]`, `null`, `"a"`, `{"containers":[{"securityContext":[]}]}`,
		`{"containers":[{"securityContext":{"capabilities":{"drop":"ALL"}}}]}`,
		`{"containers":[{"ports":{"a":1}}],"volumes":7,"securityContext":true}`,
	} {
		for _, kind := range []string{
			`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":%s}`,
			`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"},"spec":{"template":{"spec":%s}}}`,
		} {
			fs := e.Evaluate(t.Context(), policy.Input{Object: fmt.Appendf(nil, kind, spec)})
			if spec == `{"containers":null}` {
				continue // nothing to say about a pod without containers; the API server refuses it
			}
			if len(fs) == 0 {
				t.Errorf("%s passes", fmt.Sprintf(kind, spec))
			}
		}
	}
	for _, object := range []string{``, `{`, `null`, `[]`, `"a"`, `{}`, `{"kind":"Pod"}`, `{"apiVersion":"v1","kind":7}`,
		`{"apiVersion":"v1","kind":"Pod","metadata":[]}`, `{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"a":1}}}`,
		`{"apiVersion":"v1","kind":"Pod","metadata":{"name":{}}}`, `{"apiVersion":"v1","kind":"Pod"} {}`,
		strings.Repeat(`{"a":`, 100000), strings.Repeat(`[`, 100000)} {
		fs := e.Evaluate(t.Context(), policy.Input{Object: []byte(object)})
		if len(fs) != 1 || fs[0].Reason != verdict.PolicyError || fs[0].Severity != verdict.Deny {
			t.Errorf("%.60s: findings = %v, want one PolicyError", object, fs)
		}
	}
}

// TestCancelled wants an answer that denies when the caller gives up.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e := load(t, "package acme\n\ndeny contains \"no\" if {\n\tsome a in numbers.range(1, 100000)\n\tsome b in numbers.range(1, 100000)\n\ta + b == 0\n}")
	fs := e.Evaluate(ctx, policy.Input{Object: []byte(configMap)})
	if len(fs) != 1 || fs[0].Reason != verdict.PolicyTimeout || fs[0].Severity != verdict.Undetermined {
		t.Errorf("findings = %v, want one undetermined PolicyTimeout", fs)
	}
}

// TestZeroEngine must not let anything pass.
func TestZeroEngine(t *testing.T) {
	var e policy.Engine
	if fs := e.Evaluate(t.Context(), policy.Input{Object: []byte(configMap)}); len(fs) != 1 || !fs[0].Severity.Blocks() {
		t.Errorf("findings = %v", fs)
	}
}
