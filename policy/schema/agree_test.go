package schema_test

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/schema"
)

// swapEvery is how many of the mutations that swap a value are left to be asked
// about: one in so many. TestOracle asks the server's library about all.
const swapEvery = 11

// stricter are the words of problems that the server does not have, and why.
var stricter = map[string]*regexp.Regexp{
	"server-side apply takes a number modulo 2^32, so that something else is stored than Git says": regexp.MustCompile(
		`must be a 32-bit integer$`),
}

// structural are words of the server about what this package is to find. The rest
// of what it refuses is validation that Kubernetes has in Go.
var structural = regexp.MustCompile(`failed to create typed patch|cannot convert|unable to convert|cannot unmarshal|strict decoding|error decoding|quantities must match`)

// TestServerAgrees asks a real API server about what is said here.
func TestServerAgrees(t *testing.T) {
	j := newJudge(t)
	t.Run("Kinds", func(t *testing.T) { agreeOnKinds(t, j) })
	t.Run("Builtin", func(t *testing.T) { agreeOnMutations(t, j) })
	t.Run("Custom", func(t *testing.T) { agreeOnCustom(t, j) })
	t.Run("Table", func(t *testing.T) { agreeOnTable(t, j) })
}

// gated are groups of which kinds need a feature gate, besides being turned on.
var gated = map[string]bool{"lifecycle.k8s.io": true, "scheduling.k8s.io": true}

// agreeOnKinds compares what is served, and in which scope.
func agreeOnKinds(t *testing.T, j *judge) {
	v := schema.New(schema.Options{})
	seen := 0
	for _, k := range schema.Kinds() {
		m, err := j.mapper.RESTMapping(k.GroupKind(), k.Version)
		if meta.IsNoMatchError(err) && gated[k.Group] && k.Version != "v1" {
			continue
		}
		if meta.IsNoMatchError(err) {
			t.Errorf("%s is not served", k)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if namespaced, known := v.Scope(k.Group, k.Kind); !known || namespaced != (m.Scope.Name() == meta.RESTScopeNameNamespace) {
			t.Errorf("%s: Scope() = %t, %t", k, namespaced, known)
		}
	}
	if seen < 80 {
		t.Errorf("only %d kinds", seen)
	}
}

// agreeOnMutations changes one place at a time of objects that the server accepts.
// What is refused here the server refuses; what it refuses for its structure is
// refused here.
func agreeOnMutations(t *testing.T, j *judge) {
	v := schema.New(schema.Options{})
	var todo []mutation
	for _, d := range documents(t, "kinds.yaml") {
		if problems, err := v.Validate(t.Context(), d); err != nil || len(problems) > 0 {
			t.Errorf("%s: %v %v", nameOf(d), messages(problems), err)
		}
		if err := j.ask(t.Context(), d); err != nil {
			t.Errorf("%s: %v", nameOf(d), err)
		}
		for i, m := range mutations(d) {
			if !m.swap || i%swapEvery == 0 {
				m.what = nameOf(d) + ": " + m.what
				todo = append(todo, m)
			}
		}
	}
	both := compare(t, v, j, todo, func(m mutation, problems []schema.Problem, said error) {
		switch {
		case said == nil && !allStricter(problems):
			t.Errorf("%s: the server accepts it, and not %q", m.what, messages(problems))
		case said != nil && len(problems) == 0 && structural.MatchString(said.Error()) && !strings.Contains(said.Error(), "error converting fieldPath"):
			t.Errorf("%s: only the server refuses it: %v", m.what, said)
		}
	})
	if both < 1500 {
		t.Errorf("of %d mutations only %d were refused", len(todo), both)
	}
}

// compare has both judge each object; it returns how many both refuse.
func compare(t *testing.T, v *schema.Validator, j *judge, todo []mutation, f func(mutation, []schema.Problem, error)) (both int) {
	t.Helper()
	var mu sync.Mutex
	every(todo, func(m mutation) {
		problems, err := v.Validate(t.Context(), m.object)
		said := j.ask(t.Context(), m.object)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Errorf("%s: %v", m.what, err)
		}
		if wrong := judged(said); wrong != nil {
			t.Errorf("%s: %v", m.what, wrong)
		}
		f(m, problems, said)
		if said != nil && len(problems) > 0 {
			both++
		}
	})
	return both
}

func allStricter(problems []schema.Problem) bool {
	for _, p := range problems {
		known := false
		for _, words := range stricter {
			known = known || words.MatchString(p.Message)
		}
		if !known {
			return false
		}
	}
	return true
}

// agreeOnCustom does the same to a custom resource: there both say the same, and in
// the same words once the server comes to validation.
func agreeOnCustom(t *testing.T, j *judge) {
	crd, v := object(t, file(t, "widgets.yaml")), schema.New(schema.Options{})
	if err := v.AddCRD(crd); err != nil {
		t.Fatal(err)
	}
	j.create(t, crd)
	widget := object(t, file(t, "widget.yaml"))
	if err := j.ask(t.Context(), widget); err != nil {
		t.Fatal(err)
	}
	words := 0
	both := compare(t, v, j, mutations(widget), func(m mutation, problems []schema.Problem, said error) {
		if (said != nil) != (len(problems) > 0) {
			t.Errorf("%s: server %v, here %q", m.what, said, messages(problems))
			return
		}
		if said == nil || !strings.Contains(said.Error(), "is invalid: ") {
			return
		}
		words++
		for _, p := range problems {
			// Unknown fields are another stage's at the server, which ends there.
			if !p.Unknown && !strings.Contains(said.Error(), p.Message) {
				t.Errorf("%s: the server says %q, and not %q", m.what, said, p.Message)
			}
		}
	})
	if both < 100 || words < 20 {
		t.Errorf("%d were refused, %d by validation", both, words)
	}
}

// TestOracle asks the library by which the server reads server-side apply about all
// mutations.
func TestOracle(t *testing.T) {
	o, v, refused := schema.Oracle{}, schema.New(schema.Options{}), 0
	for _, d := range documents(t, "kinds.yaml") {
		u := unstructured.Unstructured{Object: d}
		for _, m := range mutations(d) {
			problems, err := v.Validate(t.Context(), m.object)
			if err != nil {
				t.Fatal(err)
			}
			said := o.Refuses(t, u.GroupVersionKind(), m.object)
			if said != nil {
				refused++
			}
			if said != nil && len(problems) == 0 {
				t.Errorf("%s: %s: only server-side apply refuses it: %v", nameOf(d), m.what, said)
			}
			if said == nil && slices.ContainsFunc(problems, func(p schema.Problem) bool { return p.Unknown }) {
				t.Errorf("%s: %s: server-side apply accepts it: %q", nameOf(d), m.what, messages(problems))
			}
		}
	}
	if refused < 5000 {
		t.Errorf("only %d were refused", refused)
	}
}
