package commit_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/verify/commit"
)

func TestAttack_G7_ForcePushOldCommit(t *testing.T) {
	f := newFixture(t)
	alice := people().alice
	old := f.signed(alice, "a")
	last := f.signed(alice, "b")
	p := f.denied(commit.NonFastForward, old, last)
	if !strings.Contains(p.Message, last.String()[:12]) {
		t.Errorf("message %q does not name what is in force", p.Message)
	}
	t.Run("Diverging", func(t *testing.T) {
		f.denied(commit.NonFastForward, f.signed(alice, "c", on(old)), last)
	})
	t.Run("BaseOfAnotherRepository", func(t *testing.T) {
		f.denied(commit.NonFastForward, last, plumbing.NewHash(strings.Repeat("ab", 20)))
	})
	t.Run("OnlyShownInStatus", func(t *testing.T) {
		tree, report := f.verifier().Verify(t.Context(), commit.Request{Objects: f.Objects(), Head: old, Ancestors: []plumbing.Hash{last}})
		requireProblem(t, commit.NonFastForward, tree, report)
	})
	t.Run("BelowTheRoot", func(t *testing.T) {
		f.cfg.Root = last.String()
		f.denied(commit.IncompleteHistory, old, last)
	})
}

func TestAttack_G7_SignedRollback(t *testing.T) {
	alice, bob := people().alice, people().bob
	f := newFixture(t)
	old := f.signed(alice, "a")
	last := f.signed(alice, "b")
	f.cfg.Rules = []commit.Rule{
		{Paths: []string{"**"}, Signers: []string{"alice", "bob"}},
		{Paths: []string{"rbac/**"}, Signers: []string{"alice"}},
	}
	line := "Roll back.\n\nRollback-From: " + last.String() + "\n"
	tag := gitrepo.Tag{Name: "gitgate-rollback/1", Target: old, Message: line, Tagger: alice.Person(), Sign: alice}
	with := func(change func(*gitrepo.Tag)) gitrepo.Tag {
		c := tag
		change(&c)
		return c
	}
	for name, tc := range map[string]struct {
		reason string
		tag    gitrepo.Tag
		head   plumbing.Hash
		mode   commit.Rollback
		want   bool
	}{
		"Signed":        {"the rightful way back", tag, old, commit.RollbackSigned, true},
		"NotEnabled":    {"rollback is denied by default", tag, old, "", false},
		"Unsigned":      {"anybody can push a tag", with(func(t *gitrepo.Tag) { t.Sign = nil }), old, commit.RollbackSigned, false},
		"OtherBase":     {"an old tag must not be replayed", with(func(t *gitrepo.Tag) { t.Message = strings.ReplaceAll(line, last.String(), old.String()) }), old, commit.RollbackSigned, false},
		"OtherTarget":   {"it names another commit", with(func(t *gitrepo.Tag) { t.Target = f.root }), old, commit.RollbackSigned, false},
		"OtherName":     {"a release tag is no rollback", with(func(t *gitrepo.Tag) { t.Name = "v1" }), old, commit.RollbackSigned, false},
		"NotEverywhere": {"bob may not change rbac", with(func(t *gitrepo.Tag) { t.Sign, t.Tagger = bob, bob.Person() }), old, commit.RollbackSigned, false},
		"Stranger":      {"mallory is no signer", with(func(t *gitrepo.Tag) { t.Sign = people().mallory }), old, commit.RollbackSigned, false},
		"OtherTagger":   {"tagger and signer differ", with(func(t *gitrepo.Tag) { t.Tagger = bob.Person() }), old, commit.RollbackSigned, false},
		"Old":           {"a tag counts for a day", with(func(t *gitrepo.Tag) { t.Sign = alice.At(now().Add(-25 * time.Hour)) }), old, commit.RollbackSigned, false},
		"SignatureTwice": {"two signatures are ambiguous", with(func(t *gitrepo.Tag) {
			t.Raw = func(b []byte) []byte { i := bytes.Index(b, []byte("-----BEGIN")); return append(b, b[i:]...) }
		}), old, commit.RollbackSigned, false},
		"SignatureInMessage": {"the first of two signatures would be text", with(func(t *gitrepo.Tag) {
			t.Message = line + "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"
		}), old, commit.RollbackSigned, false},
		"Changed": {"the signature covers the message", with(func(t *gitrepo.Tag) {
			t.Raw = func(b []byte) []byte { return bytes.Replace(b, []byte("Roll back"), []byte("Roll Back"), 1) }
		}), old, commit.RollbackSigned, false},
	} {
		t.Run(name, func(t *testing.T) {
			f.cfg.Rollback = tc.mode
			raw := f.Tag(tc.tag)
			tree, report := f.verifier().Verify(t.Context(), commit.Request{
				Objects: f.Objects(), Head: tc.head, Base: []plumbing.Hash{last}, Tags: [][]byte{[]byte("junk"), raw}})
			if !tc.want {
				requireProblem(t, commit.NonFastForward, tree, report)
				return
			}
			if tree == nil || report.Rollback != tc.tag.Name {
				t.Errorf("%s\nrefused: %v (rollback %q)", tc.reason, report.Problems, report.Rollback)
			}
		})
	}
	t.Run("ToADivergingCommit", func(t *testing.T) {
		f.cfg.Rollback = commit.RollbackSigned
		other := f.signed(alice, "c", on(old))
		raw := f.Tag(with(func(t *gitrepo.Tag) { t.Target = other }))
		tree, report := f.verifier().Verify(t.Context(), commit.Request{Objects: f.Objects(), Head: other, Base: []plumbing.Hash{last}, Tags: [][]byte{raw}})
		requireProblem(t, commit.NonFastForward, tree, report)
	})
}

