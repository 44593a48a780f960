package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

func except(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(append([]string{"policy", "except"}, args...), strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// TestPolicyExcept walks from a denial to an exception that lets it pass.
func TestPolicyExcept(t *testing.T) {
	r := newCheckRepo(t)
	raw, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(string(raw), "  images:\n", "  exceptions: {paths: [\"app/exceptions/**\"], signers: [carol]}\n  images:\n", 1)
	write := func(text string) {
		if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(config)
	bad := map[string]string{"app/web.yaml": strings.ReplaceAll(webManifest("registry.example.com/web"+digest), "{app: web}", "{app: shop}")}
	head := r.feature(gitrepo.Change{Files: bad})
	code, verdicts, _ := r.check("--base", "main", "--head", head.String(), "-o", "json")
	if code != exitDenied {
		t.Fatalf("exit %d: %s", code, verdicts)
	}
	flags := []string{"--owner", "team-web", "--reason", "until 2.0", "--expires", "30d"}
	code, text, errs := except(verdicts, append([]string{"-"}, flags...)...)
	if code != exitAllowed || errs != "" || !strings.Contains(text, "rules:\n    - acme.deny\n") || !strings.Contains(text, "- web\n") {
		t.Fatalf("exit %d, stderr %q\n%s", code, errs, text)
	}
	bad["app/exceptions/web.yaml"] = text
	excepted := r.feature(gitrepo.Change{Files: bad})
	if code, out, errs := r.check("--base", "main", "--head", excepted.String()); code != exitAllowed || errs != "" {
		t.Errorf("with the exception: exit %d, stderr %q\n%s", code, errs, out)
	}
	write(string(raw))
	if code, out, _ := r.check("--base", "main", "--head", excepted.String()); code != exitDenied || !strings.Contains(out, "ExceptionInvalid") {
		t.Errorf("where none is honoured: exit %d\n%s", code, out)
	}
	write(strings.Replace(config, "    signers: [{name: carol", "    scope: Head\n    signers: [{name: carol", 1))
	if code, out, errs := r.check("--base", "main", "--head", excepted.String()); code != exitUsage || out != "" || !strings.Contains(errs, "spec.exceptions needs spec.commits.scope EveryCommit") {
		t.Errorf("with scope Head: exit %d, stderr %q\n%s", code, errs, out)
	}
	write(strings.Replace(config, "signers: [carol]}", "signers: [dave]}", 1))
	if code, _, errs := r.check("--base", "main", "--head", excepted.String()); code != exitUsage || !strings.Contains(errs, `no signer is named "dave"`) {
		t.Errorf("with an unknown signer: exit %d, stderr %q", code, errs)
	}
	for name, tc := range map[string]struct {
		input string
		args  []string
		want  string
	}{
		"NoOwner":  {verdicts, []string{"-", "--reason", "x", "--expires", "1d"}, `"owner" not set`},
		"Blank":    {verdicts, []string{"-", "--owner", " ", "--reason", "x", "--expires", "1d"}, "--owner: give a text"},
		"Long":     {verdicts, []string{"-", "--owner", "o", "--reason", strings.Repeat("x", 513), "--expires", "1d"}, "--reason: give a text"},
		"Never":    {verdicts, []string{"-", "--owner", "o", "--reason", "x", "--expires", "never"}, "--expires never: use"},
		"Past":     {verdicts, []string{"-", "--owner", "o", "--reason", "x", "--expires", "2020-01-01"}, "in the future"},
		"Far":      {verdicts, []string{"-", "--owner", "o", "--reason", "x", "--expires", "2099-01-01T00:00:00Z"}, "at most a year ahead"},
		"Other":    {verdicts, append([]string{"-", "--object", "shop/ConfigMap/x"}, flags...), "there is nothing to except"},
		"Rule":     {verdicts, append([]string{"-", "--rule", "acme/acme.warn"}, flags...), "there is nothing to except"},
		"NoJSON":   {"hello", append([]string{"-"}, flags...), "holds something else than verdicts"},
		"Empty":    {"{}", append([]string{"-"}, flags...), "holds no verdict"},
		"NotAsked": {strings.ReplaceAll(verdicts, "PolicyDenied", "PolicyError"), append([]string{"-"}, flags...), "there is nothing to except"},
		"NoFile":   {"", append([]string{filepath.Join(t.TempDir(), "none")}, flags...), "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, out, errs := except(tc.input, tc.args...); code != exitUsage || out != "" || !strings.Contains(errs, tc.want) {
				t.Errorf("exit %d, stdout %q, stderr %q, want %q", code, out, errs, tc.want)
			}
		})
	}
}

// TestExceptionManifests: each object gets one, with all its rules and nothing else.
func TestExceptionManifests(t *testing.T) {
	o := exceptOptions{owner: "o", reason: "r", now: time.Now}
	found, err := refusals("-", []byte(`{"kind":"Verdict","allowed":false,"findings":[
		{"reason":"PolicyDenied","severity":"deny","object":"shop/Deployment.apps/web","policy":"a/p.deny"},
		{"reason":"PolicyDenied","severity":"deny","object":"shop/Deployment.apps/web","policy":"a/p.deny"},
		{"reason":"PolicyDenied","severity":"deny","object":"shop/Deployment.apps/web","policy":"b/q.deny"},
		{"reason":"PolicyDenied","severity":"warn","object":"shop/Deployment.apps/web","policy":"c/q.warn"},
		{"reason":"PolicyDenied","severity":"deny","object":"ClusterRole.rbac.authorization.k8s.io/system:X","policy":"a/p.deny"},
		{"reason":"PolicyDenied","severity":"deny","object":"other/Deployment.apps/web","policy":"a/p.deny"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := o.exceptions(found, time.Now())
	if err != nil || len(got) != 3 {
		t.Fatalf("%d exceptions, %v", len(got), err)
	}
	if p := got[0].Spec.Policies; len(p) != 2 || len(p[0].Rules) != 1 || p[1].PolicySet != "b" {
		t.Errorf("rules %+v", p)
	}
	if m := got[1]; m.Metadata["name"] != "clusterrole-system-x" || m.Metadata["namespace"] != "" || len(m.Spec.Match.Namespaces) != 0 || m.Spec.Match.Kinds[0].APIGroup != "rbac.authorization.k8s.io" {
		t.Errorf("of an object in no namespace: %+v", m)
	}
	if a, b := got[0].Metadata["name"], got[2].Metadata["name"]; a != "deployment-web" || b != "deployment-web-2" {
		t.Errorf("names %s and %s", a, b)
	}
}
