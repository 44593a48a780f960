package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// TestCheckConfig: a configuration that is not right is one line that says what and
// where, and nothing is judged by the rest of it.
func TestCheckConfig(t *testing.T) {
	r := newCheckRepo(t)
	good, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) string { return strings.Replace(string(good), old, new, 1) }
	for name, tc := range map[string]struct {
		reason string
		config string
		want   string // of standard error, after the file
	}{
		"UnknownField": {
			reason: "A field that is not known may be a condition.",
			config: edit("deletionBudget: 1", "deletionBugdet: 1"), want: `:1: GitSync shop: unknown field "spec.deletionBugdet"`,
		},
		"Case": {
			reason: "A field in the wrong case is another field.",
			config: edit("deletionBudget: 1", "DeletionBudget: 1"), want: `:1: GitSync shop: unknown field "spec.DeletionBudget"`,
		},
		"Version": {
			reason: "A later version may mean something else.",
			config: edit("gitgate.dev/v1alpha1\nkind: TrustPolicy", "gitgate.dev/v1\nkind: TrustPolicy"), want: ":13: gitgate.dev/v1 TrustPolicy is not known: this gitgate reads gitgate.dev/v1alpha1",
		},
		"Kind": {
			reason: "So may another kind of ours.",
			config: edit("kind: PolicySet", "kind: PolicyList"), want: ":24: gitgate.dev/v1alpha1 PolicyList is not known: this gitgate reads gitgate.dev/v1alpha1",
		},
		"Twice": {
			reason: "Two objects of one name.",
			config: string(good) + "---\n" + edit("deletionBudget: 1", "deletionBudget: 2"), want: "GitSync gitgate-system/shop is also in ",
		},
		"NoNamespace": {
			reason: "A GitSync without a namespace.",
			config: edit(", namespace: gitgate-system", ""), want: ":1: GitSync shop: metadata.namespace is missing",
		},
		"NoTrust": {
			reason: "A TrustPolicy that is not there.",
			config: edit("trust: {name: production}", "trust: {name: other}"), want: `GitSync gitgate-system/shop: RepositoryNotTrusted: spec.trust: TrustPolicy "other" does not exist`,
		},
		"NoPolicy": {
			reason: "A PolicySet that is not there.",
			config: edit("policies: [{name: acme}]", "policies: [{name: other}]"), want: `GitSync gitgate-system/shop: PolicyError: policies: PolicySet "other" does not exist`,
		},
		"Branch": {
			reason: "A branch for which nobody speaks.",
			config: edit("ref: {branch: main}", "ref: {branch: dev}"), want: "GitSync gitgate-system/shop: RepositoryNotTrusted: TrustPolicy production does not speak for branch dev",
		},
		"Rego": {
			reason: "A policy that does not compile.",
			config: edit("package acme", "package acme\n        deny contains x if y"), want: "GitSync gitgate-system/shop: PolicyError: ",
		},
		"YAML": {
			reason: "No YAML.",
			config: "a: [\n", want: "did not find expected node content",
		},
		"Empty": {
			reason: "Nothing at all.",
			config: "", want: "the configuration holds no GitSync",
		},
		"Anchors": {
			reason: "A file that grows when it is read.",
			config: "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n", want: "",
		},
		"Secret": {
			reason: "A Secret that is none says nothing of its values.",
			config: string(good) + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\ndata: {password: hunter2!}\n", want: "the Secret does not fit its type",
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "c.yaml")
			if err := os.WriteFile(file, []byte(tc.config), 0o600); err != nil {
				t.Fatal(err)
			}
			code, out, errs := runCheck("--repo", r.Dir, "-c", file, "--base", "main", "--head", "main")
			if code != exitUsage || out != "" || !strings.Contains(errs, tc.want) {
				t.Errorf("%s\nexit %d, stdout %q, stderr %q, want %q", tc.reason, code, out, errs, tc.want)
			}
			if strings.Contains(errs, "hunter2") || strings.Count(strings.TrimSpace(errs), "\n") > 0 {
				t.Errorf("%s\nstderr %q", tc.reason, errs)
			}
		})
	}
}

