package policy_test

import (
	"strings"
	"sync"
	"testing"

	"gitgate.dev/gitgate/policy"
)

// TestJoinShares makes engines of the same compiled sets, each of other ones and in
// another order, while others evaluate. What one of them remembers of a set must
// never be taken for what another set says.
func TestJoinShares(t *testing.T) {
	compiled := map[string]*policy.Compiled{}
	for _, name := range []string{"a", "b", "c"} {
		c, err := policy.Compile(t.Context(), policy.Set{Name: name, Modules: map[string]string{
			"a.rego": "package " + name + "\n\ndeny contains \"" + name + " says no\" if input.object.data.n == \"1\"",
		}}, policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		compiled[name] = c
	}
	join := func(names string) *policy.Engine {
		var sets []*policy.Compiled
		for _, name := range strings.Split(names, "") {
			sets = append(sets, compiled[name])
		}
		e, err := policy.Join(sets, policy.Options{Timeout: patient})
		if err != nil {
			t.Error(err)
		}
		return e
	}
	var wg sync.WaitGroup
	for _, names := range []string{"abc", "c", "bc", "ac", "b"} {
		wg.Go(func() {
			for range 4 {
				e := join(names)
				for range 20 { // so that answers are remembered
					var got string
					for _, f := range e.Evaluate(t.Context(), policy.Input{Operation: policy.Create, Object: []byte(configMap)}) {
						got += f.Message[:1]
					}
					if got != names {
						t.Errorf("of the sets %s, these say no: %s", names, got)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}
