package commit_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/verify/commit"
)

// withRules lets bob change all but rbac and the one file secret.
func withRules(t *testing.T) *fixture {
	f := newFixture(t)
	f.cfg.Rules = []commit.Rule{
		{Paths: []string{"**"}, Signers: []string{"alice", "bob"}},
		{Paths: []string{"rbac/**", "*/secret.yaml"}, Signers: []string{"alice"}},
		{Paths: []string{"rbac/README"}, Signers: []string{"bob"}},
		{Paths: []string{"frozen"}},
	}
	return f
}

func TestRulesByPath(t *testing.T) {
	alice, bob := people().alice, people().bob
	for name, tc := range map[string]struct {
		reason string
		by     *gitrepo.OpenPGPKey
		change gitrepo.Change
		file   string // at fault; empty when allowed
	}{
		"Everything":        {"the first rule", bob, gitrepo.Change{Files: map[string]string{"app/x.yaml": "1"}}, ""},
		"NotRBAC":           {"a later rule decides", bob, gitrepo.Change{Files: map[string]string{"rbac/x.yaml": "1"}}, "rbac/x.yaml"},
		"RBACByItsOwner":    {"its signer", alice, gitrepo.Change{Files: map[string]string{"rbac/x.yaml": "1"}}, ""},
		"LastMatchGives":    {"a still later rule gives it back", bob, gitrepo.Change{Files: map[string]string{"rbac/README": "1"}}, ""},
		"LastMatchTakes":    {"and takes it from alice", alice, gitrepo.Change{Files: map[string]string{"rbac/README": "1"}}, "rbac/README"},
		"DeeperThanStar":    {"one star stays in its directory", bob, gitrepo.Change{Files: map[string]string{"a/b/secret.yaml": "1"}}, ""},
		"Star":              {"one directory deep", bob, gitrepo.Change{Files: map[string]string{"a/secret.yaml": "1"}}, "a/secret.yaml"},
		"Nobody":            {"a rule without signers closes", alice, gitrepo.Change{Files: map[string]string{"frozen": "1"}}, "frozen"},
		"Deletion":          {"to delete is to change", bob, gitrepo.Change{Delete: []string{"rbac/role.yaml"}}, "rbac/role.yaml"},
		"DeletedDirectory":  {"with all in it", bob, gitrepo.Change{Delete: []string{"rbac"}}, "rbac/role.yaml"},
		"Mode":              {"a mode is content", bob, gitrepo.Change{Files: map[string]string{"rbac/role.yaml": "role"}, Executable: []string{"rbac/role.yaml"}}, "rbac/role.yaml"},
		"Symlink":           {"so is a link", bob, gitrepo.Change{Symlinks: map[string]string{"rbac/link": "../app"}}, "rbac/link"},
		"Submodule":         {"and a submodule", bob, gitrepo.Change{Submodules: map[string]plumbing.Hash{"rbac/sub": plumbing.NewHash(strings.Repeat("12", 20))}}, "rbac/sub"},
		"DirectoryByFile":   {"a file over a directory deletes what was there", bob, gitrepo.Change{Files: map[string]string{"rbac": "file"}}, "rbac/role.yaml"},
		"LinkOverDirectory": {"a link over a directory too", bob, gitrepo.Change{Symlinks: map[string]string{"rbac": "app"}}, "rbac/role.yaml"},
		"OneOfMany":         {"one foreign path is enough", bob, gitrepo.Change{Files: map[string]string{"app/a": "1", "app/b": "1", "rbac/c": "1", "z": "1"}}, "rbac/c"},
		"Empty":             {"no path, no owner", bob, gitrepo.Change{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := withRules(t)
			base := f.signed(alice, "app/base", func(c *gitrepo.Change) { c.Files["rbac/role.yaml"] = "role" })
			tc.change.Author, tc.change.Sign = tc.by.Person(), tc.by
			head := f.Commit(tc.change)
			if tc.file == "" {
				f.admitted(head, base)
				return
			}
			_, report := f.verify(head, base)
			if !slices.ContainsFunc(report.Problems, func(p commit.Problem) bool {
				return p.Reason == commit.SignerNotAllowed && p.File == tc.file && p.Commit == head.String()
			}) {
				t.Errorf("%s\nproblems %v, want SignerNotAllowed for %s", tc.reason, report.Problems, tc.file)
			}
		})
	}
}

