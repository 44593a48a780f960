package lock_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

const (
	rev1 = "main@sha1:1111111111111111111111111111111111111111"
	rev2 = "main@sha1:2222222222222222222222222222222222222222"
)

func revision(rev string, applied bool) func(*lock.Release) {
	return func(r *lock.Release) { r.Revision, r.Applied, r.Namespaces = rev, applied, []string{"shop"} }
}

// TestRollout follows an object from one release to the next.
func TestRollout(t *testing.T) {
	w := newWorld(t)
	v2 := edit(webD, "web:1", "web:2")
	w.release(revision(rev1, true), w.object(webD), w.object(configMap))
	w.release(revision(rev2, false), w.object(v2))
	up, down := try{user: reconciler, op: admissionv1.Update, old: webD, new: v2}, try{user: reconciler, op: admissionv1.Update, old: v2, new: webD}
	w.check(t, "The new release is being applied.", up, "")
	w.check(t, "Until it is, what was before may be put back.", down, "")
	w.check(t, "Neither says this.", try{user: reconciler, op: admissionv1.Update, old: webD, new: edit(webD, "web:1", "web:3")}, verdict.ContentMismatch)
	w.check(t, "A mixture is neither.", try{user: reconciler, op: admissionv1.Update, old: edit(webD, "web:1", "web:9", "replicas: 2", "replicas: 9"), new: edit(v2, "replicas: 2", "replicas: 3")}, verdict.ContentMismatch)
	w.check(t, "What the release drops its reconciler deletes.", try{user: reconciler, op: admissionv1.Delete, old: configMap}, "")
	w.check(t, "Nobody else does.", try{user: alice, op: admissionv1.Delete, old: configMap}, verdict.ManagedDelete)
	w.check(t, "Nor makes it anew.", try{user: alice, op: admissionv1.Create, new: configMap}, verdict.NotInGit)
	w.check(t, "But who applies, as long as the new release may yet be refused.", try{user: reconciler, op: admissionv1.Create, new: configMap}, "")
	w.check(t, "As it was.", try{user: reconciler, op: admissionv1.Create, new: edit(configMap, "k: v", "k: w")}, verdict.ContentMismatch)
	w.check(t, "What stays cannot be deleted.", try{user: reconciler, op: admissionv1.Delete, old: v2}, verdict.ManagedDelete)

	w.inv.Applied(types.NamespacedName{Namespace: "team", Name: "shop"}, rev1)
	w.check(t, "Another revision being applied says nothing.", down, "")
	w.inv.Applied(types.NamespacedName{Namespace: "team", Name: "shop"}, rev2)
	w.check(t, "K28: from now on the old one is drift.", down, verdict.ContentMismatch)
	w.check(t, "And the new one is Git.", up, "")
	w.check(t, "What was dropped is not Git's any more.", try{user: reconciler, op: admissionv1.Delete, old: configMap}, "")

	w.inv.Drop(types.NamespacedName{Namespace: "team", Name: "shop"})
	w.check(t, "Without the GitSync nothing is locked.", try{user: alice, op: admissionv1.Delete, old: v2}, "")
}

