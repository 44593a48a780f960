package main

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/audit"
)

func strayReport(strays, unseen int) audit.Report {
	r := audit.Report{Sync: types.NamespacedName{Namespace: "team", Name: "shop"}, Closes: true}
	for i := range strays {
		r.Strays = append(r.Strays, audit.Stray{
			Kind: schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, Resource: schema.GroupResource{Group: "apps", Resource: "deployments"},
			Namespace: "shop", Name: fmt.Sprintf("d-%02d", i), Reason: verdict.NotInGit, Why: "it is not in Git",
		})
	}
	for i := range unseen {
		r.Unseen = append(r.Unseen, fmt.Sprintf("kind-%02d: no right", i))
	}
	return r
}

// TestStrayStatus proves that a status tells how many there are, names the first, and
// stays within what its schema takes.
func TestStrayStatus(t *testing.T) {
	got := strayStatus(strayReport(37, 50))
	objects, unseen := got["objects"].([]any), got["unseen"].([]any)
	want := map[string]any{"object": "shop/Deployment.apps/d-00", "reason": "NotInGit", "message": "it is not in Git"}
	if diff := cmp.Diff(want, objects[0]); got["total"] != int64(37) || len(objects) != 10 || diff != "" {
		t.Errorf("total %v, %d objects, the first differs (-want +got):\n%s", got["total"], len(objects), diff)
	}
	if len(unseen) != 21 || unseen[20] != "and 30 more" {
		t.Errorf("%d kinds, the last %q, want twenty and how many more", len(unseen), unseen[len(unseen)-1])
	}
	if got := strayStatus(strayReport(0, 0)); len(got) != 1 || got["total"] != int64(0) {
		t.Errorf("nothing to tell = %v, want a total of none", got)
	}
}

// TestStraysTold proves that a status that another replica wrote is not taken for ours.
func TestStraysTold(t *testing.T) {
	status := func(total int32, objects ...string) *v1alpha1.GitSync {
		s := &v1alpha1.GitSync{Status: v1alpha1.GitSyncStatus{Lock: &v1alpha1.LockStatus{Strays: &v1alpha1.StrayStatus{Total: total}}}}
		for _, o := range objects {
			s.Status.Lock.Strays.Objects = append(s.Status.Lock.Strays.Objects, v1alpha1.StrayObject{Object: o, Reason: "NotInGit", Message: "it is not in Git"})
		}
		return s
	}
	gone := audit.Report{}
	for name, tc := range map[string]struct {
		reason string
		sync   *v1alpha1.GitSync
		report audit.Report
		want   bool
	}{
		"Same":    {"It says the same.", status(1, "shop/Deployment.apps/d-00"), strayReport(1, 0), true},
		"Count":   {"It counts otherwise.", status(2, "shop/Deployment.apps/d-00"), strayReport(1, 0), false},
		"Object":  {"It names another one.", status(1, "shop/Deployment.apps/d-01"), strayReport(1, 0), false},
		"Nothing": {"It says nothing, not even that there is none.", &v1alpha1.GitSync{}, strayReport(0, 0), false},
		"Left":    {"What it says is out of date: nothing is closed any more.", status(0), gone, false},
		"Silent":  {"There is nothing to be said.", &v1alpha1.GitSync{}, gone, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tells(tc.sync, tc.report); got != tc.want {
				t.Errorf("%s\ntells() = %t, want %t", tc.reason, got, tc.want)
			}
		})
	}
}

// TestPlain proves that a name out of etcd, where nobody looks at names, commands no
// terminal and fills no status.
func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"shop/Pod/web": "shop/Pod/web", "a\x1b[31mb": "a?[31mb", "a\nb": "a?b", "\u202eevil": "?evil", "\xff\xfe": "?",
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) = %q, want %q", in, got, want)
		}
	}
	if got := plain(strings.Repeat("ä", 4000)); len(got) > maxStrayText || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
		t.Errorf("a long name becomes %d bytes", len(got))
	}
}
