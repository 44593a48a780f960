package policy_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/racing"
)

// contextual rules read more than the object.
const contextual = `

deny_operation contains sprintf("operation %v", [input.operation]) if input.object.a
deny_old contains sprintf("old %v", [input.oldObject.a]) if input.oldObject
deny_namespace contains sprintf("namespace %v", [input.namespace.metadata.labels.a]) if input.object.a
deny_user contains sprintf("user %v", [input.userInfo.username])
deny_commit contains sprintf("commit %v", [input.commit.sha])
deny_source contains sprintf("source %v", [input.source.line])
deny_images contains sprintf("images %v", [input.images[_].ref])
deny_parameter contains sprintf("parameter %v", [input.parameters.a])
`

func maybe(r *rand.Rand, raw func() []byte) []byte {
	if r.IntN(2) == 0 {
		return nil
	}
	return raw()
}

// randomInput is an admission or a commit of few kinds, so that most of what a
// rule reads was there before, in another setting.
func randomInput(t testing.TB, r *rand.Rand) policy.Input {
	in := policy.Input{Operation: policy.Create, Object: randomObject(t, r), Line: r.IntN(3), File: "a.yaml"}
	if in.OldObject = maybe(r, func() []byte { return randomObject(t, r) }); in.OldObject != nil {
		in.Operation = policy.Update
	}
	in.Namespace = maybe(r, func() []byte {
		return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n","labels":{"a":"%d"}}}`, r.IntN(3))
	})
	if r.IntN(2) == 0 {
		in.User = &policy.UserInfo{Username: []string{"alice", "bob"}[r.IntN(2)]}
	}
	if r.IntN(2) == 0 {
		in.Commit = &policy.Commit{SHA: []string{"1", "2"}[r.IntN(2)]}
	}
	for range r.IntN(3) {
		in.Images = append(in.Images, policy.Image{Ref: []string{"x", "y"}[r.IntN(2)]})
	}
	return in
}

// TestMemoChangesNothing judges a long row of inputs by an engine that remembers,
// and each by one that does not.
func TestMemoChangesNothing(t *testing.T) {
	racing.Skip(t)
	for name, opts := range map[string]policy.Options{
		"Plain":    {},
		"Few":      {MaxFindings: 3},
		"Cut":      {MaxMessageBytes: 12},
		"Few, cut": {MaxFindings: 5, MaxMessageBytes: 8},
	} {
		t.Run(name, func(t *testing.T) {
			forgetful := opts
			forgetful.ReadWholeInput = true
			sets := []policy.Set{
				{Name: "acme", Modules: map[string]string{"a.rego": readers + contextual}, Parameters: map[string]any{"a": 1}},
				{Name: "other", Modules: map[string]string{"a.rego": readers + contextual}, Parameters: map[string]any{"a": 2}, Enforcement: policy.Warn},
			}
			remembers, forgets := engine(t, opts, sets...), engine(t, forgetful, sets...)
			r := rand.New(rand.NewPCG(7, 8))
			for range 250 {
				in := randomInput(t, r)
				want := forgets.Evaluate(t.Context(), in)
				for range 2 {
					if diff := cmp.Diff(want, remembers.Evaluate(t.Context(), in)); diff != "" {
						t.Fatalf("on %s, old %s\n%s", in.Object, in.OldObject, diff)
					}
				}
			}
			if made, asked := remembers.Remembered(), 250*2*30; made > asked*4/5 {
				t.Errorf("%d of %d answers were not known: hardly anything was tested", made, asked)
			}
		})
	}
}

// A rule that reads no name answers for the next Pod of a template as for the
// first, with that Pod's own place.
func TestMemoOfTemplates(t *testing.T) {
	e := load(t, "package acme\n\ndeny contains sprintf(\"%v\", [c.image]) if some c in input.object.spec.containers")
	pod := func(name string) policy.Input {
		return policy.Input{File: name + ".yaml", Line: 3, Object: fmt.Appendf(nil,
			`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"labels":{"x":%q}},"spec":{"containers":[{"name":"c","image":"nginx","env":[{"name":%q}]}]}}`, name, name, name)}
	}
	first := e.Evaluate(t.Context(), pod("one"))
	second := e.Evaluate(t.Context(), pod("two"))
	if kept := e.Remembered(); kept != 1 {
		t.Errorf("%d answers are remembered, want 1", kept)
	}
	if len(first) != 1 || len(second) != 1 || second[0].Object != "Pod/two" || second[0].File != "two.yaml" || second[0].Message != "nginx" {
		t.Errorf("findings %v and %v", first, second)
	}
}

// What depends on who asks is asked each time.
func TestMemoOfContext(t *testing.T) {
	for _, read := range []string{"input.userInfo.username", "input.commit.sha", "input.images[_].ref", "input.source.line"} {
		e := load(t, "package acme\n\ndeny contains sprintf(\"%v\", ["+read+"])")
		for range 2 {
			in := randomInput(t, rand.New(rand.NewPCG(1, 1)))
			in.User, in.Commit, in.Images = &policy.UserInfo{Username: "a"}, &policy.Commit{SHA: "a"}, []policy.Image{{Ref: "a"}}
			in.Line = 7
			if fs := e.Evaluate(t.Context(), in); len(fs) != 1 {
				t.Fatal(fs)
			}
		}
		if kept := e.Remembered(); kept != 0 {
			t.Errorf("%s: %d answers are remembered", read, kept)
		}
	}
}