// TestPending checks answers while D is not known.
func TestPending(t *testing.T) {
	w := newWorld(t)
	unknown := w.object(webD)
	unknown.Desired = nil
	w.release(nil, unknown)
	for name, tc := range map[string]struct {
		try  try
		want want
	}{
		"Create": {try{user: reconciler, op: admissionv1.Create, new: webD}, verdict.RevisionPending},
		"Update": {try{user: alice, op: admissionv1.Update, old: webD, new: edit(webD, "web:1", "web:2")}, verdict.RevisionPending},
		"Scale":  {try{user: alice, op: admissionv1.Update, sub: "scale", resource: deployments, old: scale("web", "2"), new: scale("web", "3")}, verdict.RevisionPending},
		"Same":   {try{user: alice, op: admissionv1.Update, old: webD, new: edit(webD, "name: web,", "name: web, generation: 5,")}, ""},
		"Delete": {try{user: alice, op: admissionv1.Delete, old: webD}, verdict.ManagedDelete},
	} {
		t.Run(name, func(t *testing.T) {
			if a := w.check(t, "What is not known is not allowed, for now.", tc.try, tc.want); a.Pending != (tc.want == verdict.RevisionPending) {
				t.Errorf("pending = %t", a.Pending)
			}
		})
	}
	t.Run("K1/OtherVersion", func(t *testing.T) {
		w := newWorld(t)
		w.release(nil, w.object(webD))
		other := edit(webD, "apps/v1", "apps/v1beta2")
		if a := w.check(t, "Another version cannot be compared.", try{user: alice, op: admissionv1.Update, old: other, new: edit(other, "web:1", "web:2")}, verdict.NotReady); !a.Pending {
			t.Error("the answer is final")
		}
		w.check(t, "That it is kept can be told in any.", try{user: alice, op: admissionv1.Delete, old: other}, verdict.ManagedDelete)
	})
}

// TestConflict checks that of two claims on one object the first counts.
func TestConflict(t *testing.T) {
	w := newWorld(t)
	theirs := edit(webD, "web:1", "web:2")
	w.release(nil, w.object(webD))
	w.release(func(r *lock.Release) { r.Sync.Name = "other" }, w.object(theirs), w.object(configMap))
	w.check(t, "The first keeps it.", try{user: alice, op: admissionv1.Update, old: theirs, new: webD}, "")
	w.check(t, "The second does not get it.", try{user: reconciler, op: admissionv1.Update, old: webD, new: theirs}, verdict.ContentMismatch)
	w.check(t, "It keeps what is its own.", try{user: alice, op: admissionv1.Delete, old: configMap}, verdict.ManagedDelete)
	found := w.inv.Conflicts()
	if len(found) != 1 || found[0].Holder.Name != "shop" || found[0].Other.Name != "other" || !strings.Contains(found[0].String(), "shop/web") {
		t.Errorf("conflicts = %v", found)
	}
	marked := func(d, name string) string {
		return edit(d, "labels: {app: web}}, spec: {\n", "labels: {app: web, gitgate.dev/namespace: team, gitgate.dev/name: "+name+"}}, spec: {\n")
	}
	t.Run("Labels", func(t *testing.T) {
		// After a restart the order of acceptance says nothing; the guarded labels of
		// the object do.
		w := newWorld(t)
		w.release(func(r *lock.Release) { r.Sync.Name = "other" }, w.object(marked(theirs, "other")))
		w.release(nil, w.object(marked(webD, "shop")))
		w.check(t, "Its labels say whose it is.", try{user: alice, op: admissionv1.Update, old: marked(webD, "shop"), new: marked(theirs, "other")}, verdict.ContentMismatch)
	})
	w.inv.Drop(types.NamespacedName{Namespace: "team", Name: "shop"})
	w.check(t, "When the first gives it up it is the second's.", try{user: alice, op: admissionv1.Update, old: webD, new: theirs}, "")
	if found := w.inv.Conflicts(); len(found) != 0 {
		t.Errorf("conflicts = %v", found)
	}
}

// TestConcurrency has releases change while requests are decided; go test -race
// finds what is shared.
func TestConcurrency(t *testing.T) {
	w := newWorld(t)
	v2 := edit(webD, "web:1", "web:2")
	w.release(revision(rev1, true), w.object(webD))
	evil := w.request(try{user: alice, op: admissionv1.Update, old: webD, new: edit(webD, "web:1", "evil")})
	a, b := w.object(webD), w.object(v2)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if w.lock.Decide(t.Context(), evil).Allowed {
					t.Error("evil was allowed")
				}
			}
		})
	}
	for i := range 50 {
		if i%2 == 0 {
			w.release(revision(rev2, false), b)
		} else {
			w.release(revision(rev1, true), a)
		}
	}
	wg.Wait()
}

