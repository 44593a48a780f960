package gate_test

import (
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/verify/commit"
)

// thoroughSite looks at everything, whatever is verified.
func thoroughSite(t *testing.T, rego string) *site {
	t.Helper()
	s := newSite(t)
	s.thorough, s.rego = true, rego
	s.more = func(r *gate.Request) {
		tree, err := commit.Unverified(s.repo.Objects(), r.Commit.Head)
		if err != nil {
			t.Fatal(err)
		}
		r.Unverified = tree
	}
	return s
}

// A thorough gate tells everything at once, and releases nothing of it.
func TestThoroughTellsAll(t *testing.T) {
	s := thoroughSite(t, noTwo)
	img := s.images.MustPushImage(t, "acme/app:1")
	s.cluster.live = []gate.Object{{Unstructured: s.allowed(s.push("one", map[string]string{
		"app/gone.yaml": configMap("gone", "1"), "app/a.yaml": configMap("a", "1"),
	})).Objects()[1].Unstructured}}
	s.cluster.judged = false
	head := s.repo.Commit(gitrepo.Change{Files: map[string]string{
		"app/a.yaml": configMap("a", `"2"`), "app/pod.yaml": pod("web", img.Name),
		"app/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\nstringData: {p: x}\n",
	}, Delete: []string{"app/gone.yaml"}})
	s.denied(head, verdict.UnsignedCommit, verdict.ImageUnsigned, verdict.DeletionBudget, verdict.PolicyDenied, verdict.PlaintextSecret)
	if s.cluster.judged {
		t.Error("the cluster was asked about a revision that is refused")
	}
}

// A tree that does not render has no objects, which does not mean that all of them
// are deleted.
func TestThoroughBrokenTreeDeletesNothing(t *testing.T) {
	s := thoroughSite(t, quiet)
	s.cluster.live = s.allowed(s.push("one", map[string]string{"app/a.yaml": configMap("a", "1")})).Objects()
	s.denied(s.push("two", map[string]string{"app/a.yaml": "{"}), verdict.InvalidManifest)
}

// What nobody committed is judged, and is never better than undetermined.
func TestThoroughWorkTree(t *testing.T) {
	s := thoroughSite(t, noTwo)
	head := s.push("one", map[string]string{"app/a.yaml": configMap("a", "1")})
	unverified := s.more
	s.more = func(r *gate.Request) { unverified(r); r.Commit.Head, r.Revision = plumbing.ZeroHash, "worktree" }
	if v := s.denied(head, verdict.UnsignedCommit); !v.Undetermined() {
		t.Errorf("verdict %s", v.Summary())
	}
	head = s.push("two", map[string]string{"app/a.yaml": configMap("a", `"2"`)})
	if v := s.denied(head, verdict.PolicyDenied, verdict.UnsignedCommit); v.Undetermined() {
		t.Errorf("verdict %s", v.Summary())
	}
}

// A gate that is not thorough takes no tree but a verified one.
func TestUnverifiedIsIgnored(t *testing.T) {
	s := thoroughSite(t, quiet)
	s.thorough = false
	v := s.denied(s.repo.Commit(gitrepo.Change{Files: map[string]string{"app/a.yaml": configMap("a", "1")}}), verdict.UnsignedCommit)
	if v.Objects != 0 {
		t.Errorf("%d objects of an unverified tree", v.Objects)
	}
}

// What was judged with the commit that brought it is not judged again, as long as
// it is what it was.
func TestJudgedBefore(t *testing.T) {
	s := newSite(t)
	first := s.push("one", map[string]string{"app/a.yaml": configMap("a", `"2"`), "app/b.yaml": configMap("b", "1")})
	s.allowed(first)
	s.gate, s.rego, s.previous = nil, noTwo, nil // another process, and another rule
	s.more = func(r *gate.Request) {
		var err error
		if r.PreviousTree, err = commit.Unverified(s.repo.Objects(), first); err != nil {
			t.Fatal(err)
		}
		r.JudgedBefore = true
	}
	s.denied(s.push("two", map[string]string{"app/b.yaml": configMap("b", `"2"`)}), verdict.PolicyDenied)
	judged := s.more
	s.more, s.gate = func(r *gate.Request) { judged(r); r.JudgedBefore = false }, nil
	s.denied(s.push("three", map[string]string{"app/c.yaml": configMap("c", "1")}), verdict.PolicyDenied, verdict.PolicyDenied)
}

// The budget of a check counts what is declared, for there is no inventory.
func TestInventoryAsPrevious(t *testing.T) {
	s := newSite(t)
	s.budget = func(inventory int) int { return inventory / 2 }
	s.more = func(r *gate.Request) { r.Inventory = gate.AsPrevious }
	s.cluster.live = s.allowed(s.push("one", map[string]string{"app/a.yaml": configMap("a", "1"), "app/b.yaml": configMap("b", "1")})).Objects()
	more := map[string]string{"app/c.yaml": configMap("c", "1"), "app/d.yaml": configMap("d", "1"), "app/e.yaml": configMap("e", "1")}
	s.denied(s.push("two", more, "app/a.yaml", "app/b.yaml"), verdict.DeletionBudget)
	s.allowed(s.push("three", map[string]string{"app/b.yaml": configMap("b", "1")}))
}

// What was not looked at whole counts for the inventory, and is never released.
func TestElsewhereIsNotReleased(t *testing.T) {
	s := newSite(t)
	head := s.push("one", map[string]string{"app/a.yaml": configMap("a", `"1"`)})
	req := gate.Request{Commit: commit.Request{Head: head, Objects: s.repo.Objects()}}
	g := s.open()
	if release, v := g.Admit(t.Context(), req); release == nil || v.Objects != 1 {
		t.Fatalf("whole: %s", v.Summary())
	}
	req.Elsewhere.Objects = 9
	if release, v := g.Admit(t.Context(), req); release != nil || !v.Allowed() || v.Objects != 10 {
		t.Errorf("a part of a release was released: %d objects, %s", v.Objects, v.Summary())
	}
}
