package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

func (r *checkRepo) diff(args ...string) (code int, stdout, stderr string) {
	r.t.Helper()
	var out, errs bytes.Buffer
	code = run(append([]string{"diff", "--repo", r.Dir, "-c", r.config}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestDiff(t *testing.T) {
	r := newCheckRepo(t)
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\ndata: {password: aHVudGVyMg==, user: Ym9i}\n"
	base := r.signed(gitrepo.Change{Files: map[string]string{"app/s.yaml": secret}})
	head := r.signed(gitrepo.Change{
		Files: map[string]string{
			"app/web.yaml": webManifest("registry.example.com/web"+digest, "  replicas: 2\n"),
			"app/s.yaml":   strings.Replace(secret, "aHVudGVyMg==", "b3RoZXI=", 1),
			"app/evil.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: evil, namespace: shop}\n" +
				"data: {x: \"a\\e[2Jb\\u202ec\"}\n",
		},
		Delete: []string{"app/settings.yaml"},
	})
	args := []string{"--base", base.String(), "--head", head.String()}
	code, out, errs := r.diff(append(args, "--exit-code")...)
	if code != exitDenied || errs != "" {
		t.Fatalf("exit %d, stderr %q", code, errs)
	}
	for _, want := range []string{
		"diff --git a/shop/Deployment.apps/web b/shop/Deployment.apps/web", "+  replicas: 2\n",
		"-  password: '*** (before)'\n+  password: '*** (after)'\n", "   user: '***'\n",
		"--- a/shop/ConfigMap/settings\n+++ /dev/null\n", "--- /dev/null\n+++ b/shop/ConfigMap/evil\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the difference lacks %q:\n%s", want, out)
		}
	}
	if i := strings.IndexAny(out, "\x1b\u202e"); i >= 0 || strings.Contains(out, "aHVudGVyMg") || strings.Contains(out, "b3RoZXI") {
		t.Errorf("the difference shows what it must not:\n%q", out)
	}
	code, out, _ = r.diff(append(args, "-o", "json")...)
	var got []string
	for line := range strings.Lines(out) {
		var p struct{ Object, Action string }
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got = append(got, p.Action+" "+p.Object)
	}
	want := []string{"create shop/ConfigMap/evil", "update shop/Secret/s", "update shop/Deployment.apps/web", "delete shop/ConfigMap/settings"}
	if diff := cmp.Diff(want, got); code != exitAllowed || diff != "" {
		t.Errorf("exit %d (-want +got)\n%s", code, diff)
	}
	if code, out, errs := r.diff("--base", "main", "--head", "main", "--exit-code"); code != exitAllowed || out != "" || errs != "" {
		t.Errorf("nothing differs: exit %d, %q, %q", code, out, errs)
	}
	broken := r.signed(gitrepo.Change{Files: map[string]string{"app/web.yaml": "a: [\n"}})
	if code, out, errs := r.diff("--head", broken.String()); code != exitUndetermined || out != "" || !strings.Contains(errs, "InvalidManifest: app/web.yaml:1") {
		t.Errorf("a broken tree: exit %d, %q, %q", code, out, errs)
	}
}

// TestDiffStringData: a Secret that moves its values is the same Secret.
func TestDiffStringData(t *testing.T) {
	before := map[string]any{"kind": "Secret", "apiVersion": "v1", "stringData": map[string]any{"a": "1", "b": "2"}}
	after := map[string]any{"kind": "Secret", "apiVersion": "v1", "stringData": map[string]any{"a": "1", "b": "3"}}
	b, a := maskedPair(before, after)
	want := func(mark string) map[string]any {
		return map[string]any{"kind": "Secret", "apiVersion": "v1", "data": map[string]any{"a": "***", "b": mark}}
	}
	if diff := cmp.Diff(want("*** (before)"), b) + cmp.Diff(want("*** (after)"), a); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
