package ci

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// A template is what GitLab reads of gitgate.yml.
type template struct {
	Gitgate struct {
		Stage string
		Image struct {
			Name       string
			Entrypoint []string
		}
		Rules     []struct{ If string }
		Variables map[string]string
		Script    []string
		Artifacts struct {
			When    string
			Paths   []string
			Reports map[string]string
		}
	}
}

func readTemplate(t *testing.T) template {
	t.Helper()
	var out template
	if err := yaml.UnmarshalStrict([]byte(read(t, ciFile("gitlab", "gitgate.yml"))), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// runTemplate runs the job on a clone, with the variables that GitLab sets for a
// merge request into main, and more.
func runTemplate(t *testing.T, shell string, p *project, head plumbing.Hash, more map[string]string) (code int, log, dir string) {
	t.Helper()
	job := readTemplate(t).Gitgate
	dir = filepath.Join(t.TempDir(), "clone")
	clone := []string{"clone", "-q", "--no-checkout"}
	if more["GIT_DEPTH"] == "1" {
		clone = append(clone, "--depth", "1")
	}
	git(t, p.Dir, append(clone, "file://"+p.Dir, dir)...)
	variables := map[string]string{
		"CI_COMMIT_SHA": head.String(), "CI_MERGE_REQUEST_DIFF_BASE_SHA": p.main.String(), "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
	}
	for _, set := range []map[string]string{job.Variables, more} {
		for name, value := range set {
			variables[name] = value
		}
	}
	env := environment()
	for name, value := range variables {
		env = append(env, name+"="+value)
	}
	script := filepath.Join(t.TempDir(), "script")
	write(t, script, "set -e\n"+strings.Join(job.Script, "\n"), 0o644)
	code, log = run(t, dir, env, shell, script)
	return code, log, dir
}

func TestGitLabTemplate(t *testing.T) {
	for _, shell := range shells {
		for name, tc := range map[string]struct {
			reason string
			head   func(*project) plumbing.Hash
			more   map[string]string
			code   int
			log    string
		}{
			"Good":     {"A branch that the cluster would take.", func(p *project) plumbing.Hash { return p.good("f") }, nil, 0, "allowed"},
			"Denied":   {"One that it would not.", func(p *project) plumbing.Hash { return p.bad("f") }, nil, 1, "too loud"},
			"Unsigned": {"Nobody signed it.", func(p *project) plumbing.Hash { return p.unsigned("f") }, nil, 1, "UnsignedCommit"},
			"OwnJudge": {"A branch that edits what judges it is judged by what it was.", func(p *project) plumbing.Hash {
				return p.signed(gitrepo.Change{Branch: "f", Parents: []plumbing.Hash{p.main}, Files: map[string]string{
					"app/settings.yaml": strings.ReplaceAll(settings, "blue", "red"), "gitgate/gitgate.yaml": "",
				}})
			}, nil, 1, "too loud"},
			"MergedResults": {"What GitLab merged for the pipeline is not what will be merged.", func(p *project) plumbing.Hash {
				return p.unsigned("merged")
			}, map[string]string{"CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": "good"}, 0, "allowed"},
			"Hostile": {"Names are no commands.", func(p *project) plumbing.Hash { return p.hostile("f", "pwned") },
				map[string]string{"CI_MERGE_REQUEST_TITLE": "$(touch pwned)", "CI_COMMIT_MESSAGE": "`touch pwned`"}, 1, "PolicyDenied"},
			"HostileTarget": {"Neither is that of a branch.", func(p *project) plumbing.Hash { return p.good("f") },
				map[string]string{"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "$(touch${IFS}pwned)`touch${IFS}pwned`"}, 2, "refs/remotes/origin/$(touch"},
			"Shallow": {"History is not there.", func(p *project) plumbing.Hash { return p.good("f") }, map[string]string{"GIT_DEPTH": "1"}, 2, "GIT_DEPTH"},
			"NoBinary": {"gitgate is not in the image.", func(p *project) plumbing.Hash { return p.good("f") },
				map[string]string{"GITGATE_BINARY": "gitgate-is-not-here"}, 127, "gitgate-is-not-here"},
			"NoConfig": {"No configuration, no verdict.", func(p *project) plumbing.Hash { return p.good("f") },
				map[string]string{"GITGATE_CONFIG": "not/there"}, 2, "not/there"},
			"Lines": {"Several values are several lines.", func(p *project) plumbing.Hash { return p.good("f") },
				map[string]string{"GITGATE_GITSYNC": "gitgate-system/shop\na/b", "GITGATE_CONFIG": "gitgate/gitgate.yaml\ngitgate"}, 2, "--gitsync a/b"},
			"Args": {"So are arguments.", func(p *project) plumbing.Hash { return p.good("f") },
				map[string]string{"GITGATE_ARGS": "--path\nno such dir"}, 1, "no such dir"},
		} {
			t.Run(shell+"/"+name, func(t *testing.T) {
				p := newProject(t)
				if tc.more["CI_MERGE_REQUEST_SOURCE_BRANCH_SHA"] != "" {
					tc.more = map[string]string{"CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": p.good("source").String()}
				}
				code, log, dir := runTemplate(t, shell, p, tc.head(p), tc.more)
				if code != tc.code || !strings.Contains(log, tc.log) {
					t.Fatalf("%s\nexit %d, want %d and %q\n%s", tc.reason, code, tc.code, tc.log, log)
				}
				if _, err := os.Lstat(filepath.Join(dir, "pwned")); err == nil || strings.ContainsAny(log, "\x1b\a") {
					t.Errorf("a command ran, or the log holds control characters: %q", log)
				}
				if code < 2 {
					checkReports(t, dir, code == 1)
				}
			})
		}
	}
}

// checkReports reads the artifacts as GitLab does.
func checkReports(t *testing.T, dir string, denied bool) {
	t.Helper()
	artifacts := readTemplate(t).Gitgate.Artifacts
	for _, path := range artifacts.Paths {
		read(t, filepath.Join(dir, path))
	}
	var quality []struct {
		Description, Fingerprint, Severity string
		Location                           struct{ Path string }
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, artifacts.Reports["codequality"]))), &quality); err != nil {
		t.Errorf("code quality: %v", err)
	}
	if denied && len(quality) == 0 {
		t.Error("code quality knows nothing of the denial")
	}
	var suites struct {
		XMLName  xml.Name `xml:"testsuites"`
		Failures int      `xml:"failures,attr"`
	}
	if err := xml.Unmarshal([]byte(read(t, filepath.Join(dir, artifacts.Reports["junit"]))), &suites); err != nil || (suites.Failures > 0) != denied {
		t.Errorf("JUnit: %v, %+v", err, suites)
	}
}

func TestGitLabTemplateFetchesHistory(t *testing.T) {
	job := readTemplate(t).Gitgate
	if job.Variables["GIT_DEPTH"] != "0" || job.Artifacts.When != "always" {
		t.Errorf("%+v", job)
	}
}
