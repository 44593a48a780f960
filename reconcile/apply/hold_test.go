package apply_test

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/reconcile/render"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/verify/commit"
	"gitgate.dev/gitgate/verify/image"
)

// What a gate needs to read a revision, and nothing that it asks of one that is refused.
type (
	renderer struct{}
	unasked  struct {
		gate.PolicyEvaluator
		gate.DryRunner
	}
	keyless struct{ gate.SecretKeeper }
)

func (renderer) Render(ctx context.Context, fsys fs.FS) ([]gate.Object, []verdict.Finding) {
	return render.Render(ctx, fsys, render.Options{Path: "app"})
}

func (renderer) Line(fs.FS, gate.Source, string) int { return 1 }

func (keyless) Check(gate.Object) error { return nil }

// held is what a revision declares that a gate refuses; signed says that its commit is
// good nevertheless.
func (b *bench) held(manifests string, signed bool) *gate.Held {
	b.t.Helper()
	alice := gitrepo.OpenPGP(b.t, gitrepo.OpenPGPOptions{Name: "Alice", Email: "alice@example.com"})
	repo := gitrepo.For(b.t)
	root := repo.Commit(gitrepo.Change{Files: map[string]string{"README": "held"}})
	change := gitrepo.Change{Files: map[string]string{"app/app.yaml": strings.ReplaceAll(manifests, "NS", b.ns)}, Author: alice.Person()}
	if signed {
		change.Sign = alice
	}
	head := repo.Commit(change)
	commits, err := commit.NewVerifier(commit.Config{
		Signers: []commit.SignerConfig{{Name: "alice", OpenPGP: alice.Public()}}, AuthorMustMatchSigner: true, Root: root.String(),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	images, err := image.NewVerifier(image.Config{})
	if err != nil {
		b.t.Fatal(err)
	}
	g, err := gate.New(gate.Config{Commits: commits, Renderer: renderer{}, Images: images, Policies: unasked{}, Secrets: keyless{}, Cluster: unasked{}})
	if err != nil {
		b.t.Fatal(err)
	}
	held, why := g.Hold(b.t.Context(), gate.HoldRequest{Revision: "main@sha1:x", Objects: repo.Objects(), Head: head})
	if held == nil || held.Verified() != signed {
		b.t.Fatalf("held %+v, because of %v", held, why)
	}
	return held
}

// meddle changes a ConfigMap as somebody else.
func (b *bench) meddle(name, patch string) {
	b.t.Helper()
	if _, err := b.alice.Resource(gvrs["configmaps"]).Namespace(b.ns).Patch(b.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) delete(name string) {
	b.t.Helper()
	if err := b.alice.Resource(gvrs["configmaps"]).Namespace(b.ns).Delete(b.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

// maps are ConfigMaps with a value, one for each name.
func maps(names ...string) string {
	var docs []string
	for _, n := range names {
		docs = append(docs, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: NS}\ndata: {k: git}\n", n))
	}
	return strings.Join(docs, "---\n")
}

// owned is a patch of the labels that say whose an object is.
func owned(namespace, name string) string {
	return fmt.Sprintf(`{"metadata":{"labels":{%q:%q,%q:%q}}}`, apply.OwnerNamespaceLabel, namespace, apply.OwnerNameLabel, name)
}

// TestTakeUp takes up a refused revision in a process that knows nothing: what is not
// as it says is drift, and nothing is written for that.
func TestTakeUp(t *testing.T) {
	b := newBench(t)
	manifests := maps("same", "changed", "gone", "stripped", "foreign", "dying")
	b.apply(b.newPlan(manifests))
	b.meddle("changed", `{"data":{"k":"foreign"}}`)
	b.meddle("stripped", fmt.Sprintf(`{"metadata":{"labels":{%q:null,%q:null}}}`, apply.OwnerNamespaceLabel, apply.OwnerNameLabel))
	b.meddle("foreign", owned(b.ns, "another"))
	b.meddle("foreign", `{"metadata":{"annotations":{"`+apply.PruneAnnotation+`":"Disabled"}}}`)
	b.meddle("dying", `{"metadata":{"finalizers":["example.com/hold"]}}`)
	defer b.meddle("dying", `{"metadata":{"finalizers":null}}`)
	b.delete("gone")
	b.delete("dying")

	later := b.applier(nil)
	b.run(later)
	for len(b.drifts) > 0 { // what the former process saw
		<-b.drifts
	}
	b.a.Forget(apply.Owner{Namespace: b.ns, Name: "app"})
	b.count.take()
	plan := b.newPlan(maps("none"))
	held := b.held(manifests, false)
	for try := range 2 {
		left, err := later.TakeUp(t.Context(), plan, held)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) != 1 || !strings.HasSuffix(left[0].Object, "/foreign") || !strings.Contains(left[0].Why, "belongs to GitSync") || left[0].Retry {
			t.Errorf("left: %+v, want the object of another GitSync", left)
		}
		asked := b.count.take()
		if n := writes(asked); n > 0 {
			t.Errorf("%d writes", n)
		}
		if again := slices.DeleteFunc(asked, func(r string) bool { return strings.HasSuffix(r, "/foreign") }); try > 0 && len(again) > 0 {
			t.Errorf("what is under watch was asked about again: %q", again)
		}
	}
	var seen []apply.Drift
	eventually(t, 10*time.Second, "three drifts", func() bool {
		select {
		case d := <-b.drifts:
			if !slices.ContainsFunc(seen, func(s apply.Drift) bool { return s.Object == d.Object }) {
				seen = append(seen, d)
			}
		default:
		}
		return len(seen) == 3
	})
	if _, need, fs := later.Correct(t.Context(), seen, nil); len(need) > 0 || len(fs) > 0 {
		t.Errorf("correcting %s: need %v, findings %v", describe(seen), need, fs)
	}
	for _, name := range []string{"same", "changed", "gone", "stripped"} {
		if u := b.get("configmaps", name); u.Object["data"].(map[string]any)["k"] != "git" || u.GetLabels()[apply.OwnerNameLabel] != "app" {
			t.Errorf("%s was not put right: %v", name, u.Object)
		}
	}
	if u := b.get("configmaps", "foreign"); u.GetLabels()[apply.OwnerNameLabel] != "another" {
		t.Errorf("the object of another GitSync was taken: %v", u.Object)
	}
	b.meddle("same", `{"data":{"k":"foreign"}}`)
	eventually(t, 10*time.Second, "a drift since", func() bool {
		select {
		case d := <-b.drifts:
			return strings.HasSuffix(d.Object, "same") && names(d, "data.k")
		default:
			return false
		}
	})
}

// TestHold holds a refused revision for who remembers it, and for who has only heard of
// it. Neither writes, and hearsay is never the content that an object is held to.
func TestHold(t *testing.T) {
	b := newBench(t)
	manifests := maps("same", "changed", "gone", "foreign", "bare", "other")
	b.apply(b.newPlan(manifests))
	b.meddle("changed", `{"data":{"k":"foreign"}}`)
	b.meddle("foreign", owned(b.ns, "another"))
	b.meddle("bare", fmt.Sprintf(`{"metadata":{"labels":{%q:null,%q:null}}}`, apply.OwnerNamespaceLabel, apply.OwnerNameLabel))
	b.delete("gone")
	signed, unsigned := b.held(maps("same", "changed", "gone", "foreign", "bare"), true), b.held(maps("same", "changed", "gone", "foreign", "bare"), false)
	b.count.take()
	const git, live, frozen = "git", "live", "frozen"
	for name, tc := range map[string]struct {
		reason  string
		held    *gate.Held
		hearsay bool
		applied bool
		entries bool // by an inventory, too
		want    map[string]string
	}{
		"Own": {"Who remembers holds everything to what Git says.", unsigned, false, true, false,
			map[string]string{"same": git, "changed": git, "gone": git, "foreign": git, "bare": git}},
		"Told": {"A verified revision that is said to be applied names its objects, and freezes what differs.", signed, true, true, false,
			map[string]string{"same": live, "changed": frozen, "gone": frozen, "bare": frozen}},
		"Unsigned": {"One that anybody may have written speaks of what bears the labels.", unsigned, true, true, false,
			map[string]string{"same": live, "changed": frozen}},
		"Head": {"So does one that nobody says to be applied.", signed, true, false, false,
			map[string]string{"same": live, "changed": frozen}},
		"Inventory": {"What only an inventory names is frozen.", signed, true, false, true,
			map[string]string{"same": live, "changed": frozen, "other": frozen}},
		"None": {"So it is without a revision.", nil, true, false, true,
			map[string]string{"same": frozen, "changed": frozen, "other": frozen}},
	} {
		t.Run(name, func(t *testing.T) {
			a := b.applier(nil)
			plan := b.newPlan(maps("none"))
			if !tc.entries {
				plan.Previous = nil
			}
			var wants []apply.Want
			var err error
			if tc.hearsay {
				wants, err = a.HoldLive(t.Context(), plan, tc.held, tc.applied)
			} else {
				wants, err = a.Hold(t.Context(), plan, tc.held)
			}
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, w := range wants {
				value, _ := w.Manifest.Object["data"].(map[string]any)
				switch {
				case w.Frozen != "" && w.Desired == nil:
					got[w.Name] = frozen
				case w.Live && value["k"] == "git":
					got[w.Name] = live
				case !w.Live && w.Desired != nil:
					got[w.Name] = git
				default:
					got[w.Name] = fmt.Sprintf("%+v", w)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
	if n := writes(b.count.take()); n > 0 {
		t.Errorf("%d writes", n)
	}
}
