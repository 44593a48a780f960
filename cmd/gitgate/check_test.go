package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// checkRepo is a repository whose main branch is in force, beside the configuration
// that judges it.
type checkRepo struct {
	*gitrepo.Repo
	t      *testing.T
	carol  *gitrepo.SSHKey
	config string
	main   plumbing.Hash
}

const digest = "@sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"

func webManifest(image string, more ...string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: shop\nspec:\n" + strings.Join(more, "") + `  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: ` + image + "\n"
}

const settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: shop}\ndata: {color: blue}\n"

func newCheckRepo(t *testing.T) *checkRepo {
	t.Helper()
	r := &checkRepo{t: t, carol: gitrepo.SSH(t, "Carol", "carol@example.com", "")}
	var err error
	if r.Repo, err = gitrepo.Init(filepath.Join(t.TempDir(), "work")); err != nil {
		t.Fatal(err)
	}
	r.Clock = gitrepo.Ticking(time.Now().Add(-time.Hour))
	root := r.commit(gitrepo.Change{Files: map[string]string{"README": "shop\n"}})
	r.main = r.signed(gitrepo.Change{Files: map[string]string{
		"app/web.yaml": webManifest("registry.example.com/web" + digest), "app/settings.yaml": settings,
		"app/more.yaml": strings.ReplaceAll(settings, "settings", "more"),
	}})
	r.config = filepath.Join(t.TempDir(), "gitgate.yaml")
	if err := os.WriteFile(r.config, []byte(fmt.Sprintf(`apiVersion: gitgate.dev/v1alpha1
kind: GitSync
metadata: {name: shop, namespace: gitgate-system}
spec:
  url: https://git.example.com/acme/shop.git
  ref: {branch: main}
  path: app
  trust: {name: production}
  policies: [{name: acme}]
  deletionBudget: 1
  decryption: {provider: sops, secretRef: {name: sops-keys}}
---
apiVersion: gitgate.dev/v1alpha1
kind: TrustPolicy
metadata: {name: production}
spec:
  repositories: [{url: "https://git.example.com/acme/shop.git", refs: [main], root: %s}]
  namespaces: [gitgate-system]
  commits:
    signers: [{name: carol, ssh: {allowedSigners: %q}}]
  images:
    rules: [{match: ["registry.example.com/**"], static: Allow}]
---
apiVersion: gitgate.dev/v1alpha1
kind: PolicySet
metadata: {name: acme}
spec:
  source:
    inline:
      acme.rego: |
        package acme
        deny contains {"msg": "the app must be web", "field": "spec.selector.matchLabels.app"} if input.object.spec.selector.matchLabels.app != "web"
        deny contains "settings are kept" if { input.operation == "DELETE"; input.oldObject.metadata.name == "settings" }
        warn contains "red is loud" if input.object.data.color == "red"
`, root, r.carol.AllowedSigner())), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *checkRepo) commit(c gitrepo.Change) plumbing.Hash {
	r.t.Helper()
	h, err := r.Commit(c)
	if err != nil {
		r.t.Fatal(err)
	}
	return h
}

// signed commits as Carol.
func (r *checkRepo) signed(c gitrepo.Change) plumbing.Hash {
	r.t.Helper()
	c.Author, c.Sign = r.carol.Person(), r.carol
	return r.commit(c)
}

// feature commits on top of main, on no branch.
func (r *checkRepo) feature(c gitrepo.Change) plumbing.Hash {
	r.t.Helper()
	c.Parents, c.Detached = []plumbing.Hash{r.main}, true
	return r.signed(c)
}

func (r *checkRepo) check(args ...string) (code int, stdout, stderr string) {
	r.t.Helper()
	return runCheck(append([]string{"--repo", r.Dir, "-c", r.config}, args...)...)
}

func runCheck(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(append([]string{"check"}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// found lists findings as severity stage reason place: message.
func found(t *testing.T, raw string) []string {
	t.Helper()
	var list struct {
		Items []struct {
			Verdict struct {
				Findings []struct {
					Severity, Stage, Reason, File, Object string
					Line                                  int
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(raw), &list); err != nil {
		t.Fatalf("output %q: %v", raw, err)
	}
	var out []string
	for _, item := range list.Items {
		for _, f := range item.Verdict.Findings {
			place := f.Object
			if f.File != "" {
				place = fmt.Sprintf("%s:%d", f.File, f.Line)
			}
			if f.Reason != "DryRunSkipped" {
				out = append(out, strings.Join([]string{f.Severity, f.Stage, f.Reason, place}, " "))
			}
		}
	}
	return out
}

func TestCheck(t *testing.T) {
	r := newCheckRepo(t)
	image := "registry.example.com/web" + digest
	for name, tc := range map[string]struct {
		reason string
		change gitrepo.Change
		by     func(*gitrepo.Change)
		args   []string
		code   int
		want   []string
	}{
		"Allowed": {
			reason: "A good change passes.",
			change: gitrepo.Change{Files: map[string]string{"app/web.yaml": webManifest(image, "  replicas: 2\n")}},
		},
		"Denied": {
			reason: "A finding stands at its field.",
			change: gitrepo.Change{Files: map[string]string{"app/web.yaml": strings.ReplaceAll(webManifest(image), "{app: web}", "{app: shop}")}},
			code:   exitDenied, want: []string{"deny policy PolicyDenied app/web.yaml:7"},
		},
		"Unsigned": {
			reason: "Nobody signed, and the rest is told all the same.",
			change: gitrepo.Change{Files: map[string]string{"app/web.yaml": strings.ReplaceAll(webManifest(image), "{app: web}", "{app: shop}")}},
			by:     func(c *gitrepo.Change) { c.Sign = nil },
			code:   exitDenied, want: []string{"deny commit UnsignedCommit ", "deny policy PolicyDenied app/web.yaml:7"},
		},
		"Image": {
			reason: "An image that no rule names.",
			change: gitrepo.Change{Files: map[string]string{"app/web.yaml": webManifest("evil.example.com/x" + digest)}},
			code:   exitDenied, want: []string{"deny image ImageNotAllowed app/web.yaml:13"},
		},
		"Offline": {
			reason: "A tag needs the registry.",
			change: gitrepo.Change{Files: map[string]string{"app/web.yaml": webManifest("registry.example.com/web:v2")}},
			args:   []string{"--offline"},
			code:   exitUndetermined, want: []string{"undetermined image RegistryUnavailable app/web.yaml:13"},
		},
		"FailOnDeny": {
			reason: "Who asks for it lets what is undecided pass.",
			change: gitrepo.Change{Files: map[string]string{"app/web.yaml": webManifest("registry.example.com/web:v2")}},
			args:   []string{"--offline", "--fail-on", "deny"},
			want:   []string{"undetermined image RegistryUnavailable app/web.yaml:13"},
		},
		"Plaintext": {
			reason: "A Secret in plaintext.",
			change: gitrepo.Change{Files: map[string]string{"app/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\nstringData: {password: hunter2}\n"}},
			code:   exitDenied, want: []string{"deny secret PlaintextSecret app/s.yaml:4"},
		},
		"Warn": {
			reason: "A warning passes.",
			change: gitrepo.Change{Files: map[string]string{"app/more.yaml": strings.ReplaceAll(strings.ReplaceAll(settings, "settings", "more"), "blue", "red")}},
			want:   []string{"warn policy PolicyDenied app/more.yaml:1"},
		},
		"FailOnWarn": {
			reason: "Unless it must not.",
			change: gitrepo.Change{Files: map[string]string{"app/more.yaml": strings.ReplaceAll(strings.ReplaceAll(settings, "settings", "more"), "blue", "red")}},
			args:   []string{"--fail-on", "warn"},
			code:   exitDenied, want: []string{"warn policy PolicyDenied app/more.yaml:1"},
		},
		"Deletion": {
			reason: "Rules see what is deleted.",
			change: gitrepo.Change{Delete: []string{"app/settings.yaml"}},
			code:   exitDenied, want: []string{"deny policy PolicyDenied app/settings.yaml:1"},
		},
		"Budget": {
			reason: "More than the budget is deleted.",
			change: gitrepo.Change{Delete: []string{"app/web.yaml", "app/more.yaml"}},
			code:   exitDenied, want: []string{"deny policy DeletionBudget "},
		},
		"Broken": {
			reason: "A file that is no YAML stops the render, and nothing is taken for deleted.",
			change: gitrepo.Change{Files: map[string]string{"app/web.yaml": "a: [\n"}},
			code:   exitDenied, want: []string{"deny render InvalidManifest app/web.yaml:1"},
		},
		"Empty": {
			reason: "A path without objects.",
			change: gitrepo.Change{Delete: []string{"app"}, Files: map[string]string{"app/README": "x"}},
			code:   exitDenied, want: []string{"deny render EmptyRelease app:0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.change.Parents, tc.change.Detached = []plumbing.Hash{r.main}, true
			tc.change.Author, tc.change.Sign = r.carol.Person(), r.carol
			if tc.by != nil {
				tc.by(&tc.change)
			}
			head := r.commit(tc.change)
			code, out, errs := r.check(append([]string{"--base", r.main.String(), "--head", head.String(), "-o", "json"}, tc.args...)...)
			if errs != "" || code != tc.code {
				t.Fatalf("%s\nexit %d, want %d, stderr %q, stdout %s", tc.reason, code, tc.code, errs, out)
			}
			if diff := cmp.Diff(tc.want, found(t, out)); diff != "" {
				t.Errorf("%s\n(-want +got)\n%s\n%s", tc.reason, diff, out)
			}
		})
	}
}
