package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// TestExplainTrace asks how rules came to what they said in a verdict.
func TestExplainTrace(t *testing.T) {
	r := newCheckRepo(t)
	raw, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(string(raw), "        warn contains", "        deny contains sprintf(\"%s is %s\", [k, v]) if { input.object.kind == \"Secret\"; some k, v in input.object.data; loud(k) }\n        loud(k) if startswith(k, \"p\")\n        warn contains", 1)
	if err := os.WriteFile(r.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	head := r.feature(gitrepo.Change{Files: map[string]string{
		"app/web.yaml": strings.ReplaceAll(webManifest("registry.example.com/web"+digest), "{app: web}", "{app: shop}"),
		"app/s.yaml":   "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\nstringData: {password: canary}\n",
	}})
	_, verdicts, _ := r.check("--base", "main", "--head", head.String(), "-o", "json")
	code, out, errs := explain(t, verdicts, "-", "--trace", "--repo", r.Dir, "-c", r.config, "--base", "main")
	if code != exitAllowed || errs != "" {
		t.Fatalf("exit %d, stderr %q", code, errs)
	}
	for _, part := range []string{
		"trace of shop/Deployment.apps/web\n  acme/acme.deny on shop/Deployment.apps/web:\n", `input.object.spec.selector.matchLabels.app`,
		"trace of shop/Secret/s\n", "where v is \"(redacted)\"",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("lacks %q:\n%s", part, out)
		}
	}
	if strings.Contains(out, "canary") || strings.Contains(out, "Y2FuYXJ5") {
		t.Errorf("the trace shows a secret:\n%s", out)
	}
	// By the decision log the base is known.
	line := fmt.Sprintf(`{"door":"reconciler","gitSync":"gitgate-system/shop","asked":{"base":[%q],"inventory":3},"verdict":{"allowed":false,"revision":"main@sha1:%s","findings":[{"stage":"policy","reason":"PolicyDenied","severity":"deny","message":"m","object":"shop/Deployment.apps/web","policy":"acme/acme.deny"}]}}`, r.main, head)
	if code, out, errs := explain(t, line, "-", "--trace", "--repo", r.Dir, "-c", r.config); code != exitAllowed || errs != "" || !strings.Contains(out, "acme/acme.deny on shop/Deployment.apps/web:") || strings.Contains(out, "trace of shop/Secret/s") {
		t.Errorf("from a log: exit %d, stderr %q\n%s", code, errs, out)
	}
	gone := strings.Replace(line, "acme.deny", "acme.gone", 1)
	if code, out, _ := explain(t, gone, "-", "--trace", "--repo", r.Dir, "-c", r.config); code != exitAllowed || !strings.Contains(out, "the rules say nothing of it now") {
		t.Errorf("a rule that is gone: exit %d\n%s", code, out)
	}
	for name, tc := range map[string]struct {
		input string
		args  []string
		code  int
		want  string
	}{
		"NoConfig":   {line, []string{"--trace"}, exitUsage, "--trace judges again: say by what, with -c or --from-cluster"},
		"NoSync":     {strings.Replace(line, "/shop", "/other", 1), []string{"--trace", "--repo", r.Dir, "-c", r.config}, exitUsage, "--gitsync gitgate-system/other: there is none"},
		"NoCommit":   {strings.Replace(line, "main@sha1:"+head.String(), "main@sha1:"+strings.Repeat("1", 40), 1), []string{"--trace", "--repo", r.Dir, "-c", r.config}, exitUsage, "--trace: "},
		"NoRevision": {strings.Replace(line, "main@sha1:"+head.String(), "worktree", 1), []string{"--trace", "--repo", r.Dir, "-c", r.config}, exitAllowed, "names no commit that can be judged again"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := explain(t, tc.input, append([]string{"-"}, tc.args...)...)
			if code != tc.code || !strings.Contains(out+errs, tc.want) {
				t.Errorf("exit %d, stdout %q, stderr %q", code, out, errs)
			}
		})
	}
}