// What went wrong is asked again.
func TestMemoOfTrouble(t *testing.T) {
	for name, tc := range map[string]struct {
		rego string
		want verdict.Reason
	}{
		"Error":     {`deny contains "x" if to_number(input.object.a) > 1`, verdict.PolicyError},
		"Undefined": {`deny := {"x"} if input.object.b`, verdict.PolicyUndefined},
		"Result":    {`deny contains 7 if input.object.a`, verdict.PolicyError},
		"Many":      {`deny contains sprintf("%v", [i]) if some i in numbers.range(1, 300)`, verdict.LimitExceeded},
		"Long":      {`deny contains concat("", [input.object.a | some i in numbers.range(1, 5000)])`, verdict.LimitExceeded},
		"Budget":    {`deny contains "x" if count(numbers.range(1, 99999999)) > 1`, verdict.PolicyTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			e := load(t, "package acme\n\n"+tc.rego)
			in := policy.Input{Object: []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"a":"y"}`)}
			var last []verdict.Finding
			for range 3 {
				fs := e.Evaluate(t.Context(), in)
				found := false
				for _, f := range fs {
					found = found || f.Reason == tc.want
				}
				if !found {
					t.Fatalf("findings %v, want %s", fs, tc.want)
				}
				if last != nil && cmp.Diff(last, fs) != "" {
					t.Error(cmp.Diff(last, fs))
				}
				last = fs
			}
			if kept := e.Remembered(); kept != 0 {
				t.Errorf("%d answers with trouble are remembered", kept)
			}
		})
	}
}

// The memory does not grow with what is judged.
func TestMemoIsBounded(t *testing.T) {
	e := load(t, "package acme\n\ndeny contains concat(\"\", [input.object.a, input.object.b])")
	long := strings.Repeat("x", 3000)
	for i := range 12000 {
		in := policy.Input{Object: fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"a":"%d","b":%q}`, i, long)}
		if fs := e.Evaluate(t.Context(), in); len(fs) != 1 {
			t.Fatal(fs)
		}
	}
	if bytes := e.RememberedBytes(); bytes > 17<<20 {
		t.Errorf("%d bytes are remembered", bytes)
	}
}

// A rule whose input is new each time is hardly looked for, until that changes.
func TestMemoGivesUpAndComesBack(t *testing.T) {
	e := load(t, "package acme\n\ndeny contains sprintf(\"%v\", [input.object.a])")
	judge := func(a int) {
		in := policy.Input{Object: fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"a":%d}`, a)}
		if fs := e.Evaluate(t.Context(), in); len(fs) != 1 || fs[0].Message != fmt.Sprint(a) {
			t.Fatalf("%d: %v", a, fs)
		}
	}
	for i := range 4000 {
		judge(i)
	}
	given := e.Remembered()
	if given > 1000 {
		t.Errorf("%d of 4000 answers that never come again are remembered", given)
	}
	for range 4000 {
		judge(-1)
	}
	for i := range 100 {
		judge(-2 - i)
	}
	if back := e.Remembered() - given; back < 90 {
		t.Errorf("%d of 101 new answers are remembered although most were known lately", back)
	}
}

// TestMemoConcurrent is for -race.
func TestMemoConcurrent(t *testing.T) {
	e := engine(t, policy.Options{}, policy.Set{Name: "acme", Modules: map[string]string{"a.rego": readers}})
	r := rand.New(rand.NewPCG(9, 10))
	var inputs []policy.Input
	var want [][]verdict.Finding
	for range 30 {
		inputs = append(inputs, policy.Input{Object: randomObject(t, r)})
		want = append(want, e.Evaluate(t.Context(), inputs[len(inputs)-1]))
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range inputs {
				if diff := cmp.Diff(want[i], e.Evaluate(t.Context(), inputs[i])); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
	wg.Wait()
}

// An object that waits for its turn is not judged, and has its whole time when its
// turn comes.
func TestTurns(t *testing.T) {
	e := load(t, "package acme\n\ndeny contains \"x\" if input.object.a")
	in := policy.Input{Object: []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"a":1}`)}
	back := e.TakeTurns()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fs := e.Evaluate(ctx, in)
	if len(fs) != 1 || fs[0].Reason != verdict.PolicyTimeout || fs[0].Severity != verdict.Undetermined {
		t.Errorf("findings = %v, want one that says that the turn did not come", fs)
	}
	waiting := make(chan []verdict.Finding)
	go func() { waiting <- e.Evaluate(t.Context(), in) }()
	select {
	case fs := <-waiting:
		t.Errorf("judged before its turn: %v", fs)
	default:
	}
	back()
	if fs := <-waiting; len(fs) != 1 || fs[0].Reason != verdict.PolicyDenied {
		t.Errorf("findings = %v, want the denial", fs)
	}
}
