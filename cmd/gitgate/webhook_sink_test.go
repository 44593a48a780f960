package main

import (
	"testing"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/lock"
)

// A lock that could not be verified yet still counts, or the registration would be
// taken away from under it.
func TestUnknownLocksCount(t *testing.T) {
	locked := func(mode string) *v1alpha1.GitSync {
		s := &v1alpha1.GitSync{}
		s.Spec.Lock = &v1alpha1.Lock{Mode: mode, Namespaces: []string{"shop", "system"}}
		return s
	}
	for name, tc := range map[string]struct {
		reason string
		all    []*v1alpha1.GitSync
		want   lock.Mode
	}{
		"None":    {"There is none.", nil, lock.Off},
		"Audit":   {"One reports.", []*v1alpha1.GitSync{locked("Audit")}, lock.Audit},
		"Enforce": {"The strictest counts.", []*v1alpha1.GitSync{locked("Audit"), locked("Enforce"), locked("Audit")}, lock.Enforce},
	} {
		t.Run(name, func(t *testing.T) {
			s := &lockSink{inventory: lock.NewInventory(), system: "system"}
			if got := s.mode(); got != lock.Off {
				t.Fatalf("mode %q before anything is known", got)
			}
			s.Unknown(tc.all)
			if got := s.mode(); got != tc.want {
				t.Errorf("%s\nmode %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