// TestCheckConfigSources reads one configuration from everywhere.
func TestCheckConfigSources(t *testing.T) {
	r := newCheckRepo(t)
	good, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	documents := strings.Split(string(good), "---\n")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"plain/sync.yaml": documents[0], "plain/trust.yaml": documents[1], "plain/policy.yaml": documents[2],
		"kustomized/kustomization.yaml": "resources: [all.yaml]\n", "kustomized/all.yaml": string(good),
		"one/trust.yaml": documents[1] + "---\n" + documents[2],
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The branch to judge would like to have no rules.
	protected := r.signed(gitrepo.Change{Files: map[string]string{"gitgate/all.yaml": string(good)}})
	evil := r.signed(gitrepo.Change{Files: map[string]string{
		"gitgate/all.yaml":  strings.ReplaceAll(string(good), "deny contains", "ignore contains"),
		"app/settings.yaml": settings, "app/web.yaml": strings.ReplaceAll(webManifest("registry.example.com/web"+digest), "{app: web}", "{app: shop}"),
	}})
	for name, tc := range map[string]struct {
		reason string
		args   []string
		code   int
	}{
		"Directory":     {"A directory of plain files.", []string{"-c", filepath.Join(dir, "plain")}, exitDenied},
		"Kustomization": {"A directory that is a kustomization, as it is applied.", []string{"-c", filepath.Join(dir, "kustomized")}, exitDenied},
		"Several":       {"Files and directories together.", []string{"-c", filepath.Join(dir, "one"), "-c", filepath.Join(dir, "plain", "sync.yaml")}, exitDenied},
		"Twice":         {"The same file twice is the same object.", []string{"-c", filepath.Join(dir, "plain"), "-c", filepath.Join(dir, "plain", "sync.yaml")}, exitDenied},
		"Revision":      {"A directory of a revision.", []string{"-c", protected.String() + ":gitgate"}, exitDenied},
		"RevisionFile":  {"A file of a revision.", []string{"-c", protected.String() + ":gitgate/all.yaml"}, exitDenied},
		"Head":          {"Who takes the branch's own word gets the branch's own verdict.", []string{"-c", evil.String() + ":gitgate"}, exitAllowed},
		"Missing":       {"What is not there.", []string{"-c", filepath.Join(dir, "nowhere")}, exitUsage},
		"NoRevision":    {"A revision that is not there.", []string{"-c", "nowhere:gitgate"}, exitUsage},
		"NoPath":        {"A path that the revision does not have.", []string{"-c", "main:nowhere"}, exitUsage},
		"Choice":        {"A GitSync by name.", []string{"-c", r.config, "--gitsync", "gitgate-system/shop"}, exitDenied},
		"NoChoice":      {"A GitSync that is not there.", []string{"-c", r.config, "--gitsync", "gitgate-system/web"}, exitUsage},
		"None":          {"No configuration.", nil, exitUsage},
		"Path":          {"Another directory of the repository.", []string{"-c", r.config, "--path", "gitgate"}, exitDenied},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := runCheck(append([]string{"--repo", r.Dir, "--base", protected.String(), "--head", evil.String()}, tc.args...)...)
			if code != tc.code || (code == exitUsage) != (out == "") || (code == exitUsage) != (errs != "") {
				t.Errorf("%s\nexit %d, want %d\nstderr %s\nstdout %s", tc.reason, code, tc.code, errs, out)
			}
		})
	}
}

// TestCheckSelects picks the GitSyncs of this repository among many.
func TestCheckSelects(t *testing.T) {
	r := newCheckRepo(t)
	good, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	sync := strings.Split(string(good), "---\n")[0]
	other := strings.ReplaceAll(strings.ReplaceAll(sync, "name: shop,", "name: web,"), "acme/shop.git", "acme/web.git")
	if err := os.WriteFile(r.config, []byte(string(good)+"---\n"+other), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := r.check("--head", "main"); code != exitUsage || !strings.Contains(errs, "choose with --gitsync (there are gitgate-system/shop, gitgate-system/web)") {
		t.Errorf("without a remote: exit %d, stderr %q", code, errs)
	}
	config := filepath.Join(r.Dir, ".git", "config")
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append(raw, "[remote \"origin\"]\n\turl = git@git.example.com:acme/shop\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	code, out, errs := r.check("--head", "main")
	if code != exitAllowed || errs != "" || !strings.Contains(out, "gitgate-system/shop: allowed") || strings.Contains(out, "gitgate-system/web") {
		t.Errorf("with a remote: exit %d, stderr %q\n%s", code, errs, out)
	}
}

// FuzzConfiguration reads whatever somebody took for a configuration: it is one, or
// it is an error of one line each that quotes no Secret.
func FuzzConfiguration(f *testing.F) {
	for _, seed := range []string{
		"apiVersion: gitgate.dev/v1alpha1\nkind: GitSync\nmetadata: {name: a, namespace: b}\nspec: {url: \"https://x/y\", ref: {branch: main}, path: ., trust: {name: t}, interval: 1m}\n",
		"apiVersion: gitgate.dev/v1alpha1\nkind: TrustPolicy\nmetadata: {name: t}\nspec: {repositories: [], namespaces: [b], commits: {signers: []}}\n",
		"apiVersion: gitgate.dev/v1alpha1\nkind: PolicySet\nmetadata: {name: p}\nspec: {source: {inline: {a.rego: package a}}}\n---\n",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: b}\nstringData: {p: canary-canary}\n",
		"apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: b}}]\n",
		`{"apiVersion":"v1","kind":"Secret","metadata":{"name":1},"data":{"p":"canary-canary"}}`,
		"a: &a [*a]\n", "\x00", "- - - -\n", "kind: GitSync\napiVersion: gitgate.dev/v1alpha1\nmetadata: null\nspec: null\n",
	} {
		f.Add([]byte(seed))
	}
	file := filepath.Join(f.TempDir(), "c.yaml")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := readConfiguration(t.Context(), nil, []string{file})
		if err != nil {
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("a Secret is quoted: %v", err)
			}
			return
		}
		for _, s := range c.gitSyncs() {
			// Whatever it refers to is not there or does not fit: that is an error, too.
			if _, err := reconcile.Resolve(t.Context(), c, "gitgate-system", s, nil); err == nil && s.Spec.Trust.Name == "" {
				t.Errorf("a GitSync without trust resolves: %+v", s)
			}
		}
	})
}
