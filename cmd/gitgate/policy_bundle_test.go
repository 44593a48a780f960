package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/registry"
)

const bundledRule = "package acme\n\ndeny contains {\"msg\": \"no team\", \"field\": \"metadata.labels.team\"} if not input.object.metadata.labels.team\n"

// A workshop is a directory with rules, a manifest and keys, and a registry.
type workshop struct {
	t   *testing.T
	dir string
	reg *registry.Registry
}

// workshopKey is one key for all workshops: to encrypt one is slow on purpose.
var workshopKey = sync.OnceValues(func() (public, private string) {
	key, err := registry.NewKey(registry.ECDSAP256)
	if err == nil {
		public = key.Public
		private, err = key.Private()
	}
	if err != nil {
		panic(err)
	}
	return public, private
})

func newWorkshop(t *testing.T, options registry.Options) *workshop {
	t.Helper()
	w := &workshop{t, t.TempDir(), registry.New(t, options)}
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // nobody's credentials
	t.Setenv(passwordVariable, "")
	t.Chdir(w.dir)
	public, private := workshopKey()
	w.write("cosign.key", private)
	w.write("cosign.pub", public)
	w.write("other.pub", registry.MustKey(t, registry.ECDSAP256).Public)
	w.write("rules/team.rego", bundledRule)
	w.write("rules/team_test.rego", "package acme_test\n")
	w.write("web.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n")
	return w
}

func (w *workshop) write(name, content string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// gitgate runs a command of `gitgate policy`; those that ask registries may do so over
// loopback.
func (w *workshop) gitgate(args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"policy"}, args...)
	switch args[1] {
	case "push", "sign", "pull":
		args = append(args, "--allow-loopback-http")
	}
	code = run(args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// ok wants a command to succeed, and returns what it printed.
func (w *workshop) ok(args ...string) string {
	w.t.Helper()
	code, stdout, stderr := w.gitgate(args...)
	if code != exitAllowed {
		w.t.Fatalf("%v: exit code %d\n%s%s", args, code, stdout, stderr)
	}
	return strings.TrimSpace(stdout)
}

// refuses wants a command to end with a code, say something, and write nothing to -o.
func (w *workshop) refuses(code int, says string, args ...string) {
	w.t.Helper()
	got, stdout, stderr := w.gitgate(args...)
	if got != code || !strings.Contains(stderr, says) || stdout != "" {
		w.t.Errorf("%v: exit code %d, want %d and %q\n%s%s", args, got, code, says, stdout, stderr)
	}
}

// files lists what is below a directory.
func (w *workshop) files(dir string) []string {
	w.t.Helper()
	var out []string
	if err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, name)
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// TestPolicyBundles goes from a directory by a registry to another directory, which
// gives the same verdict.
func TestPolicyBundles(t *testing.T) {
	for name, options := range map[string]registry.Options{"Referrers": {}, "NoReferrers": {NoReferrers: true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorkshop(t, options)
			if got, want := w.ok("build", "rules", "--revision", "r1"), "bundle.tar.gz: Gitgate in Rego v1, revision r1, 1 files"; got != want {
				t.Errorf("build says %q, want %q", got, want)
			}
			first, err := os.ReadFile("bundle.tar.gz")
			if err != nil {
				t.Fatal(err)
			}
			w.ok("build", "rules", "--revision", "r1", "-o", "again.tar.gz")
			if again, err := os.ReadFile("again.tar.gz"); err != nil || !bytes.Equal(first, again) {
				t.Errorf("built again it is something else (%v)", err)
			}
			ref := w.reg.Name("acme/policies:1")
			pinned := w.ok("push", "bundle.tar.gz", ref)
			if !strings.HasPrefix(pinned, ref+"@sha256:") || w.ok("push", "again.tar.gz", ref) != pinned {
				t.Errorf("push prints %q", pinned)
			}
			w.refuses(exitDenied, "has no signature", "pull", ref, "--key", "cosign.pub")
			if got := w.ok("sign", pinned, "--key", "cosign.key"); got != pinned {
				t.Errorf("sign prints %q", got)
			}
			for _, args := range [][]string{{ref}, {pinned, "-o", "by-digest"}, {ref, "-o", "whole.tar.gz"}} {
				if got := w.ok(append([]string{"pull", "--key", "cosign.pub"}, args...)...); !strings.Contains(got, "signed by cosign.pub") || !strings.Contains(got, pinned[len(ref):]) {
					t.Errorf("pull says %q", got)
				}
			}
			if whole, err := os.ReadFile("whole.tar.gz"); err != nil || !bytes.Equal(whole, first) {
				t.Errorf("the file is another one (%v)", err)
			}
			if diff := cmp.Diff([]string{".gitgate-bundle.json", ".manifest", "team.rego"}, w.files("policy")); diff != "" {
				t.Error(diff)
			}
			_, before, _ := w.gitgate("eval", "web.yaml", "--policy", "rules")
			code, after, _ := w.gitgate("eval", "web.yaml", "--policy", "policy")
			if after = strings.ReplaceAll(after, "policy/", "rules/"); code != exitDenied || before == "" || before != after {
				t.Errorf("the verdicts differ:\n%s\n%s", before, after)
			}
			_, packed, _ := w.gitgate("eval", "web.yaml", "--policy", "whole.tar.gz")
			if packed = strings.ReplaceAll(packed, "whole.tar.gz/", "rules/"); before != packed {
				t.Errorf("the bundle as it is gives another verdict:\n%s\n%s", before, packed)
			}
		})
	}
}

