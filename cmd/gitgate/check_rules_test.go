package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

const (
	noRed  = "package acme\n\ndeny contains \"red is loud\" if input.object.data.color == \"red\"\n"
	noBlue = "package acme\n\ndeny contains \"blue is dull\" if input.object.data.color == \"blue\"\n"
)

func color(c string) string { return strings.Replace(settings, "blue", c, 1) }

// branchRules is a repository whose own rules judge it.
func branchRules(t *testing.T) *checkRepo {
	r := newCheckRepo(t)
	raw, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	text = text[:strings.Index(text, "    inline:")] + "    git: {url: \"https://git.example.com/acme/shop.git\", ref: {branch: main}, path: rules, trust: {name: production}}\n"
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.main = r.signed(gitrepo.Change{Files: map[string]string{"rules/acme.rego": noRed}})
	return r
}

// TestCheckBranchRules: rules on the branch that is judged count as of base, unless
// nothing but rules changed; and what the cluster would not take is told.
func TestCheckBranchRules(t *testing.T) {
	r := branchRules(t)
	for name, tc := range map[string]struct {
		reason string
		head   gitrepo.Change
		args   []string
		code   int
		says   string
	}{
		"Base":    {"What base forbids is denied.", gitrepo.Change{Files: map[string]string{"app/settings.yaml": color("red")}}, nil, 1, "red is loud"},
		"Passes":  {"What it does not passes.", gitrepo.Change{Files: map[string]string{"app/settings.yaml": color("green")}}, nil, 0, ""},
		"Both":    {"A rule does not go with what it refuses.", gitrepo.Change{Files: map[string]string{"app/settings.yaml": color("red"), "rules/acme.rego": noBlue}}, nil, 1, "red is loud"},
		"Only":    {"Rules alone count at once.", gitrepo.Change{Files: map[string]string{"rules/acme.rego": noBlue}}, []string{"--all"}, 1, "blue is dull"},
		"Broken":  {"What does not load is told; base judges.", gitrepo.Change{Files: map[string]string{"rules/acme.rego": "package acme\n\ndeny contains if {"}}, nil, 0, "would be refused, and the former stay in force: PolicyError"},
		"Link":    {"So is what leads elsewhere.", gitrepo.Change{Symlinks: map[string]string{"rules/lib": "/etc"}}, nil, 0, "would be refused, and the former stay in force: PathEscape"},
		"Offline": {"The repository is here, so it is known offline.", gitrepo.Change{Files: map[string]string{"app/settings.yaml": color("red")}}, []string{"--offline"}, 1, "red is loud"},
	} {
		t.Run(name, func(t *testing.T) {
			head := r.feature(tc.head)
			code, stdout, stderr := r.check(append([]string{"--base", r.main.String(), "--head", head.String()}, tc.args...)...)
			if code != tc.code || !strings.Contains(stdout, tc.says) || stderr != "" {
				t.Errorf("%s\nexit code %d, want %d and %q\n%s%s", tc.reason, code, tc.code, tc.says, stdout, stderr)
			}
		})
	}
	t.Run("Unsigned", func(t *testing.T) {
		head := r.commit(gitrepo.Change{Parents: []plumbing.Hash{r.main}, Detached: true, Files: map[string]string{"rules/acme.rego": noBlue, "app/settings.yaml": color("red")}})
		code, stdout, _ := r.check("--base", r.main.String(), "--head", head.String())
		if code != 1 || !strings.Contains(stdout, "red is loud") || !strings.Contains(stdout, "UnsignedCommit") || strings.Contains(stdout, "blue is dull") {
			t.Errorf("exit code %d\n%s", code, stdout)
		}
	})
}

// TestPolicyBundleFlag: copies stand in for sources, and only for sources.
func TestPolicyBundleFlag(t *testing.T) {
	r := branchRules(t)
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("good/a.rego", noBlue)
	write("bad/a.rego", "package acme\n\ndeny contains if {")
	write("linked/a.rego", noBlue)
	if err := os.Symlink("/etc", filepath.Join(dir, "linked", "lib")); err != nil {
		t.Fatal(err)
	}
	garbage := write("garbage.tar.gz", "garbage")
	head := r.feature(gitrepo.Change{Files: map[string]string{"app/settings.yaml": color("blue"), "app/more.yaml": strings.ReplaceAll(color("red"), "settings", "more")}})
	for name, tc := range map[string]struct {
		reason, arg string
		code        int
		says        string
	}{
		"Good":    {"Other rules judge, and the report says whose they are.", "acme=" + dir + "/good", 0, "nobody was asked who stands behind them"},
		"Bad":     {"They have to load.", "acme=" + dir + "/bad", 2, "git/a.rego:3"},
		"Linked":  {"Links are refused as in a repository.", "acme=" + dir + "/linked", 2, "symbolic link"},
		"Garbage": {"A bundle has to be one.", "acme=" + garbage, 2, "PolicyError"},
		"Unknown": {"A name that no GitSync uses is a mistake.", "amce=" + dir + "/good", 2, "no GitSync that is judged uses a PolicySet amce"},
		"NoName":  {"So is none.", dir, 2, "want NAME=DIR"},
		"Nowhere": {"And what is not there.", "acme=" + dir + "/nowhere", 2, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := r.check("--base", r.main.String(), "--head", head.String(), "--policy-bundle", tc.arg)
			if code != tc.code || !strings.Contains(stdout+stderr, tc.says) {
				t.Errorf("%s\nexit code %d, want %d and %q\n%s%s", tc.reason, code, tc.code, tc.says, stdout, stderr)
			}
		})
	}
}

