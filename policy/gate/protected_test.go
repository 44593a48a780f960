package gate_test

import (
	"testing"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

func TestProtected(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		what   gate.Protected
		denied bool
	}{
		"ByName":         {"The object itself.", gate.Protected{Kind: "ConfigMap", Namespace: "shop", Name: "m0"}, true},
		"AnyName":        {"No name is every name.", gate.Protected{Kind: "ConfigMap", Namespace: "shop"}, true},
		"AnyNamespace":   {"No namespace is every namespace.", gate.Protected{Kind: "ConfigMap", Name: "m0"}, true},
		"OtherName":      {"Its neighbour is free.", gate.Protected{Kind: "ConfigMap", Namespace: "shop", Name: "keys"}, false},
		"OtherNamespace": {"So is its namesake elsewhere.", gate.Protected{Kind: "ConfigMap", Namespace: "system", Name: "m0"}, false},
		"OtherGroup":     {"A kind of another group is another kind.", gate.Protected{Group: "acme.dev", Kind: "ConfigMap", Name: "m0"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			tc.what.Why = "what judges it"
			s.protected = []gate.Protected{tc.what}
			release, v := s.admit(s.push("declares", map[string]string{"app/m0.yaml": configMap("m0", `"1"`)}))
			if (release == nil) != tc.denied {
				t.Fatalf("%s\nverdict %s", tc.reason, v.Summary())
			}
			if f := v.Blocking(); tc.denied && (f[0].Reason != verdict.ScopeViolation || f[0].File != "app/m0.yaml" || f[0].Line != 1) {
				t.Errorf("%s\nfindings %v", tc.reason, f)
			}
		})
	}
}

// What came to be protected after it was applied is not deleted by a commit.
func TestProtectedIsNotDeleted(t *testing.T) {
	s := newSite(t)
	s.budget = atMost(10)
	files := s.stock(3)
	s.gate, s.protected = nil, []gate.Protected{{Kind: "ConfigMap", Name: "m1", Why: "what judges it"}}
	release, v := s.admit(s.push("drops it", nil, files[1]))
	if release != nil || v.Blocking()[0].Reason != verdict.ScopeViolation {
		t.Errorf("verdict %s", v.Summary())
	}
}
