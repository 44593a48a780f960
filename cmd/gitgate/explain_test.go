package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

func explain(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(append([]string{"explain"}, args...), strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestExplainReason(t *testing.T) {
	code, out, errs := explain(t, "", "imageunsigned")
	if code != exitAllowed || errs != "" || !strings.HasPrefix(out, "ImageUnsigned: ") {
		t.Errorf("exit %d, stderr %q, stdout %q", code, errs, out)
	}
	for _, part := range []string{"\nStage: image\n", "\nWhy: ", "\nWhat to do: "} {
		if !strings.Contains(out, part) {
			t.Errorf("lacks %q: %s", part, out)
		}
	}
	code, out, _ = explain(t, "")
	for _, r := range report.Reasons() {
		if code != exitAllowed || !strings.Contains(out, "  "+string(r)+" ") {
			t.Errorf("exit %d, the list lacks %s", code, r)
		}
	}
	_, out, _ = explain(t, "", "-o", "json")
	var list []report.Explanation
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != len(report.Reasons()) {
		t.Errorf("%d reasons as JSON, %v", len(list), err)
	}
	if code, out, errs = explain(t, "", "Nonsense"); code != exitUsage || out != "" || !strings.Contains(errs, "neither a reason nor a file") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, out, errs)
	}
}

// TestExplainVerdict walks through what check writes.
func TestExplainVerdict(t *testing.T) {
	r := newCheckRepo(t)
	head := r.feature(gitrepo.Change{Files: map[string]string{"app/web.yaml": strings.ReplaceAll(webManifest("registry.example.com/web"+digest), "{app: web}", "{app: shop}")}})
	_, verdicts, _ := r.check("--base", "main", "--head", head.String(), "-o", "json")
	file := filepath.Join(t.TempDir(), "verdict.json")
	if err := os.WriteFile(file, []byte(verdicts), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := explain(t, "", file)
	if code != exitAllowed || errs != "" {
		t.Fatalf("exit %d, stderr %q", code, errs)
	}
	at := 0
	for _, part := range []string{
		"refused: gitgate-system/shop main@sha1:" + head.String(), "commit    passed in ", "policy    failed in ",
		"  deny PolicyDenied at app/web.yaml:7 by rule acme/acme.deny\n    the app must be web\n    means: ", "    next:  ", "apply     skipped",
	} {
		i := strings.Index(out[at:], part)
		if i < 0 {
			t.Fatalf("lacks %q, or has it elsewhere:\n%s", part, out)
		}
		at += i
	}
	if _, piped, _ := explain(t, verdicts, "-"); piped != out {
		t.Errorf("by standard input:\n%s", piped)
	}
}

// TestExplainLogs reads lines of decision logs.
func TestExplainLogs(t *testing.T) {
	reconciler := `{"time":"2026-01-01T00:00:00Z","door":"reconciler","gitSync":"team/shop","verdict":{"kind":"Verdict","allowed":true,"undetermined":false,"revision":"main@sha1:1","objects":3,"findings":[],"stages":[{"stage":"commit","status":"passed","seconds":0.1}]}}`
	webhook := `{"time":"2026-01-01T00:00:00Z","door":"webhook","gitSync":"team/shop","uid":"1","user":"eve\u001b[2J","allowed":false,"reason":"NotInGit","message":"nothing of the kind","findings":[{"stage":"admission","reason":"NotInGit","severity":"deny","message":"nothing\n::error::of the kind","object":"shop/Pod/x"}]}`
	code, out, errs := explain(t, reconciler+"\n"+webhook+"\n", "-")
	if code != exitAllowed || errs != "" {
		t.Fatalf("exit %d, stderr %q", code, errs)
	}
	for _, part := range []string{"allowed: team/shop main@sha1:1 (reconciler)\n", "refused: team/shop (webhook), asked by eve?[2J\n", "  deny NotInGit at shop/Pod/x\n    nothing ::error::of the kind\n"} {
		if !strings.Contains(out, part) {
			t.Errorf("lacks %q:\n%q", part, out)
		}
	}
	for name, bad := range map[string]string{"Nothing": "", "Text": "hello", "Other": `{"kind":"Pod"}`, "Half": reconciler + "{"} {
		t.Run(name, func(t *testing.T) {
			if code, _, errs := explain(t, bad, "-"); code != exitUsage || !strings.HasPrefix(errs, "gitgate: -") {
				t.Errorf("exit %d, stderr %q", code, errs)
			}
		})
	}
}
