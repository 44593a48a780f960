package commit_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/verify/commit"
)

func hashes(report commit.Report) []string {
	var out []string
	for _, c := range report.Commits {
		out = append(out, c.Commit)
	}
	return out
}

// A branch that left before the root and was merged after it is judged from
// where it left.
func TestBranchFromBelowTheRoot(t *testing.T) {
	f := newFixture(t)
	alice := people().alice
	older := f.root
	pinned := f.Commit(gitrepo.Change{Files: map[string]string{"x": "unsigned"}})
	branch := f.signed(alice, "b", on(older))
	f.cfg.Root = pinned.String()
	head := f.signed(alice, "c", on(pinned, branch))
	_, report := f.admitted(head)
	if want := []string{head.String(), branch.String()}; !slices.Equal(hashes(report), want) {
		t.Errorf("judged %v, want %v", hashes(report), want)
	}
	f.admitted(head, older) // what is below the root was in force, too
	unsigned := f.Commit(gitrepo.Change{Parents: []plumbing.Hash{older}, Branch: "evil", Files: map[string]string{"y": "y"}})
	f.denied(commit.UnsignedCommit, f.signed(alice, "d", on(pinned, unsigned)))
}

func TestEndOfContextRefuses(t *testing.T) {
	f := newFixture(t)
	head := f.signed(people().alice, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tree, report := f.verifier().Verify(ctx, commit.Request{Objects: f.Objects(), Head: head})
	if p := requireProblem(t, commit.SourceUnavailable, tree, report); !p.Undetermined {
		t.Error("a question that was not answered is reported as answered")
	}
}

// counting counts the objects that are read.
type counting struct {
	storer.EncodedObjectStorer
	mu sync.Mutex
	n  int
}

func (c *counting) EncodedObject(t plumbing.ObjectType, h plumbing.Hash) (plumbing.EncodedObject, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.EncodedObjectStorer.EncodedObject(t, h)
}

// History that was judged costs next to nothing when it is judged again, but
// what hangs on time is asked anew.
func TestHistoryIsRemembered(t *testing.T) {
	at := now()
	f := newFixture(t)
	key := gitrepo.OpenPGP(t, gitrepo.OpenPGPOptions{Name: "alice", Email: "alice@example.com", Created: at.Add(-48 * time.Hour), Lifetime: 72 * time.Hour})
	f.cfg.Signers = []commit.SignerConfig{{Name: "alice", OpenPGP: key.Public()}}
	f.cfg.Rules = []commit.Rule{{Paths: []string{"**"}, Signers: []string{"alice"}}}
	f.cfg.Now = func() time.Time { return at }
	for range 20 {
		f.signed(key, "a", func(c *gitrepo.Change) { c.Files["a"] = now().String() })
	}
	head := f.signed(key, "b")
	v := f.verifier()
	read := func() int {
		t.Helper()
		store := &counting{EncodedObjectStorer: f.Objects()}
		if tree, report := v.Verify(t.Context(), commit.Request{Objects: store, Head: head}); tree == nil {
			t.Fatalf("refused: %v", report.Problems)
		}
		return store.n
	}
	if first, second := read(), read(); first < 40 || second > 2 {
		t.Errorf("read %d objects, then %d", first, second)
	}
	at = at.Add(48 * time.Hour)
	tree, report := v.Verify(t.Context(), commit.Request{Objects: f.Objects(), Head: head})
	requireProblem(t, commit.KeyExpired, tree, report)
}

func TestConcurrentUse(t *testing.T) {
	f := withRules(t)
	alice, bob := people().alice, people().bob
	for i := range 20 {
		f.signed(alice, "a"+string(rune('a'+i)))
	}
	good := f.signed(bob, "b")
	bad := f.signed(bob, "rbac/x", on(good))
	v := f.verifier()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			head, want := good, true
			if i%2 == 1 {
				head, want = bad, false
			}
			tree, _ := v.Verify(t.Context(), commit.Request{Objects: f.Objects(), Head: head, Base: []plumbing.Hash{f.root}})
			if (tree != nil) != want {
				t.Errorf("head %s: admitted is %t", head, tree != nil)
			}
		})
	}
	wg.Wait()
}

func TestCommitsKeepTheirOrder(t *testing.T) {
	f := newFixture(t)
	var list []plumbing.Hash
	for i := range 50 {
		by := people().alice
		if i%3 == 0 {
			by = people().mallory
		}
		list = append(list, f.signed(by, string(rune('a'+i%26))))
	}
	slices.Reverse(list)
	v := f.verifier()
	got, err := v.Range(t.Context(), f.Objects(), list[0], f.root)
	if err != nil || !slices.Equal(got, list) {
		t.Fatalf("Range = %v, %v", got, err)
	}
	i := 0
	for r := range v.Commits(t.Context(), f.Objects(), list) {
		want := commit.Good
		if (49-i)%3 == 0 {
			want = commit.Untrusted
		}
		if r.Commit != list[i].String() || r.Status != want {
			t.Errorf("result %d is %+v, want %s %s", i, r, list[i], want)
		}
		i++
	}
	if i != len(list) {
		t.Errorf("%d results, want %d", i, len(list))
	}
	for range v.Commits(t.Context(), f.Objects(), list) {
		break // a reader may stop early
	}
}

// The zero values of results and verdicts must not pass.
func TestZeroResultIsNotGood(t *testing.T) {
	if (commit.Result{}).Status == commit.Good {
		t.Error("the zero result is good")
	}
}
