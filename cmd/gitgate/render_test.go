package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// renderCommand runs gitgate render.
func renderCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(append([]string{"render"}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

var renderFiles = map[string]string{
	"apps/prod/kustomization.yaml": "namePrefix: prod-\nresources: [../base]\n",
	"apps/base/kustomization.yaml": "resources: [a.yaml]\n",
	"apps/base/a.yaml":             "# settings\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata: {mode: \"0777\", html: <b>}\n",
	"broken/a.yaml":                "apiVersion: v1\nkind: ConfigMap\nkind: Secret\nmetadata: {name: a}\n",
}

const renderedText = `---
# source: apps/base/a.yaml:2
apiVersion: v1
data:
  html: <b>
  mode: "0777"
kind: ConfigMap
metadata:
  name: prod-a
`

func TestRenderRevision(t *testing.T) {
	repo := gitrepo.For(t)
	first := repo.Commit(gitrepo.Change{Files: renderFiles})
	repo.Commit(gitrepo.Change{
		Files:      map[string]string{"apps/base/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: later}\n"},
		Symlinks:   map[string]string{"links/a.yaml": "/etc/passwd"},
		Submodules: map[string]plumbing.Hash{"modules/sub": first},
	})
	for name, tc := range map[string]struct {
		reason         string
		args           []string
		code           int
		stdout, stderr string // stderr is a part of it; empty means none
	}{
		"Commit":    {"A commit is rendered as committed.", []string{first.String(), "--path", "apps/prod"}, 0, renderedText, ""},
		"Relative":  {"Revisions are Git's.", []string{"main~1", "--path", "./apps/prod"}, 0, renderedText, ""},
		"Branch":    {"A branch means its tip.", []string{"main", "--path", "apps/base"}, 0, "---\n# source: apps/base/a.yaml:1\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: later\n", ""},
		"Namespace": {"The target namespace shows.", []string{"main", "--path", "apps/base", "--target-namespace", "shop"}, 0, "---\n# source: apps/base/a.yaml:1\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: later\n  namespace: shop\n", ""},
		"Refused":   {"A finding has file and line.", []string{"main", "--path", "broken"}, 1, "", "deny render AmbiguousManifest: broken/a.yaml:3: "},
		"Symlink":   {"P1 in a real tree.", []string{"main", "--path", "links"}, 1, "", "deny render PathEscape: links/a.yaml: "},
		"Submodule": {"G16 in a real tree.", []string{"main", "--path", "modules"}, 1, "", "deny render UnsignedContent: modules/sub: "},
		"InModule":  {"Nor can one be entered.", []string{"main", "--path", "modules/sub/x"}, 1, "", "deny render UnsignedContent: modules/sub/x: modules/sub is a submodule"},
		"Escape":    {"P2 in a real tree.", []string{"main", "--path", "../x"}, 1, "", "deny render PathEscape: "},
		"NoPath":    {"A path that is not there is no empty release.", []string{"main", "--path", "none"}, 1, "", "does not exist"},
		"NoRev":     {"A revision that is not there is wrong use.", []string{"v9"}, 2, "", "revision v9"},
		"BadOutput": {"So is an unknown format.", []string{"main", "-o", "xml"}, 2, "", "want text or json"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := renderCommand(t, append(tc.args, "--repo", repo.GitDir())...)
			if code != tc.code || stdout != tc.stdout || (tc.stderr == "") != (stderr == "") || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("%s\nexit code %d, want %d\nstdout:\n%s\nstderr:\n%s", tc.reason, code, tc.code, stdout, stderr)
			}
		})
	}
	t.Run("JSON", func(t *testing.T) {
		code, stdout, stderr := renderCommand(t, first.String(), "--path", "apps/prod", "--repo", repo.GitDir(), "-o", "json")
		const want = `{"source":{"file":"apps/base/a.yaml","line":2,"document":0},"object":{"apiVersion":"v1","data":{"html":"<b>","mode":"0777"},"kind":"ConfigMap","metadata":{"name":"prod-a"}}}` + "\n"
		if code != 0 || stdout != want {
			t.Errorf("exit code %d, stdout:\n%s", code, stdout)
		}
		var v struct {
			Kind    string
			Allowed bool
			Objects int
		}
		if err := json.Unmarshal([]byte(stderr), &v); err != nil || v.Kind != "Verdict" || !v.Allowed || v.Objects != 1 {
			t.Errorf("verdict %s: %v", stderr, err)
		}
	})
	t.Run("LostObject", func(t *testing.T) {
		blob := plumbing.ComputeHash(plumbing.BlobObject, []byte(renderFiles["apps/base/a.yaml"]))
		if err := repo.Remove(blob); err != nil {
			t.Fatal(err)
		}
		if code, stdout, stderr := renderCommand(t, first.String(), "--path", "apps/base", "--repo", repo.GitDir()); code != 3 || stdout != "" {
			t.Errorf("a tree that cannot be read is undetermined: exit code %d\n%s%s", code, stdout, stderr)
		}
	})
}

func TestRenderDirectory(t *testing.T) {
	dir := t.TempDir()
	for name, content := range renderFiles {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, stderr := renderCommand(t, filepath.Join(dir, "apps/prod")); code != 1 || !strings.Contains(stderr, "PathEscape: kustomization.yaml:2") {
		t.Errorf("without a repository nothing beside the directory is read: exit code %d, %s", code, stderr)
	}
	if err := os.Mkdir(filepath.Join(dir, ".git"), 0o750); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, args := range [][]string{{"apps/prod"}, {".", "--path", "apps/prod"}, {filepath.Join(dir, "apps"), "--path", "prod"}} {
		if code, stdout, stderr := renderCommand(t, args...); code != 0 || stdout != renderedText {
			t.Errorf("%v: exit code %d\n%s%s", args, code, stdout, stderr)
		}
	}
	if code, _, stderr := renderCommand(t, "apps/base/a.yaml"); code != 2 || !strings.Contains(stderr, "is a file") {
		t.Errorf("a file is wrong use: exit code %d, %s", code, stderr)
	}
	if code, _, stderr := renderCommand(t, "nowhere"); code != 2 {
		t.Errorf("neither directory nor revision: exit code %d, %s", code, stderr)
	}
}
