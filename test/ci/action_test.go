package ci

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

func TestActionTakesNothingIntoScripts(t *testing.T) {
	a := readAction(t)
	for _, step := range a.Runs.Steps {
		if strings.Contains(step.Run, "${{") {
			t.Errorf("an expression in the text of a script: %s", step.Run)
		}
	}
	if strings.Contains(read(t, ciFile("github", "check.sh")), "${{") {
		t.Error("an expression in check.sh")
	}
}

// A job is one row of TestAction.
type job struct {
	reason  string
	prepare func(t *testing.T, r *runner)
	code    int
	verdict string
	log     string // what it must say
}

var jobs = map[string]job{
	"Good": {"A branch that the cluster would take.", func(_ *testing.T, r *runner) { r.pullRequest(r.p.good("f")) }, 0, "allowed", "gitgate-system/shop: allowed"},
	"Denied": {"One that it would not, shown at its line.", func(_ *testing.T, r *runner) { r.pullRequest(r.p.bad("f")) }, 1, "denied",
		"::error file=app/settings.yaml,line=4"},
	"Unsigned": {"Nobody signed it.", func(_ *testing.T, r *runner) { r.pullRequest(r.p.unsigned("f")) }, 1, "denied", "UnsignedCommit"},
	"OwnJudge": {"A branch that edits what judges it is judged by what it was.", func(_ *testing.T, r *runner) {
		r.pullRequest(r.p.signed(gitrepo.Change{Branch: "f", Parents: []plumbing.Hash{r.p.main}, Files: map[string]string{
			"app/settings.yaml": strings.ReplaceAll(settings, "blue", "red"), "gitgate/gitgate.yaml": "",
		}}))
	}, 1, "denied", "too loud"},
	"ConfigFiles": {"The runner may hold the configuration.", func(t *testing.T, r *runner) {
		r.pullRequest(r.p.good("f"))
		r.inputs["config-files"], r.inputs["config"] = r.p.config, "not/there"
	}, 0, "allowed", ""},
	"NoConfig": {"No configuration, no verdict.", func(t *testing.T, r *runner) {
		r.pullRequest(r.p.good("f"))
		r.inputs["config"] = "not/there"
	}, 2, "error", "::error title=gitgate::gitgate check could not judge (exit 2)"},
	"Push": {"A push is judged from what was before it.", func(_ *testing.T, r *runner) {
		r.event("push", map[string]any{"before": r.p.main.String(), "after": r.p.bad("f").String()})
	}, 1, "denied", "too loud"},
	"NewBranch": {"A new branch has none: the default branch stands in.", func(_ *testing.T, r *runner) {
		r.event("push", map[string]any{"before": strings.Repeat("0", 40), "after": r.p.bad("f").String()})
	}, 1, "denied", "too loud"},
	"NewBranchGood": {"And lets pass.", func(_ *testing.T, r *runner) {
		r.event("push", map[string]any{"before": strings.Repeat("0", 40), "after": r.p.good("f").String()})
	}, 0, "allowed", ""},
	"FirstPush": {"The default branch itself, new, has nothing before it.", func(t *testing.T, r *runner) {
		head := r.p.bad("f")
		if err := r.p.SetRef("refs/heads/main", head); err != nil {
			t.Fatal(err)
		}
		r.event("push", map[string]any{"before": strings.Repeat("0", 40), "after": head.String()})
	}, 1, "denied", "too loud"},
	"FirstPushUnsigned": {"Nor is any commit of it taken on trust.", func(t *testing.T, r *runner) {
		head := r.p.unsigned("f")
		if err := r.p.SetRef("refs/heads/main", head); err != nil {
			t.Fatal(err)
		}
		r.event("push", map[string]any{"before": strings.Repeat("0", 40), "after": head.String()})
	}, 1, "denied", "UnsignedCommit"},
	"Deleted": {"There is nothing to judge.", func(_ *testing.T, r *runner) {
		r.event("push", map[string]any{"before": r.p.main.String(), "after": strings.Repeat("0", 40)})
	}, 2, "error", "was deleted"},
	"MergeGroup": {"A merge queue says what it will merge.", func(_ *testing.T, r *runner) {
		r.event("merge_group", map[string]any{"merge_group": map[string]any{"base_sha": r.p.main.String(), "head_sha": r.p.unsigned("f").String()}})
	}, 1, "denied", "UnsignedCommit"},
	"Dispatch": {"Other events do not say.", func(_ *testing.T, r *runner) { r.event("workflow_dispatch", map[string]any{}) }, 2, "error", "set base and head"},
	"DispatchWithRange": {"Whoever wrote the workflow can.", func(_ *testing.T, r *runner) {
		r.event("workflow_dispatch", map[string]any{})
		r.inputs["base"], r.inputs["head"] = r.p.main.String(), r.p.good("f").String()
	}, 0, "allowed", ""},
	"Target": {"Strangers' content and this repository's secrets do not meet.", func(_ *testing.T, r *runner) {
		r.pullRequest(r.p.good("f"))
		r.eventName = "pull_request_target"
	}, 2, "error", "Use pull_request"},
	"Shallow": {"History is not there.", func(t *testing.T, r *runner) {
		head := r.p.good("f")
		if err := os.RemoveAll(r.workspace); err != nil {
			t.Fatal(err)
		}
		git(t, r.p.Dir, "clone", "-q", "--depth", "1", "--branch", "f", "file://"+r.p.Dir, r.workspace)
		r.pullRequest(head)
	}, 2, "error", "fetch-depth: 0"},
	"NoRepository": {"Nothing was checked out.", func(_ *testing.T, r *runner) {
		r.pullRequest(r.p.good("f"))
		r.inputs["repository"] = "elsewhere"
	}, 2, "error", "actions/checkout"},
	"UnknownHead": {"A head that was not fetched.", func(_ *testing.T, r *runner) { r.pullRequest(plumbing.NewHash(strings.Repeat("ab", 20))) }, 2, "error", "could not judge"},
	"OptionAsHead": {"What begins with a dash is no option.", func(_ *testing.T, r *runner) {
		r.pullRequest(r.p.good("f"))
		r.inputs["head"] = "--offline"
	}, 2, "error", "could not judge"},
	"NoBinary": {"gitgate is not installed.", func(_ *testing.T, r *runner) {
		r.pullRequest(r.p.good("f"))
		r.inputs["binary"] = "gitgate-is-not-here"
	}, 2, "error", "install gitgate"},
	"Checksum": {"What was installed is what was meant.", func(t *testing.T, r *runner) {
		r.pullRequest(r.p.good("f"))
		r.inputs["sha256"] = fmt.Sprintf("%x", sha256.Sum256([]byte(read(t, gitgate))))
	}, 0, "allowed", ""},
	"WrongChecksum": {"Or not.", func(t *testing.T, r *runner) {
		r.pullRequest(r.p.good("f"))
		r.inputs["sha256"] = strings.Repeat("0", 64)
	}, 2, "error", "not the one that sha256 says"},
	"BinaryOfTheBranch": {"A branch cannot bring its own judge, not by a link either.", func(t *testing.T, r *runner) {
		r.pullRequest(r.p.bad("f"))
		write(t, filepath.Join(r.workspace, "bin", "gitgate"), "#!/bin/sh\nexit 0\n", 0o755)
		link := filepath.Join(t.TempDir(), "gitgate")
		if err := os.Symlink(filepath.Join(r.workspace, "bin", "gitgate"), link); err != nil {
			t.Fatal(err)
		}
		r.inputs["binary"] = link
	}, 2, "error", "lies in the workspace"},
	"Crash": {"A judge that dies has not allowed.", func(t *testing.T, r *runner) {
		r.pullRequest(r.p.good("f"))
		r.inputs["binary"] = filepath.Join(t.TempDir(), "crash")
		write(t, r.inputs["binary"], "#!/bin/sh\nkill -9 $$\n", 0o755)
	}, 2, "error", "exit 137"},
	"Lines": {"An output is one line.", func(_ *testing.T, r *runner) {
		r.pullRequest(r.p.good("f"))
		r.inputs["sarif-file"] = "x\nverdict=allowed"
	}, 2, "error", "single line"},
	"Args": {"Arguments are one a line.", func(_ *testing.T, r *runner) {
		r.pullRequest(r.p.good("f"))
		r.inputs["args"] = "--path\nno such dir\n"
	}, 1, "denied", "no such dir"},
	"GitSync": {"So are GitSyncs.", func(_ *testing.T, r *runner) {
		r.pullRequest(r.p.good("f"))
		r.inputs["gitsync"] = "gitgate-system/shop\na/b\n"
	}, 2, "error", "--gitsync a/b"},
}