func TestAttack_G8_OtherRepository(t *testing.T) {
	f, other := newFixture(t), newFixture(t)
	other.root = other.Commit(gitrepo.Change{Orphan: true, Files: map[string]string{"other": "root"}})
	head := other.signed(people().alice, "a")
	for _, h := range []plumbing.Hash{head, other.root} {
		raw := other.Raw(h)
		f.Object(plumbing.CommitObject, raw) // as if it were pushed here
	}
	f.denied(commit.IncompleteHistory, head)
	t.Run("MergedIn", func(t *testing.T) {
		merge := f.signed(people().alice, "b", on(f.root, head))
		p := f.denied(commit.IncompleteHistory, merge)
		if p.Commit != other.root.String() {
			t.Errorf("blames %s, want the foreign root %s", p.Commit, other.root)
		}
	})
	t.Run("NoRootPinned", func(t *testing.T) {
		f.cfg.Root = ""
		if p := f.denied(commit.IncompleteHistory, f.signed(people().alice, "c")); !strings.Contains(p.Message, "no root is pinned") {
			t.Errorf("message %q does not say what is missing", p.Message)
		}
	})
}

func TestAttack_G15_HiddenAncestors(t *testing.T) {
	alice := people().alice
	build := func(t *testing.T) (f *fixture, bad, covered, head plumbing.Hash) {
		f = newFixture(t)
		bad = f.Commit(gitrepo.Change{Files: map[string]string{"evil": "x"}})
		covered = f.signed(alice, "b")
		return f, bad, covered, f.signed(alice, "c")
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Run("Replace", func(t *testing.T) {
		f, bad, covered, head := build(t)
		clean := f.signed(alice, "b", on(f.root))
		must(t, f.Replace(covered, clean))
		gitSeesNot(t, f, bad, head)
		f.denied(commit.UnsignedCommit, head)
	})
	t.Run("ReplaceHead", func(t *testing.T) {
		f := newFixture(t)
		good := f.signed(alice, "a")
		unsigned := f.Commit(gitrepo.Change{Files: map[string]string{"evil": "x"}})
		must(t, f.Replace(unsigned, good))
		f.denied(commit.UnsignedCommit, unsigned)
	})
	t.Run("Graft", func(t *testing.T) {
		f, bad, covered, head := build(t)
		must(t, f.Graft(covered, f.root))
		gitSeesNot(t, f, bad, head)
		f.denied(commit.UnsignedCommit, head)
	})
	t.Run("Shallow", func(t *testing.T) {
		f, bad, covered, head := build(t)
		must(t, f.Shallow(covered))
		gitSeesNot(t, f, bad, head)
		f.denied(commit.UnsignedCommit, head)
	})
	t.Run("ShallowAndMissing", func(t *testing.T) {
		f, bad, covered, head := build(t)
		must(t, f.Shallow(covered))
		must(t, f.Remove(bad))
		p := f.denied(commit.IncompleteHistory, head)
		if p.Commit == "" || p.Undetermined {
			t.Errorf("problem %+v does not name the gap", p)
		}
	})
	t.Run("MissingHead", func(t *testing.T) {
		f, _, _, _ := build(t)
		f.denied(commit.IncompleteHistory, plumbing.NewHash(strings.Repeat("cd", 20)))
	})
}

// gitSeesNot makes sure that the attack works on git itself: else the test would
// prove nothing.
func gitSeesNot(t *testing.T, f *fixture, bad, head plumbing.Hash) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Log("git is not installed: the attack is not tried on it")
		return
	}
	out, err := f.Git("rev-list", head.String())
	if err != nil {
		t.Fatalf("git rev-list: %v\n%s", err, out)
	}
	if strings.Contains(out, bad.String()) {
		t.Fatal("git sees the commit that the attack is to hide")
	}
}
