package ci

import (
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/test/testkit/lab"
)

// hookOf returns the text of the hook that a shell runs for git: ours, or what
// pre-commit runs by .pre-commit-hooks.yaml, with its arguments added at the end.
func hookOf(t *testing.T, framework bool, shell string) string {
	t.Helper()
	if !framework {
		return "#!/usr/bin/env " + shell + "\n" + strings.TrimPrefix(read(t, ciFile("pre-commit", "pre-commit")), "#!/bin/sh\n")
	}
	var hooks []struct {
		ID, Name, Description, Language, Entry string
		PassFilenames                          *bool    `json:"pass_filenames"`
		AlwaysRun                              bool     `json:"always_run"`
		Minimum                                string   `json:"minimum_pre_commit_version"`
		Stages                                 []string `json:"stages"`
	}
	if err := yaml.UnmarshalStrict([]byte(read(t, filepath.Join(lab.ModuleRoot(), ".pre-commit-hooks.yaml"))), &hooks); err != nil {
		t.Fatal(err)
	}
	if len(hooks) != 1 {
		t.Fatalf("%d hooks", len(hooks))
	}
	h := hooks[0]
	// File names would be taken for arguments, and a commit that only deletes has none.
	if h.ID != "gitgate" || h.Language != "system" || h.PassFilenames == nil || *h.PassFilenames || !h.AlwaysRun {
		t.Errorf("%+v", h)
	}
	return "#!/usr/bin/env " + shell + "\nexec " + h.Entry + " -c gitgate\n"
}

// workTree clones a project with a hook.
func workTree(t *testing.T, p *project, hook string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "work")
	git(t, p.Dir, "clone", "-q", "file://"+p.Dir, dir)
	write(t, filepath.Join(dir, ".git", "hooks", "pre-commit"), hook, 0o755)
	return dir
}

func TestPreCommit(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		// commit stages something and returns the arguments of git commit.
		commit func(t *testing.T, dir string) []string
		// refused is what git commit says; empty is committed.
		refused string
	}{
		"Good": {"What is staged is good.", func(t *testing.T, dir string) []string {
			write(t, filepath.Join(dir, "app/more.yaml"), strings.ReplaceAll(settings, "settings", "more"), 0o644)
			git(t, dir, "add", ".")
			return nil
		}, ""},
		"Staged": {"A Secret is staged; the work tree is clean of it.", func(t *testing.T, dir string) []string {
			write(t, filepath.Join(dir, "app/s.yaml"), plaintext, 0o644)
			git(t, dir, "add", ".")
			write(t, filepath.Join(dir, "app/s.yaml"), "", 0o644)
			return nil
		}, "PlaintextSecret"},
		"NotStaged": {"A Secret stands in the work tree; what is staged is clean of it.", func(t *testing.T, dir string) []string {
			write(t, filepath.Join(dir, "app/more.yaml"), strings.ReplaceAll(settings, "settings", "more"), 0o644)
			git(t, dir, "add", ".")
			write(t, filepath.Join(dir, "app/s.yaml"), plaintext, 0o644)
			return nil
		}, ""},
		"All": {"git commit -a stages for this commit alone.", func(t *testing.T, dir string) []string {
			write(t, filepath.Join(dir, "app/settings.yaml"), settings+"---\n"+plaintext, 0o644)
			return []string{"-a"}
		}, "PlaintextSecret"},
		"Partial": {"So does git commit FILE.", func(t *testing.T, dir string) []string {
			write(t, filepath.Join(dir, "app/settings.yaml"), settings+"---\n"+plaintext, 0o644)
			return []string{"app/settings.yaml"}
		}, "PlaintextSecret"},
		"PartialWithout": {"What is staged and is not of this commit is not judged.", func(t *testing.T, dir string) []string {
			write(t, filepath.Join(dir, "app/s.yaml"), plaintext, 0o644)
			git(t, dir, "add", ".")
			write(t, filepath.Join(dir, "app/settings.yaml"), settings+"# touched\n", 0o644)
			return []string{"app/settings.yaml"}
		}, ""},
		"Policy": {"Rules count too.", func(t *testing.T, dir string) []string {
			write(t, filepath.Join(dir, "app/settings.yaml"), strings.ReplaceAll(settings, "blue", "red"), 0o644)
			return []string{"-a"}
		}, "too loud"},
		"Broken": {"So does what is no manifest.", func(t *testing.T, dir string) []string {
			write(t, filepath.Join(dir, "app/settings.yaml"), "a: [\n", 0o644)
			return []string{"-a"}
		}, "InvalidManifest"},
		"NoConfiguration": {"Without a configuration nothing is judged, and nothing committed.", func(t *testing.T, dir string) []string {
			git(t, dir, "rm", "-qr", "gitgate")
			return nil
		}, "gitgate"},
	} {
		for _, framework := range []bool{false, true} {
			for _, shell := range shells {
				kind := map[bool]string{false: "Hook", true: "Framework"}[framework]
				t.Run(kind+"/"+shell+"/"+name, func(t *testing.T) {
					dir := workTree(t, newProject(t), hookOf(t, framework, shell))
					args := append([]string{"commit", "-q", "-m", "x"}, tc.commit(t, dir)...)
					before := git(t, dir, "rev-parse", "HEAD")
					code, out := run(t, dir, environment(), "git", args...)
					moved := git(t, dir, "rev-parse", "HEAD") != before
					if moved != (tc.refused == "") || (code == 0) != moved || !strings.Contains(out, tc.refused) {
						t.Errorf("%s\nexit %d, committed %t\n%s", tc.reason, code, moved, out)
					}
					if strings.Contains(out, "hunter2") {
						t.Errorf("the Secret is shown:\n%s", out)
					}
				})
			}
		}
	}
}

// The hook is set up by git config, and refuses when it cannot run.
func TestPreCommitSettings(t *testing.T) {
	for name, tc := range map[string]struct {
		reason  string
		config  [][]string
		refused string
	}{
		"Apart":    {"The configuration may lie elsewhere.", [][]string{{"gitgate.config", "ELSEWHERE"}}, ""},
		"Two":      {"There may be several.", [][]string{{"gitgate.config", "ELSEWHERE"}, {"gitgate.config", "not/there"}}, "not/there"},
		"Revision": {"It may be that of the branch at origin.", [][]string{{"gitgate.config", "origin/main:gitgate"}}, ""},
		"Argument": {"There may be more arguments.", [][]string{{"gitgate.argument", "--path"}, {"gitgate.argument", "no such dir"}}, "no such dir"},
		"NoBinary": {"Nothing is committed without gitgate.", [][]string{{"gitgate.binary", "/not/there"}}, "/not/there is not installed"},
	} {
		for _, shell := range shells {
			t.Run(shell+"/"+name, func(t *testing.T) {
				p := newProject(t)
				dir := workTree(t, p, hookOf(t, false, shell))
				for _, setting := range tc.config {
					git(t, dir, "config", "--add", setting[0], strings.ReplaceAll(setting[1], "ELSEWHERE", p.config))
				}
				code, out := run(t, dir, environment(), "git", "commit", "-q", "--allow-empty", "-m", "x")
				if (code == 0) != (tc.refused == "") || !strings.Contains(out, tc.refused) {
					t.Errorf("%s\nexit %d\n%s", tc.reason, code, out)
				}
			})
		}
	}
}