// TestCheckUnreachableRules: rules that cannot be had leave the verdict undetermined,
// and never a shorter gate.
func TestCheckUnreachableRules(t *testing.T) {
	r := branchRules(t)
	raw, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason, source string
		args           []string
		says           string
	}{
		"GitOffline": {"Nobody is asked.", `git: {url: "https://127.0.0.1:1/rules.git", ref: {branch: main}, trust: {name: production}}`, []string{"--offline"}, "SourceUnavailable"},
		"OCIOffline": {"Nobody is asked.", `oci: {url: "oci://127.0.0.1:1/rules:v1", verify: {authorities: [{name: a, key: {data: "x"}}]}}`, []string{"--offline"}, "SourceUnavailable"},
		"Untrusted":  {"Nobody speaks for it.", `git: {url: "https://127.0.0.1:1/rules.git", ref: {branch: main}, trust: {name: production}}`, nil, "RepositoryNotTrusted"},
		"NoTrust":    {"Nobody is there to.", `git: {url: "https://127.0.0.1:1/rules.git", ref: {branch: main}, trust: {name: other}}`, nil, "RepositoryNotTrusted"},
		"BadKey":     {"A key that is none proves nothing.", `oci: {url: "oci://127.0.0.1:1/rules:v1", verify: {authorities: [{name: a, key: {data: "x"}}]}}`, nil, "ImageUntrusted"},
	} {
		t.Run(name, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "c.yaml")
			at := strings.Index(string(raw), "    git: {url")
			if err := os.WriteFile(config, []byte(string(raw)[:at]+"    "+tc.source+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			head := r.feature(gitrepo.Change{Files: map[string]string{"app/settings.yaml": color("green")}})
			code, stdout, stderr := runCheck(append([]string{"--repo", r.Dir, "-c", config, "--base", r.main.String(), "--head", head.String()}, tc.args...)...)
			if code != 3 || !strings.Contains(stdout, tc.says) || !strings.Contains(stdout, "no version of its rules is in force") {
				t.Errorf("%s\nexit code %d\n%s%s", tc.reason, code, stdout, stderr)
			}
		})
	}
}

// What was in force and is not trusted any more is not kept in force by a memory of
// what compiled, neither for GitSyncs nor at admission.
func TestWithheldRules(t *testing.T) {
	g := newGates()
	good := policyInput("house", "1", denying("was good"))
	if _, err := g.engine(t.Context(), []reconcile.PolicyInput{good}); err != nil {
		t.Fatal(err)
	}
	withheld := good
	withheld.Withheld = &reconcile.WithheldError{Set: "house", Reason: verdict.UntrustedSigner, Message: "gone \"\x00"}
	if e, err := g.engine(t.Context(), []reconcile.PolicyInput{withheld}); err == nil || e != nil || !strings.Contains(err.Error(), "no version of its rules is in force") {
		t.Errorf("engine: %v, %v", e, err)
	}
	e, err := g.engine(t.Context(), g.repaired(t.Context(), []reconcile.PolicyInput{withheld}))
	if err != nil {
		t.Fatal(err)
	}
	if got := messages(t, e); !strings.Contains(got, "no version of its rules is in force") || strings.Contains(got, "was good") {
		t.Errorf("at admission the rules say %q", got)
	}
	remote := good
	remote.Set = good.Set.DeepCopy()
	remote.Set.Spec.Source.Git = &v1alpha1.GitPolicySource{URL: "https://git.example.com/r.git"}
	if _, err := newGates().engine(t.Context(), []reconcile.PolicyInput{remote}); err == nil || !strings.Contains(err.Error(), "are not known") {
		t.Errorf("a set without the rules that it should have: %v", err)
	}
}
