package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/test/testkit/gitserver"
	"gitgate.dev/gitgate/verify/image"
)

// A listener is a sink that notes which images of earlier releases it was told of.
type listener struct {
	Sink
	told [][]string
}

func (l *listener) Retire(_ types.NamespacedName, images []image.Evidence) {
	digests := []string{}
	for _, e := range images {
		digests = append(digests, e.Digest()[len("sha256:"):][:1])
	}
	l.told = append(l.told, digests)
}

func (l *listener) last() string {
	if len(l.told) == 0 {
		return "nothing"
	}
	return strings.Join(l.told[len(l.told)-1], " ")
}

var shop = types.NamespacedName{Namespace: "team", Name: "shop"}

// newFollow returns a follower of a GitSync whose clone is there and empty.
func newFollow(t *testing.T) (*follow, *listener) {
	t.Helper()
	server := gitserver.New(t, gitserver.Options{})
	server.MustCreateRepo(t, "a.git")
	cache, err := source.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	repo, err := cache.Repository(source.Options{URL: server.URL("a.git"), Branch: "main", AllowInsecureLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(repo.Close)
	sink := &listener{}
	m := NewMirror(MirrorConfig{Sink: sink})
	s := m.session(shop)
	s.repo, s.owner = repo, apply.Owner{Namespace: shop.Namespace, Name: shop.Name}
	s.gate = &gate.Gate{}
	sync := &v1alpha1.GitSync{}
	sync.Namespace, sync.Name = shop.Namespace, shop.Name
	return &follow{Mirror: m, session: s, attempt: &attempt{Reconciler: m.steps, sync: sync, session: &s.session}}, sink
}

func head(i int) plumbing.Hash { return plumbing.NewHash(fmt.Sprintf("%040x", i)) }

// evidence is for a digest of one hexadecimal digit, by a policy that asks for nothing.
func evidence(t *testing.T, digits string) []image.Evidence {
	t.Helper()
	v, err := image.NewVerifier(image.Config{Default: image.Allow})
	if err != nil {
		t.Fatal(err)
	}
	var out []image.Evidence
	for _, d := range strings.Split(digits, "") {
		e, err := v.Verify(t.Context(), "example.com/web@sha256:"+strings.Repeat(d, 64))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// release makes a revision that the gate in force let pass.
func (f *follow) releaseOf(t *testing.T, i int, digits string) *Verified {
	return &Verified{Revision: "main@sha1:" + head(i).String(), head: head(i), Images: evidence(t, digits), gate: f.session.gate}
}

// looks returns the heads that are looked at, in order, each with nothing proven.
func (f *follow) looks() (heads []int) {
	for {
		e, _, r := f.nextReview(shop)
		if e == nil {
			return heads
		}
		i := 0
		for head(i) != r.Head {
			i++
		}
		heads = append(heads, i)
	}
}

func (f *follow) remembered(want ...int) string {
	var heads []plumbing.Hash
	for _, i := range want {
		heads = append(heads, head(i))
	}
	return cmp.Diff(heads, f.session.repo.Earlier(f.session.owner.String()))
}

// TestEarlierAfterRestart looks at what the last process remembered.
func TestEarlierAfterRestart(t *testing.T) {
	f, sink := newFollow(t)
	if err := f.session.repo.SetEarlier(f.session.owner.String(), []plumbing.Hash{head(1), head(2)}); err != nil {
		t.Fatal(err)
	}
	f.reviewEarlier(t.Context())
	if f.session.earlier != nil {
		t.Fatal("before the current state is known nothing is looked at")
	}
	f.session.current = f.releaseOf(t, 3, "c")
	f.reviewEarlier(t.Context())
	if n := f.reviews.Len(); n != 1 {
		t.Fatalf("%d reviews wait", n)
	}
	e, g, r := f.nextReview(shop)
	if g != f.session.gate || r.Head != head(2) || r.Within != head(3) || r.Objects == nil {
		t.Fatalf("the newest is not looked at first: %+v", r)
	}
	f.reviewed(shop, e, r.Head, evidence(t, "b"), nil)
	if got := sink.last(); got != "b" {
		t.Errorf("told of %s", got)
	}
	e, _, r = f.nextReview(shop)
	f.reviewed(shop, e, r.Head, evidence(t, "a"), []verdict.Finding{{Severity: verdict.Undetermined}})
	if got := sink.last(); got != "a b" {
		t.Errorf("told of %s", got)
	}
	if got := f.looks(); got != nil {
		t.Errorf("looked at %v at once again", got)
	}
	f.reviewEarlier(t.Context())
	if got := f.looks(); !slices.Equal(got, []int{1}) {
		t.Errorf("looked at %v later, want what was not known", got)
	}
	f.reviewEarlier(t.Context())
	if got := f.looks(); got != nil {
		t.Errorf("looked at %v again", got)
	}
}

// TestEarlierByStatus: where our own record is lost the status says where to look, and
// not more.
func TestEarlierByStatus(t *testing.T) {
	f, sink := newFollow(t)
	for _, revision := range []string{"main@sha1:" + head(4).String(), "main@sha1:" + head(3).String(), "evil", "main@sha1:" + head(2).String()} {
		f.sync.Status.History = append(f.sync.Status.History, v1alpha1.Snapshot{Revision: revision})
	}
	f.session.current = f.releaseOf(t, 4, "d")
	f.reviewEarlier(t.Context())
	if got := f.looks(); !slices.Equal(got, []int{3, 2}) {
		t.Errorf("looked at %v", got)
	}
	if len(sink.told) > 0 {
		t.Errorf("the status was believed: %v", sink.told)
	}
}

// TestEarlierReleases follows a GitSync from revision to revision.
func TestEarlierReleases(t *testing.T) {
	f, sink := newFollow(t)
	for i, digits := range []string{"a", "b", "bc"} {
		if i > 0 {
			f.retire(t.Context(), f.session.current)
		}
		f.session.current = f.releaseOf(t, i+1, digits)
		f.reviewEarlier(t.Context())
	}
	if got := sink.last(); got != "a b" {
		t.Errorf("told of %s", got)
	}
	if d := f.remembered(1, 2); d != "" {
		t.Errorf("remembered (-want +got):\n%s", d)
	}
	if got := f.looks(); got != nil {
		t.Errorf("looked at %v, which the gate let pass itself", got)
	}
	stale := f.session.earlier

	f.session.gate = &gate.Gate{} // trust has changed
	f.renewEarlier()
	if got := sink.last(); got != "" {
		t.Errorf("told of %s, which nobody vouches for any more", got)
	}
	f.reviewed(shop, stale, head(2), evidence(t, "b"), nil)
	if got := sink.last(); got != "" {
		t.Errorf("told of %s, by the trust of before", got)
	}
	f.retire(t.Context(), f.session.current) // which only the former gate let pass
	if got := sink.last(); got != "" {
		t.Errorf("told of %s, by the trust of before", got)
	}
	f.session.current = f.releaseOf(t, 4, "d")
	f.reviewEarlier(t.Context())
	if got := f.looks(); !slices.Equal(got, []int{3, 2, 1}) {
		t.Errorf("looked at %v", got)
	}
	f.reviewed(shop, f.session.earlier, head(3), evidence(t, "c"), nil)
	f.reviewed(shop, f.session.earlier, head(9), evidence(t, "f"), nil)
	if got := sink.last(); got != "c" {
		t.Errorf("told of %s", got)
	}

	f.retire(t.Context(), f.session.current)
	f.session.current = f.releaseOf(t, 2, "b") // back to an older one, and on
	f.retire(t.Context(), f.session.current)
	if d := f.remembered(1, 3, 4, 2); d != "" {
		t.Errorf("remembered (-want +got):\n%s", d)
	}
	if got := sink.last(); got != "c d b" {
		t.Errorf("told of %s", got)
	}
	for i := range 20 {
		f.retire(t.Context(), f.releaseOf(t, 10+i, "e"))
	}
	if n := len(f.session.earlier.proven); n != source.MaxEarlier || len(f.session.earlier.heads) != n || len(sink.told[len(sink.told)-1]) != n {
		t.Errorf("%d releases are kept", n)
	}
	f.Mirror.sessions = nil
	before := len(sink.told)
	f.reviewed(shop, f.session.earlier, head(29), evidence(t, "a"), nil)
	if len(sink.told) != before {
		t.Error("told of a GitSync that was dropped")
	}
}

func TestSameImages(t *testing.T) {
	for name, tc := range map[string]struct {
		a, b string
		want bool
	}{"Equal": {"ab", "ba", true}, "Twice": {"aab", "ab", true}, "More": {"ab", "a", false}, "Other": {"a", "b", false}} {
		t.Run(name, func(t *testing.T) {
			if got := sameImages(evidence(t, tc.a), evidence(t, tc.b)); got != tc.want {
				t.Errorf("sameImages = %t", got)
			}
		})
	}
	if !sameImages(nil, nil) || sameImages(evidence(t, "a"), nil) {
		t.Error("none is another thing than some")
	}
}