func TestAction(t *testing.T) {
	for _, shell := range shells {
		for name, tc := range jobs {
			t.Run(shell+"/"+name, func(t *testing.T) {
				p := newProject(t)
				r := newRunner(t, shell, p)
				tc.prepare(t, r)
				if name != "UnknownHead" && name != "Shallow" && name != "NoRepository" {
					git(t, r.workspace, "fetch", "-q", "origin", "+refs/heads/*:refs/remotes/origin/*")
				}
				step := r.run()
				if step.code != tc.code || step.outputs["verdict"] != tc.verdict {
					t.Fatalf("%s\nexit %d, want %d, outputs %v\n%s", tc.reason, step.code, tc.code, step.outputs, step.log)
				}
				if !strings.Contains(step.log, tc.log) {
					t.Errorf("%s\nthe log does not say %q:\n%s", tc.reason, tc.log, step.log)
				}
				if !strings.HasPrefix(step.summary, "# Former step\n") {
					t.Errorf("the summary was replaced: %q", step.summary)
				}
				if tc.verdict == "error" {
					if len(step.outputs) != 1 {
						t.Errorf("outputs of a step that judged nothing: %v", step.outputs)
					}
					return
				}
				checkFiles(t, step, tc.verdict == "allowed")
			})
		}
	}
}

