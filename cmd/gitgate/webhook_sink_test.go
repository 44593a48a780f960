package main

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/verify/image"
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
			s := newLockSink("system", lock.NewInventory(), &verifiedImages{}, func() {})
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

// TestSinkAccept tells what the mirror tells at every look, mostly the same again.
func TestSinkAccept(t *testing.T) {
	sync := &v1alpha1.GitSync{}
	sync.Name, sync.Namespace, sync.UID, sync.Generation = "shop", "team", "1", 1
	sync.Spec.Lock = &v1alpha1.Lock{Mode: v1alpha1.ModeEnforce}
	edited, anew := sync.DeepCopy(), sync.DeepCopy()
	edited.Generation, edited.Spec.Lock.Mode = 2, v1alpha1.ModeAudit
	anew.UID = "2"
	first, second := &reconcile.Verified{Revision: "main@sha1:1"}, &reconcile.Verified{Revision: "main@sha1:2"}
	told := 0
	s := newLockSink("system", lock.NewInventory(), &verifiedImages{}, func() { told++ })
	for _, step := range []struct {
		reason string
		locked reconcile.Locked
		told   bool
		mode   lock.Mode
	}{
		{"The first revision is news.", reconcile.Locked{Sync: sync, Current: first}, true, lock.Enforce},
		{"The same again is none.", reconcile.Locked{Sync: sync, Current: first}, false, lock.Enforce},
		{"Another revision is on its way.", reconcile.Locked{Sync: sync, Current: second, Former: first}, true, lock.Enforce},
		{"It still is.", reconcile.Locked{Sync: sync, Current: second, Former: first}, false, lock.Enforce},
		{"It is applied.", reconcile.Locked{Sync: sync, Current: second}, true, lock.Enforce},
		{"Somebody else applies.", reconcile.Locked{Sync: sync, Current: second, Writer: "bob"}, true, lock.Enforce},
		{"The GitSync was edited.", reconcile.Locked{Sync: edited, Current: second}, true, lock.Audit},
		{"Another one has its name.", reconcile.Locked{Sync: anew, Current: second}, true, lock.Enforce},
	} {
		before := told
		s.Accept(step.locked)
		if got := told > before; got != step.told {
			t.Errorf("%s\ntold the lock: %v, want %v", step.reason, got, step.told)
		}
		if got := s.mode(); got != step.mode {
			t.Errorf("%s\nmode %q, want %q", step.reason, got, step.mode)
		}
	}
}

// TestSinkRetire runs images of earlier releases, wherever images are judged.
func TestSinkRetire(t *testing.T) {
	evidence := func(digit string) []image.Evidence {
		t.Helper()
		v, err := image.NewVerifier(image.Config{Default: image.Allow})
		if err != nil {
			t.Fatal(err)
		}
		e, err := v.Verify(t.Context(), "example.com/web@sha256:"+strings.Repeat(digit, 64))
		if err != nil {
			t.Fatal(err)
		}
		return []image.Evidence{e}
	}
	sync := &v1alpha1.GitSync{}
	sync.Name, sync.Namespace = "shop", "team"
	sync.Spec.Lock = &v1alpha1.Lock{Mode: v1alpha1.ModeEnforce}
	name := types.NamespacedName{Namespace: "team", Name: "shop"}
	images := &verifiedImages{}
	s := newLockSink("system", lock.NewInventory(), images, func() {})
	current := &reconcile.Verified{Revision: "main@sha1:2", Images: evidence("b")}
	for _, step := range []struct {
		reason string
		do     func()
		want   string // the digests that run
	}{
		{"Nothing runs before a release is accepted.", func() { s.Retire(name, evidence("a")) }, ""},
		{"The current release runs.", func() { s.Accept(reconcile.Locked{Sync: sync, Current: current}) }, "b"},
		{"So does what came before.", func() { s.Retire(name, evidence("a")) }, "ab"},
		{"Also after the next release.", func() {
			s.Accept(reconcile.Locked{Sync: sync, Current: &reconcile.Verified{Revision: "main@sha1:3", Images: evidence("c")}})
		}, "ac"},
		{"As long as somebody vouches for it.", func() { s.Retire(name, evidence("b")) }, "bc"},
		{"Trust in it may be lost.", func() { s.Retire(name, nil) }, "c"},
		{"Nothing is left of a GitSync that is gone.", func() { s.Retire(name, evidence("a")); s.Drop(name) }, ""},
		{"And nothing comes back.", func() { s.Retire(name, evidence("a")) }, ""},
	} {
		step.do()
		got := ""
		for _, digit := range []string{"a", "b", "c"} {
			if images.runs("example.com/web@sha256:"+strings.Repeat(digit, 64)) == nil {
				got += digit
			}
		}
		if got != step.want {
			t.Errorf("%s\n%q run, want %q", step.reason, got, step.want)
		}
	}
}