// TestPolicyPullFormats pulls what was written for other tools.
func TestPolicyPullFormats(t *testing.T) {
	w := newWorkshop(t, registry.Options{})
	w.write("conftest/main.rego", "package main\n\ndeny[msg] { not input.metadata.labels.team; msg := data.texts.team }\n")
	w.write("conftest/values.yaml", "texts: {team: no team}\n")
	w.write("gatekeeper/all.yaml", "apiVersion: templates.gatekeeper.sh/v1\nkind: ConstraintTemplate\nmetadata: {name: noteam}\nspec:\n  crd: {spec: {names: {kind: NoTeam}}}\n  targets:\n  - target: admission.k8s.gatekeeper.sh\n    rego: |\n      package noteam\n      violation[{\"msg\": \"no team\"}] { not input.review.object.metadata.labels.team }\n---\napiVersion: constraints.gatekeeper.sh/v1beta1\nkind: NoTeam\nmetadata: {name: all}\n")
	for dir, args := range map[string][]string{
		"conftest":   {"--format", "Conftest", "--rego-version", "v0"},
		"gatekeeper": {"--format", "Gatekeeper"},
	} {
		t.Run(dir, func(t *testing.T) {
			w.ok(append([]string{"build", dir, "-o", dir + ".tar.gz"}, args...)...)
			ref := w.ok("push", dir+".tar.gz", w.reg.Name("acme/"+dir+":1"), "--sign", "--key", "cosign.key")
			w.ok("pull", ref, "--key", "cosign.pub", "-o", "pulled-"+dir)
			w.refuses(exitDenied, "not Gitgate", "pull", ref, "--key", "cosign.pub", "-o", "no", "--format", "Gitgate")
			code, stdout, _ := w.gitgate(append([]string{"eval", "web.yaml", "--policy", "pulled-" + dir}, args...)...)
			if code != exitDenied || !strings.Contains(stdout, "no team") {
				t.Errorf("exit code %d\n%s", code, stdout)
			}
			// A bundle says of itself what it is.
			if code, stdout, stderr := w.gitgate("eval", "web.yaml", "--policy", dir+".tar.gz"); code != exitDenied || !strings.Contains(stdout, "no team") {
				t.Errorf("as a file: exit code %d\n%s%s", code, stdout, stderr)
			}
			w.refuses(exitUsage, "not Gitgate", "eval", "web.yaml", "--policy", dir+".tar.gz", "--format", "Gitgate")
		})
	}
}

// TestPolicyPullWrites never loses anything that was there.
func TestPolicyPullWrites(t *testing.T) {
	w := newWorkshop(t, registry.Options{})
	w.ok("build", "rules", "--revision", "r1")
	ref := w.reg.Name("acme/policies:1")
	one := w.ok("push", "bundle.tar.gz", ref, "--sign", "--key", "cosign.key")
	w.ok("build", "rules", "--revision", "r2")
	two := w.ok("push", "bundle.tar.gz", ref, "--sign", "--key", "cosign.key")
	pull := func(ref string, args ...string) []string {
		return append([]string{"pull", ref, "--key", "cosign.pub"}, args...)
	}
	revision := func(want string) {
		t.Helper()
		raw, err := os.ReadFile("policy/.manifest")
		if err != nil || !strings.Contains(string(raw), `"revision":"`+want+`"`) {
			t.Errorf("policy/ holds %s (%v), want %s", raw, err, want)
		}
	}
	w.write("empty/x", "")
	if err := os.Remove("empty/x"); err != nil {
		t.Fatal(err)
	}
	w.ok(pull(one, "-o", "empty")...)
	w.ok(pull(one)...)
	w.write("policy/stale.rego", "package stale")
	w.refuses(exitUsage, "with --force", pull(two)...)
	revision("r1")
	w.ok(pull(two, "--force")...)
	revision("r2")
	if diff := cmp.Diff([]string{".gitgate-bundle.json", ".manifest", "team.rego"}, w.files("policy")); diff != "" {
		t.Error(diff)
	}
	w.refuses(exitDenied, "other.pub", "pull", one, "--key", "other.pub", "--force")
	revision("r2")
	w.refuses(exitUsage, "was not pulled", pull(one, "-o", "rules", "--force")...)
	w.refuses(exitUsage, "of its own", pull(one, "-o", ".", "--force")...)
	w.refuses(exitUsage, "something else", pull(one, "-o", "web.yaml", "--force")...)
	if err := os.Symlink("rules", "link"); err != nil {
		t.Fatal(err)
	}
	w.refuses(exitUsage, "something else", pull(one, "-o", "link", "--force")...)
	w.ok(pull(one, "-o", "p.tar.gz")...)
	w.refuses(exitUsage, "with --force", pull(one, "-o", "p.tar.gz")...)
	w.ok(pull(two, "-o", "p.tar.gz", "--force")...)
	if left, err := filepath.Glob(".*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}
