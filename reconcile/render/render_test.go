package render

import (
	"strings"
	"testing"
	"testing/fstest"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// tree makes a file system of a txtar-like text: "-- name --" starts a file.
func tree(text string) fstest.MapFS {
	out := fstest.MapFS{}
	name := ""
	for line := range strings.Lines(text) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "-- "); ok && strings.HasSuffix(n, " --") {
			name = strings.TrimSuffix(n, " --")
			out[name] = &fstest.MapFile{Mode: 0o644}
			continue
		}
		if name != "" {
			out[name].Data = append(out[name].Data, line...)
		}
	}
	return out
}

// listing writes objects as "file:line id" lines.
func listing(objects []gate.Object) string {
	var b strings.Builder
	for _, o := range objects {
		b.WriteString(place(o.Source) + " " + o.ID() + "\n")
	}
	return b.String()
}

// mustRender fails the test on any finding that blocks.
func mustRender(t *testing.T, files fstest.MapFS, o Options) []gate.Object {
	t.Helper()
	objects, found := Render(t.Context(), files, o)
	for _, f := range found {
		if f.Severity.Blocks() {
			t.Fatalf("unexpected finding: %s", f)
		}
	}
	return objects
}

// find returns the finding with the reason at file:line.
func find(found []verdict.Finding, reason verdict.Reason, where string) *verdict.Finding {
	for i, f := range found {
		if f.Reason == reason && (where == "" || f.Where() == where) {
			return &found[i]
		}
	}
	return nil
}

// refused requires that nothing was rendered and that a finding says why.
func refused(t *testing.T, reason string, objects []gate.Object, found []verdict.Finding, want verdict.Reason, where string) {
	t.Helper()
	if len(objects) > 0 {
		t.Errorf("%s\nobjects were returned in spite of it:\n%s", reason, listing(objects))
	}
	f := find(found, want, where)
	if f == nil {
		t.Fatalf("%s\nwant finding %s at %q, got:\n%v", reason, want, where, found)
	}
	if !f.Severity.Blocks() || f.Stage != verdict.StageRender || f.Message == "" || strings.Contains(f.Message, "\n") {
		t.Errorf("finding is not a complete refusal: %#v", *f)
	}
}

const configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: "

func TestPlainTree(t *testing.T) {
	files := tree(`
-- apps/b.yaml --
# a comment first
apiVersion: v1
kind: ConfigMap
metadata: {name: b}
---
---
# another
apiVersion: v1
kind: ConfigMap
metadata: {name: b2}
-- apps/a.yml --
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: a1}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: a2}
-- apps/c.json --
{
  "apiVersion": "v1", "kind": "ConfigMap",
  "metadata": {"name": "c"}
}
-- apps/readme.md --
not a manifest
-- apps/.sops.yaml --
creation_rules: []
-- apps/.github/workflow.yaml --
on: push
-- apps/sub/kustomization.yaml --
namePrefix: x-
resources: [d.yaml]
-- apps/sub/d.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: d}
-- apps/sub/not-listed.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: never}
-- other/e.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: e}
`)
	want := `apps/a.yml:4 ConfigMap/a1
apps/a.yml:7 ConfigMap/a2
apps/b.yaml:2 ConfigMap/b
apps/b.yaml:8 ConfigMap/b2
apps/c.json:1 ConfigMap/c
apps/sub/d.yaml:1 ConfigMap/x-d
`
	for _, path := range []string{"apps", "./apps", "/apps/", "other/../apps"} {
		if got := listing(mustRender(t, files, Options{Path: path})); got != want {
			t.Errorf("path %q: got\n%swant\n%s", path, got, want)
		}
	}
}
