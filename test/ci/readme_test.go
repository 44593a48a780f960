package ci

import (
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/test/testkit/lab"
)

// snippet returns the block of deploy/README.md that stands after a text.
func snippet(t *testing.T, language, after string) string {
	t.Helper()
	_, section, _ := strings.Cut(read(t, filepath.Join(lab.ModuleRoot(), "deploy", "README.md")), "\n## Before the merge\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, rest, ok := strings.Cut(section, after)
	_, rest, ok2 := strings.Cut(rest, "```"+language+"\n")
	block, _, ok3 := strings.Cut(rest, "\n```")
	if !ok || !ok2 || !ok3 {
		t.Fatalf("deploy/README.md has no %s after %q", language, after)
	}
	return block + "\n"
}

// The commands of the README set up what they say.
func TestReadmePreCommit(t *testing.T) {
	dir := workTree(t, newProject(t), "")
	commands := strings.ReplaceAll(snippet(t, "sh", "as a hook of its own"), "/opt/gitgate", lab.ModuleRoot())
	if code, out := run(t, dir, environment(), "sh", "-euc", commands); code != 0 {
		t.Fatal(out)
	}
	write(t, filepath.Join(dir, "app/s.yaml"), plaintext, 0o644)
	git(t, dir, "add", ".")
	if code, out := run(t, dir, environment(), "git", "commit", "-m", "x"); code == 0 || !strings.Contains(out, "PlaintextSecret") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

func TestReadmePreReceive(t *testing.T) {
	p := newProject(t)
	server := filepath.Join(t.TempDir(), "shop.git")
	git(t, p.Dir, "init", "-q", "--bare", "-b", "main", server)
	git(t, p.Dir, "push", "-q", "file://"+server, p.main.String()+mainRef)
	commands := strings.NewReplacer("/opt/gitgate", lab.ModuleRoot(), "/srv/git/shop.git", server, "/etc/gitgate/shop", p.config).
		Replace(snippet(t, "sh", "**On the Git server**"))
	if code, out := run(t, "/", environment(), "sh", "-euc", commands); code != 0 {
		t.Fatal(out)
	}
	for _, tc := range []struct {
		head, ref string
		want      bool
	}{
		{p.bad("bad").String(), "refs/heads/main", false},
		{p.bad("bad").String(), "refs/heads/release-1", false},
		{p.bad("bad").String(), "refs/heads/topic", true},
		{p.good("good").String(), "refs/heads/main", true},
	} {
		if code, out := run(t, p.Dir, environment(), "git", "push", "file://"+server, tc.head+":"+tc.ref); (code == 0) != tc.want {
			t.Errorf("push to %s: exit %d\n%s", tc.ref, code, out)
		}
	}
}

// What the README has a forge read names what there is.
func TestReadmeNamesWhatThereIs(t *testing.T) {
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct {
				ID, Uses, Run, If string
				With              map[string]any
			}
		}
	}
	if err := yaml.Unmarshal([]byte(snippet(t, "yaml", "by GitHub Actions")), &workflow); err != nil {
		t.Fatal(err)
	}
	a := readAction(t)
	found := false
	for _, step := range workflow.Jobs["check"].Steps {
		if strings.HasPrefix(step.Uses, "actions/checkout@") && step.With["fetch-depth"] != float64(0) {
			t.Errorf("the clone would be shallow: %v", step.With)
		}
		if file, ok := step.With["sarif_file"].(string); ok {
			_, name, _ := strings.Cut(strings.Trim(file, "${} "), "steps.gitgate.outputs.")
			if _, ok := a.Outputs[name]; !ok {
				t.Errorf("the action has no output %q", name)
			}
		}
		if !strings.Contains(step.Uses, "/deploy/ci/github@") {
			continue
		}
		found = true
		for name := range step.With {
			if _, ok := a.Inputs[name]; !ok {
				t.Errorf("the action has no input %q", name)
			}
		}
	}
	if !found {
		t.Error("the workflow does not use the action")
	}
	if framework := snippet(t, "yaml", "With [pre-commit]"); !strings.Contains(framework, "id: gitgate ") {
		t.Errorf("no hook gitgate in\n%s", framework)
	}
	if include := snippet(t, "yaml", "by GitLab"); !strings.Contains(include, "GITGATE_IMAGE:") || readTemplate(t).Gitgate.Image.Name != "$GITGATE_IMAGE" {
		t.Errorf("the image of the job is not set by\n%s", include)
	}
}
