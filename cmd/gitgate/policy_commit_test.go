package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// changeRule says of everything what becomes of it and who says so.
const changeRule = `package change

warn contains sprintf("%s by %s of %v, signed by %v, in %v", [input.operation, input.commit.author, old, input.commit.signers, input.commit.paths])

old := input.oldObject.data.count

old := "nothing" if not input.oldObject
`

func configMapNamed(name, n string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: shop}\ndata: {count: \"" + n + "\"}\n"
}

// TestPolicyEvalCommit judges what a commit makes of its parent.
func TestPolicyEvalCommit(t *testing.T) {
	repo := gitrepo.For(t)
	repo.Commit(gitrepo.Change{Files: map[string]string{
		"app/a.yaml": configMapNamed("a", "1"), "app/b.yaml": configMapNamed("b", "1"), "other/x.yaml": "not: valid\n",
	}})
	repo.Commit(gitrepo.Change{
		Files: map[string]string{"app/a.yaml": configMapNamed("a", "2"), "app/c.yaml": configMapNamed("c", "1")}, Delete: []string{"app/b.yaml"},
	})
	writeTree(t, map[string]string{"rules/change.rego": changeRule, "none/x.rego": "package x\ndeny contains \"no\" if false\n"})
	eval := func(args ...string) (int, string, string) {
		var out, errs strings.Builder
		code := run(append([]string{"policy", "eval", "--repo", repo.Dir, "--commit", "main"}, args...), strings.NewReader(""), &out, &errs)
		return code, out.String(), errs.String()
	}
	code, stdout, stderr := eval("-p", "rules", "--path", "app", "--signer", "alice")
	var got []string
	for line := range strings.Lines(stdout) {
		_, text, _ := strings.Cut(line, "shop/ConfigMap/")
		name, text, _ := strings.Cut(text, ":")
		_, text, ok := strings.Cut(text, "] ")
		if by, rest, _ := strings.Cut(text, " by "); ok {
			_, rest, _ = strings.Cut(rest, "> of ")
			got = append(got, name+": "+by+" of "+strings.TrimSpace(rest))
		}
	}
	const signed = `, signed by ["alice"], in ["app/a.yaml", "app/b.yaml", "app/c.yaml"]`
	want := []string{`a: UPDATE of 1` + signed, `b: DELETE of 1` + signed, `c: CREATE of nothing` + signed}
	if diff := cmp.Diff(want, got); diff != "" || code != 0 || stderr != "" {
		t.Errorf("exit code %d, stderr %q\n%s\n%s", code, stderr, stdout, diff)
	}
	// Without --path all of the repository is rendered, and what is no object is told.
	if code, stdout, _ := eval("-p", "none"); code != 1 || !strings.Contains(stdout, "other/x.yaml") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"Unknown": {[]string{"--commit", "gone", "-p", "rules"}, "--commit: "},
		"Files":   {[]string{"a.yaml", "-p", "rules"}, "files are judged without --commit"},
		"Live":    {[]string{"--live", "-p", "rules"}, "commit"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, stdout, stderr := eval(tc.args...); code != 2 || stdout != "" || !strings.Contains(stderr, tc.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q, want %q", code, stdout, stderr, tc.want)
			}
		})
	}
}

func TestPolicyEvalFlags(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"Signer": {[]string{"a.yaml", "--signer", "alice"}, "--path and --signer are of --commit"},
		"Kinds":  {[]string{"a.yaml", "--kinds", "Pod"}, "are of --live"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := runPolicyEval(t, map[string]string{"a.yaml": goodConfigMap}, "", append(tc.args, "--pack", "pod-security-baseline")...)
			if code != 2 || !strings.Contains(stderr, tc.want) {
				t.Errorf("exit code %d, stderr %q, want %q", code, stderr, tc.want)
			}
		})
	}
}

func TestPolicyEvalExplain(t *testing.T) {
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\n"
	code, stdout, stderr := runPolicyEval(t, map[string]string{
		"a.yaml":       secret,
		"rules/a.rego": "package a\n\ndeny contains \"a password\" if {\n\tp := input.object.stringData.password\n\tp != \"\"\n}\n",
	}, "", "a.yaml", "-p", "rules", "--explain")
	want := "rules/a.deny on Secret/s:\n  a.rego:3: a.deny holds\n    a.rego:4: p := input.object.stringData.password\n    a.rego:5: p != \"\"\n    where p is \"(redacted)\"\n"
	if diff := cmp.Diff(want, stderr); diff != "" || code != 1 || strings.Contains(stdout+stderr, "hunter2") {
		t.Errorf("exit code %d: %s\n%s", code, stdout, diff)
	}
}