// What a merge changes is what differs from any parent: neither bringing in
// another owner's change nor taking the older side of one is open to all.
func TestRulesOfMerges(t *testing.T) {
	alice, bob := people().alice, people().bob
	f := withRules(t)
	fork := f.signed(alice, "rbac/role.yaml")
	mainTip := f.signed(alice, "rbac/new.yaml", on(fork))
	bobs := f.signed(bob, "app/b", on(fork))
	merge := func(by *gitrepo.OpenPGPKey, parents ...plumbing.Hash) plumbing.Hash {
		return f.signed(by, "app/b", on(parents...)) // the first parent's tree with app/b
	}
	t.Run("ByOneAllowedOnAll", func(t *testing.T) { f.admitted(merge(alice, mainTip, bobs), mainTip) })
	t.Run("BringsInRBAC", func(t *testing.T) { f.denied(commit.SignerNotAllowed, merge(bob, mainTip, bobs), mainTip) })
	t.Run("UndoesRBAC", func(t *testing.T) { f.denied(commit.SignerNotAllowed, merge(bob, bobs, mainTip), mainTip) })
	t.Run("OfOwnBranches", func(t *testing.T) {
		f.admitted(merge(bob, f.signed(bob, "app/c", on(bobs)), f.signed(bob, "app/d", on(bobs))), fork)
	})
}

func TestRuleThatNothingMatches(t *testing.T) {
	f := newFixture(t)
	f.cfg.Rules = []commit.Rule{{Paths: []string{"app/**"}, Signers: []string{"alice"}}}
	if p := f.denied(commit.SignerNotAllowed, f.signed(people().alice, "other")); !strings.Contains(p.Message, "nobody") {
		t.Errorf("message %q does not say that the path is closed to all", p.Message)
	}
}

func TestManyForeignPathsAreSummed(t *testing.T) {
	f := withRules(t)
	head := f.signed(people().bob, "a", func(c *gitrepo.Change) {
		for i := range 50 {
			c.Files["rbac/"+strings.Repeat("x", i+1)] = "1"
		}
	})
	_, report := f.verify(head)
	if n := len(report.Problems); n != 20 || !strings.Contains(report.Problems[19].Message, "30 more") {
		t.Errorf("%d problems, the last: %v", n, report.Problems[n-1])
	}
}

func TestLimits(t *testing.T) {
	alice := people().alice
	for name, limits := range map[string]commit.Limits{
		"Commits":     {Commits: 2},
		"CommitBytes": {CommitBytes: 100},
		"TreeBytes":   {TreeBytes: 10},
		"Paths":       {Paths: 1},
		"Depth":       {Depth: 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := withRules(t)
			f.signed(alice, "a/b/c")
			f.signed(alice, "d/e/f", func(c *gitrepo.Change) { c.Files["d/e/g"] = "" })
			head := f.signed(alice, "x")
			f.admitted(head)
			f.cfg.Limits = limits
			f.denied(commit.LimitExceeded, head)
		})
	}
}

func entry(mode, name string, hash plumbing.Hash) gitrepo.Entry {
	return gitrepo.Entry{Mode: mode, Name: name, Hash: hash}
}