// TestImages checks image leaves: any digest verified for the tag in Git is as good.
func TestImages(t *testing.T) {
	digest := func(c string) string { return "@sha256:" + strings.Repeat(c, 64) }
	pinned := func(ref string) string { return edit(webD, "example.com/web:1", ref) }
	w := newWorld(t)
	images := func(v ...lock.VerifiedImage) func(*lock.Release) {
		return func(r *lock.Release) { r.Images, r.Namespaces = v, []string{"shop"} }
	}
	w.release(images(
		lock.VerifiedImage{Repository: "example.com/web", Tag: "1", Digest: digest("a")[1:]},
		lock.VerifiedImage{Repository: "example.com/web", Tag: "1", Digest: digest("b")[1:]},
		lock.VerifiedImage{Repository: "example.com/web", Tag: "2", Digest: digest("c")[1:]},
		lock.VerifiedImage{Repository: "example.com/fix", Digest: digest("d")[1:]},
		lock.VerifiedImage{Repository: "example.com/fix", Digest: digest("e")[1:]},
	), w.object(pinned("example.com/web:1"+digest("a"))), w.object(edit(bare, "b:1", "example.com/fix:1"+digest("d"))))
	live := pinned("example.com/web:1" + digest("a"))
	for name, tc := range map[string]struct {
		reason string
		new    string
		want   want
	}{
		"OtherDigest":   {"Evidence for the same tag.", pinned("example.com/web:1" + digest("b")), ""},
		"OtherTag":      {"Git says another tag.", pinned("example.com/web:2" + digest("c")), verdict.ContentMismatch},
		"Unknown":       {"No evidence here, yet.", pinned("example.com/web:1" + digest("f")), verdict.ImagePending},
		"OtherOfTag":    {"A digest that belongs to another tag.", pinned("example.com/web:1" + digest("c")), verdict.ImagePending},
		"I1/Unpinned":   {"A tag is not what was verified.", webD, verdict.ContentMismatch},
		"Repository":    {"Another image.", pinned("example.com/evil:1" + digest("a")), verdict.ContentMismatch},
		"NotAnImage":    {"Nonsense.", pinned("@@@"), verdict.ContentMismatch},
		"WithSomething": {"Another image excuses no other change.", edit(pinned("example.com/web:1"+digest("b")), "replicas: 2", "replicas: 3"), verdict.ContentMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			w.check(t, tc.reason, try{user: reconciler, op: admissionv1.Update, old: live, new: tc.new}, tc.want)
			w.check(t, tc.reason, try{user: reconciler, op: admissionv1.Create, new: tc.new}, tc.want)
		})
	}
	t.Run("PinnedInGit", func(t *testing.T) {
		old := edit(bare, "b:1", "example.com/fix:1"+digest("d"))
		w.check(t, "Git names the digest: no other stands in for it.", try{user: reconciler, op: admissionv1.Update, old: old, new: edit(bare, "b:1", "example.com/fix:1"+digest("e"))}, verdict.ContentMismatch)
	})
	t.Run("Pod", func(t *testing.T) {
		deploy := edit(liveWeb, "example.com/web:1", "example.com/web:1"+digest("a"))
		set := edit(liveSet, "example.com/web:1", "example.com/web:1"+digest("f"))
		w.own(deploy)
		w.own(set)
		pod := edit(newPod, "example.com/web:1", "example.com/web:1"+digest("f"))
		if a := w.check(t, "It derives from a ReplicaSet that nobody vouches for.", try{user: controller("replicaset-controller"), op: admissionv1.Create, new: pod}, verdict.ImagePending); !a.Pending {
			t.Error("the answer is final")
		}
		w.own(edit(set, digest("f"), digest("b")))
		w.check(t, "It runs what was verified.", try{user: controller("replicaset-controller"), op: admissionv1.Create, new: edit(pod, digest("f"), digest("b"))}, "")
	})
}

