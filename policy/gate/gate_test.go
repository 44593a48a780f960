package gate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/verify/commit"
)

func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: shop}\ndata: {k: %s}\n", name, value)
}

func pod(name, image string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: shop}\nspec: {containers: [{name: c, image: %q}]}\n", name, image)
}

func imageOf(t *testing.T, objects []gate.Object, name string) string {
	t.Helper()
	for _, o := range objects {
		if o.GetName() == name {
			list, _, _ := unstructured.NestedSlice(o.Object, "spec", "containers")
			return list[0].(map[string]any)["image"].(string)
		}
	}
	t.Fatalf("no object %s", name)
	return ""
}

// An unsigned tree is not even read: nothing that it holds may cost or teach
// anything.
func TestUnverifiedTreeIsNotRead(t *testing.T) {
	s := newSite(t)
	head := s.repo.Commit(gitrepo.Change{Files: map[string]string{"app/broken.yaml": "{"}})
	v := s.denied(head, verdict.UnsignedCommit)
	for _, stage := range v.Stages[1:] {
		if stage.Status != verdict.Skipped {
			t.Errorf("stage %s %s over an unverified tree", stage.Stage, stage.Status)
		}
	}
	if s.cluster.judged {
		t.Error("the cluster was asked about it")
	}
}

func TestEveryStageIsRequired(t *testing.T) {
	if _, err := gate.New(gate.Config{}); !errors.Is(err, gate.ErrMissingStage) {
		t.Errorf("New(zero) = %v", err)
	}
}

// The zero Release can be had by anybody. It must not be good for anything.
func TestZeroReleaseIsEmpty(t *testing.T) {
	var r gate.Release
	if len(r.Objects())+len(r.Declared())+len(r.Applied().Declared()) > 0 || r.Revision() != "" || r.Commit().Hash != "" {
		t.Errorf("the zero release holds something: %+v", r)
	}
}

// THREATS I1: what was verified is what is applied, also in later revisions.
func TestAttack_I1_PinnedImageStays(t *testing.T) {
	s := newSite(t)
	first := s.images.MustPushImage(t, "acme/app:1")
	if err := s.images.SignTag(first, s.cosign); err != nil {
		t.Fatal(err)
	}
	release := s.allowed(s.push("one", map[string]string{"app/pod.yaml": pod("web", first.Name)}))
	want := first.Name + "@" + first.Digest
	for what, objects := range map[string][]gate.Object{"applied": release.Objects(), "declared": release.Declared(), "dry-run": s.cluster.seen} {
		if got := imageOf(t, objects, "web"); got != want {
			t.Errorf("%s image %s, want %s", what, got, want)
		}
	}
	if evil := s.images.MustPushImage(t, "acme/app:1"); evil.Digest == first.Digest { // the tag moves, unsigned
		t.Fatal("the tag did not move")
	}
	release = s.allowed(s.push("two", map[string]string{"app/map.yaml": configMap("a", "1")}))
	if got := imageOf(t, release.Objects(), "web"); got != want {
		t.Errorf("after the tag moved: %s, want %s", got, want)
	}
	s.denied(s.push("three", map[string]string{"app/other.yaml": pod("other", first.Name)}), verdict.ImageUnsigned)
}

// What a denied revision proved of one object must not carry over to another, and
// what was not proven then must be asked again.
func TestDeniedImageIsAskedAgain(t *testing.T) {
	s := newSite(t)
	img := s.images.MustPushImage(t, "acme/app:1")
	head := s.push("one", map[string]string{"app/pod.yaml": pod("web", img.Name)})
	s.denied(head, verdict.ImageUnsigned)
	s.denied(head, verdict.ImageUnsigned)
	if err := s.images.SignTag(img, s.cosign); err != nil {
		t.Fatal(err)
	}
	s.allowed(head)
}

// An outage is no consent, and no final answer either.
func TestRegistryOutageIsUndetermined(t *testing.T) {
	s := newSite(t)
	head := s.push("one", map[string]string{"app/pod.yaml": pod("web", s.images.Name("acme/app:1"))})
	s.images.Close()
	v := s.denied(head, verdict.RegistryUnavailable)
	if !v.Undetermined() {
		t.Errorf("verdict %s is final", v.Summary())
	}
}

const noTwo = `package acme
deny contains "two" if input.object.data.k == "2"
`

// Rules over the object alone are asked once per object, also if they denied it.
func TestPolicyMemo(t *testing.T) {
	s := newSite(t)
	s.rego = noTwo
	s.allowed(s.push("one", map[string]string{"app/a.yaml": configMap("a", `"1"`)}))
	bad := map[string]string{"app/a.yaml": configMap("a", `"2"`)}
	s.denied(s.push("two", bad), verdict.PolicyDenied)
	// The denied object is unchanged in a commit that looks harmless.
	s.denied(s.push("three", map[string]string{"app/b.yaml": configMap("b", `"1"`)}), verdict.PolicyDenied)
	s.allowed(s.push("four", map[string]string{"app/a.yaml": configMap("a", `"1"`)}))
}