func TestMalformedTrees(t *testing.T) {
	alice := people().alice
	blob := func(f *fixture) plumbing.Hash { return f.Object(plumbing.BlobObject, []byte("x")) }
	for name, build := range map[string]func(blob plumbing.Hash) []gitrepo.Entry{
		"DotGit":          func(b plumbing.Hash) []gitrepo.Entry { return []gitrepo.Entry{entry("100644", ".git", b)} },
		"DotGitUpperCase": func(b plumbing.Hash) []gitrepo.Entry { return []gitrepo.Entry{entry("100644", ".GIT", b)} },
		"DotGitHFS":       func(b plumbing.Hash) []gitrepo.Entry { return []gitrepo.Entry{entry("100644", ".g\u200cit", b)} },
		"DotGitNTFS": func(b plumbing.Hash) []gitrepo.Entry {
			return []gitrepo.Entry{entry("100644", ".git::$INDEX_ALLOCATION", b)}
		},
		"ShortName":  func(b plumbing.Hash) []gitrepo.Entry { return []gitrepo.Entry{entry("100644", "git~1", b)} },
		"DotDot":     func(b plumbing.Hash) []gitrepo.Entry { return []gitrepo.Entry{entry("100644", "..", b)} },
		"Dot":        func(b plumbing.Hash) []gitrepo.Entry { return []gitrepo.Entry{entry("100644", ".", b)} },
		"Empty":      func(b plumbing.Hash) []gitrepo.Entry { return []gitrepo.Entry{entry("100644", "", b)} },
		"Slash":      func(b plumbing.Hash) []gitrepo.Entry { return []gitrepo.Entry{entry("100644", "a/b", b)} },
		"Backslash":  func(b plumbing.Hash) []gitrepo.Entry { return []gitrepo.Entry{entry("100644", `a\b`, b)} },
		"Newline":    func(b plumbing.Hash) []gitrepo.Entry { return []gitrepo.Entry{entry("100644", "a\nb", b)} },
		"NotUTF8":    func(b plumbing.Hash) []gitrepo.Entry { return []gitrepo.Entry{entry("100644", "a\xff", b)} },
		"Mode":       func(b plumbing.Hash) []gitrepo.Entry { return []gitrepo.Entry{entry("100600", "a", b)} },
		"PaddedMode": func(b plumbing.Hash) []gitrepo.Entry { return []gitrepo.Entry{entry("0100644", "a", b)} },
		"Duplicate": func(b plumbing.Hash) []gitrepo.Entry {
			return []gitrepo.Entry{entry("100644", "a", b), entry("100644", "a", b)}
		},
		"DuplicateOfDirectory": func(b plumbing.Hash) []gitrepo.Entry {
			return []gitrepo.Entry{entry("100644", "a", b), entry("100644", "a.b", b), entry("40000", "a", plumbing.ComputeHash(plumbing.TreeObject, nil))}
		},
		"Unsorted": func(b plumbing.Hash) []gitrepo.Entry {
			return []gitrepo.Entry{entry("100644", "b", b), entry("100644", "a", b)}
		},
		"ZeroHash":   func(plumbing.Hash) []gitrepo.Entry { return []gitrepo.Entry{entry("100644", "a", plumbing.ZeroHash)} },
		"FileAsTree": func(b plumbing.Hash) []gitrepo.Entry { return []gitrepo.Entry{entry("40000", "a", b)} },
	} {
		t.Run(name, func(t *testing.T) {
			f := withRules(t) // rules make Verify read trees
			tree := f.Object(plumbing.TreeObject, gitrepo.EncodeTree(build(blob(f))...))
			f.denied(commit.MalformedObject, f.signed(alice, "", func(c *gitrepo.Change) { c.Files, c.Tree = nil, tree }))
		})
	}
}

// Every object is hashed again: no store can pass one for another.
func TestHashMismatch(t *testing.T) {
	alice := people().alice
	for name, forge := range map[string]func(f *fixture, good, evil plumbing.Hash) error{
		"Commit": func(f *fixture, good, evil plumbing.Hash) error {
			return f.Forge(good, plumbing.CommitObject, f.Raw(evil))
		},
		"Ancestor": func(f *fixture, good, evil plumbing.Hash) error {
			return f.Forge(plumbing.NewHash(string(f.Raw(good)[53:93])), plumbing.CommitObject, f.Raw(evil))
		},
		"Tree": func(f *fixture, good, evil plumbing.Hash) error {
			return f.Forge(plumbing.NewHash(string(f.Raw(good)[5:45])), plumbing.TreeObject, gitrepo.EncodeTree())
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := withRules(t)
			f.signed(alice, "first")
			good := f.signed(alice, "a")
			evil := f.signed(people().mallory, "b", on(f.root))
			f.admitted(good)
			if err := forge(f, good, evil); err != nil {
				t.Fatal(err)
			}
			f.denied(commit.HashMismatch, good)
		})
	}
}