// TestRetire checks which images of earlier releases Pods may run.
func TestRetire(t *testing.T) {
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	image := func(c string) lock.VerifiedImage {
		return lock.VerifiedImage{Repository: "example.com/web", Tag: "1", Digest: digest(c)}
	}
	name := types.NamespacedName{Namespace: "team", Name: "shop"}
	w := newWorld(t)
	w.own(liveWeb)
	runs := func(reason, c string, want want) {
		t.Helper()
		ref := "example.com/web:1@" + digest(c)
		w.own(edit(liveSet, "example.com/web:1", ref))
		w.check(t, reason, try{user: controller("replicaset-controller"), op: admissionv1.Create, new: edit(newPod, "example.com/web:1", ref)}, want)
	}
	release := func(rev string, applied bool, c string, images ...lock.VerifiedImage) {
		w.release(func(r *lock.Release) { revision(rev, applied)(r); r.Images = images }, w.object(edit(webD, "example.com/web:1", "example.com/web:1@"+digest(c))))
	}
	w.inv.Retire(name, []lock.VerifiedImage{image("a")}) // nobody knows the GitSync
	release(rev1, true, "b", image("b"))
	runs("Nothing was retired.", "a", verdict.ImagePending)
	w.inv.Retire(name, []lock.VerifiedImage{image("a")})
	runs("An earlier release had it.", "a", "")
	runs("The current one counts as ever.", "b", "")
	release(rev2, false, "c", image("c"))
	runs("What is being replaced still runs.", "b", "")
	runs("And what came before.", "a", "")
	w.inv.Applied(name, rev2)
	runs("Once it is replaced somebody has to vouch for it.", "b", verdict.ImagePending)
	w.inv.Retire(name, []lock.VerifiedImage{image("b")})
	runs("As now.", "b", "")
	runs("And for nothing else.", "a", verdict.ImagePending)
	w.inv.Retire(name, nil)
	runs("Trust in it was lost.", "b", verdict.ImagePending)
	runs("Not in the current one.", "c", "")

	w.inv.Retire(name, []lock.VerifiedImage{image("b")})
	live := edit(webD, "example.com/web:1", "example.com/web:1@"+digest("c"))
	w.check(t, "Only Pods run it: what Git says is another digest.", try{user: reconciler, op: admissionv1.Update, old: live, new: edit(live, digest("c"), digest("b"))}, verdict.ImagePending)
	w.inv.Drop(name)
	release(rev2, true, "c", image("c"))
	runs("With the GitSync all of it goes.", "b", verdict.ImagePending)
}

// What the cluster's own admission makes of an image no evidence covers: it runs as
// long as Pods of that release may.
func TestRetiredReferences(t *testing.T) {
	const ref = "mirror.example.com/web:1"
	w := newWorld(t)
	w.own(edit(liveWeb, "example.com/web:1", ref))
	w.own(edit(liveSet, "example.com/web:1", ref))
	old := try{user: controller("replicaset-controller"), op: admissionv1.Create, new: edit(newPod, "example.com/web:1", ref)}
	images := []lock.VerifiedImage{{Repository: "example.com/web", Tag: "1", Digest: "sha256:" + strings.Repeat("a", 64)}}
	w.release(func(r *lock.Release) { revision(rev1, true)(r); r.Images = images }, w.object(webD, edit(webD, "example.com/web:1", ref)))
	w.check(t, "It is what the API server makes of the release.", old, "")
	w.release(func(r *lock.Release) { revision(rev2, true)(r); r.Images = images }, w.object(webD, edit(webD, "example.com/web:1", "mirror.example.com/web:2")))
	w.check(t, "Its Pods are still there.", old, "")
	for i := range 40 {
		next := fmt.Sprintf("mirror.example.com/web:%d", 2+max(0, i-20))
		w.release(func(r *lock.Release) { revision(fmt.Sprint(rev1, i), true)(r); r.Images = images }, w.object(webD, edit(webD, "example.com/web:1", next)))
		if i == 20 {
			w.check(t, "None of these had other images.", old, "")
		}
	}
	w.check(t, "They are long gone.", old, verdict.ImagePending)
}