// checkFiles looks at what a step that judged has written.
func checkFiles(t *testing.T, step jobStep, allowed bool) {
	t.Helper()
	var sarif struct {
		Version string
		Runs    []struct{ Results []struct{ Level string } }
	}
	if err := json.Unmarshal([]byte(read(t, step.outputs["sarif-file"])), &sarif); err != nil || sarif.Version != "2.1.0" || len(sarif.Runs) == 0 {
		t.Errorf("SARIF: %v, %+v", err, sarif)
	}
	failed := false
	for _, run := range sarif.Runs {
		for _, result := range run.Results {
			failed = failed || result.Level == "error"
		}
	}
	if failed == allowed {
		t.Errorf("SARIF says %+v of what is allowed: %t", sarif, allowed)
	}
	if markdown := read(t, step.outputs["markdown-file"]); markdown == "" || !strings.HasSuffix(step.summary, markdown) {
		t.Errorf("the summary %q does not end with the Markdown %q", step.summary, markdown)
	}
}

// Files are written where the workflow says.
func TestActionWritesWhereItIsTold(t *testing.T) {
	p := newProject(t)
	r := newRunner(t, "dash", p)
	r.pullRequest(p.good("f"))
	git(t, r.workspace, "fetch", "-q", "origin")
	dir := t.TempDir()
	r.inputs["sarif-file"], r.inputs["markdown-file"] = filepath.Join(dir, "a b.sarif"), filepath.Join(dir, "c.md")
	step := r.run()
	if step.code != 0 || step.outputs["sarif-file"] != filepath.Join(dir, "a b.sarif") || step.outputs["markdown-file"] != filepath.Join(dir, "c.md") {
		t.Fatalf("exit %d, %v\n%s", step.code, step.outputs, step.log)
	}
	checkFiles(t, step, true)
}

// What a branch says is neither a command of the shell nor of the runner.
func TestActionOfHostileNames(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			p := newProject(t)
			r := newRunner(t, shell, p)
			mark := filepath.Join(t.TempDir(), "pwned")
			r.pullRequest(p.hostile("f", mark))
			git(t, r.workspace, "fetch", "-q", "origin")
			step := r.run()
			if step.code != 1 {
				t.Fatalf("exit %d\n%s", step.code, step.log)
			}
			if _, err := os.Lstat(mark); err == nil {
				t.Error("a command ran")
			}
			if strings.ContainsAny(step.log, "\x1b\a") {
				t.Errorf("control characters in the log: %q", step.log)
			}
			for _, order := range orders(t, step.log) {
				if !strings.HasPrefix(order, "::error file=app/") {
					t.Errorf("an order that is no annotation of ours: %q", order)
				}
			}
			if len(step.outputs) != 3 {
				t.Errorf("outputs %v", step.outputs)
			}
			// Without the fence the same text would be read for orders.
			if !strings.Contains(step.log, "::stop-commands::") {
				t.Errorf("no fence around the text:\n%s", step.log)
			}
		})
	}
}

// An event's text may be anything: base and head are passed as they are.
func TestActionOfAHostileEvent(t *testing.T) {
	p := newProject(t)
	r := newRunner(t, "dash", p)
	mark := filepath.Join(t.TempDir(), "pwned")
	for _, text := range []string{"$(touch " + mark + ")", "`touch " + mark + "`", "'; touch " + mark + "; '", "\"; touch " + mark, "x\n::error::forged"} {
		r.event("pull_request", map[string]any{"pull_request": map[string]any{"base": map[string]any{"sha": p.main.String()}, "head": map[string]any{"sha": text}}})
		step := r.run()
		if step.code != 2 || step.outputs["verdict"] != "error" {
			t.Errorf("%q: exit %d\n%s", text, step.code, step.log)
		}
		for _, order := range orders(t, step.log) {
			if !strings.HasPrefix(order, "::error title=gitgate::") {
				t.Errorf("%q: an order that is not ours: %q", text, order)
			}
		}
	}
	r.pullRequest(p.main)
	r.inputs["binary"] = "no\n::error::forged\r::warning::100%0A"
	if got := orders(t, r.run().log); len(got) != 1 || got[0] != "::error title=gitgate::no ::error::forged ::warning::100%250A is not there: install gitgate in a step before this one" {
		t.Errorf("orders %q", got)
	}
	if _, err := os.Lstat(mark); err == nil {
		t.Error("a command ran")
	}
}