const frozen = `package acme
deny contains "frozen" if { input.operation == "UPDATE"; input.oldObject.data.k != input.object.data.k }
`

// Rules that read the old object are asked again for as long as the object is not
// applied: its first answer was about another step.
func TestPolicyMemoReadsContext(t *testing.T) {
	s := newSite(t)
	s.rego = frozen
	s.allowed(s.push("one", map[string]string{"app/a.yaml": configMap("a", `"1"`)}))
	s.denied(s.push("two", map[string]string{"app/a.yaml": configMap("a", `"2"`)}), verdict.PolicyDenied)
	s.denied(s.push("three", map[string]string{"app/b.yaml": configMap("b", `"1"`)}), verdict.PolicyDenied)
	s.allowed(s.push("four", map[string]string{"app/a.yaml": configMap("a", `"1"`)}))
}

const ticket = `package acme
deny contains "no ticket" if not contains(input.commit.message, "TICKET")
`

// A rule over the commit has judged an object for the commit that applies it, not
// for a former one that was denied for something else.
func TestPolicyMemoOfDeniedCommit(t *testing.T) {
	s := newSite(t)
	s.rego = ticket
	img := s.images.MustPushImage(t, "acme/app:1")
	s.denied(s.push("TICKET one", map[string]string{"app/a.yaml": configMap("a", "v"), "app/pod.yaml": pod("web", img.Name)}), verdict.ImageUnsigned)
	s.denied(s.push("two", nil, "app/pod.yaml"), verdict.PolicyDenied)
}

// After a restart the old objects come from the tree that was applied.
func TestPreviousTree(t *testing.T) {
	s := newSite(t)
	s.rego = frozen
	one := s.push("one", map[string]string{"app/a.yaml": configMap("a", `"1"`)})
	s.allowed(one)
	two := s.push("two", map[string]string{"app/a.yaml": configMap("a", `"2"`)})
	tree, err := commit.Unverified(s.repo.Objects(), one)
	if err != nil {
		t.Fatal(err)
	}
	req := gate.Request{PreviousTree: tree, Commit: commit.Request{Head: two, Base: []plumbing.Hash{one}, Objects: s.repo.Objects()}}
	if release, v := s.open().Admit(t.Context(), req); release != nil {
		t.Errorf("an update was taken for a creation: %s", v.Summary())
	}
}

// THREATS O4: whatever panics, the answer is a denial, and the next decision is
// none the worse.
func TestAttack_O4_PanicDenies(t *testing.T) {
	s := newSite(t)
	head := s.push("one", map[string]string{"app/a.yaml": configMap("a", `"1"`)})
	s.cluster.dryRun = func(*gate.Candidate) []verdict.Finding { panic("hunter2") }
	v := s.denied(head, verdict.Internal)
	if text := v.Summary(); strings.Contains(text, "hunter2") || !strings.Contains(text, "apply stage") {
		t.Errorf("summary %q", text)
	}
	s.cluster.dryRun = nil
	s.allowed(head)
}

// What the cluster refuses is refused, and what it could not say is no consent.
func TestDryRunDecides(t *testing.T) {
	for name, severity := range map[string]verdict.Severity{"Deny": verdict.Deny, "Undetermined": verdict.Undetermined, "Forgotten": ""} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.cluster.dryRun = func(*gate.Candidate) []verdict.Finding {
				return []verdict.Finding{{Reason: verdict.DryRunRejected, Severity: severity, Message: "no"}}
			}
			v := s.denied(s.push("one", map[string]string{"app/a.yaml": configMap("a", `"1"`)}), verdict.DryRunRejected)
			if v.Undetermined() != (severity == verdict.Undetermined) {
				t.Errorf("undetermined %t", v.Undetermined())
			}
		})
	}
}

func TestCancelledIsNoConsent(t *testing.T) {
	s := newSite(t)
	head := s.push("one", map[string]string{"app/a.yaml": configMap("a", `"1"`)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release, v := s.open().Admit(ctx, gate.Request{Commit: commit.Request{Head: head, Objects: s.repo.Objects()}})
	if release != nil || !v.Undetermined() {
		t.Errorf("release %t, verdict %s", release != nil, v.Summary())
	}
}

// A verdict is logged and shown: it stays small, and still denies.
func TestFindingsAreBounded(t *testing.T) {
	s := newSite(t)
	s.cluster.dryRun = func(*gate.Candidate) []verdict.Finding {
		fs := make([]verdict.Finding, 5000)
		for i := range fs {
			fs[i] = verdict.Finding{Reason: verdict.DryRunRejected, Severity: verdict.Warn, Message: fmt.Sprint(i)}
		}
		fs[4999].Severity = verdict.Deny
		return fs
	}
	_, v := s.admit(s.push("one", map[string]string{"app/a.yaml": configMap("a", `"1"`)}))
	if len(v.Findings) != 1001 || v.Allowed() || v.Findings[0].Severity != verdict.Deny {
		t.Errorf("%d findings, allowed %t, first %v", len(v.Findings), v.Allowed(), v.Findings[0])
	}
}
