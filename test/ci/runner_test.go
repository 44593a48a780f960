package ci

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"sigs.k8s.io/yaml"
)

// An action is what GitHub reads of action.yml.
type action struct {
	Name, Description string
	Inputs            map[string]struct {
		Description, Default string
	}
	Outputs map[string]struct {
		Description, Value string
	}
	Runs struct {
		Using string
		Steps []struct {
			ID, Shell, Run string
			Env            map[string]string
		}
	}
}

func readAction(t *testing.T) action {
	t.Helper()
	var a action
	if err := yaml.UnmarshalStrict([]byte(read(t, ciFile("github", "action.yml"))), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// A runner runs the action on a clone of a project, as GitHub's does.
type runner struct {
	t         *testing.T
	p         *project
	shell     string // runs check.sh
	workspace string
	inputs    map[string]string
	github    map[string]any
	eventName string
	env       []string
}

// A jobStep is what came of a step.
type jobStep struct {
	code         int
	log, summary string
	outputs      map[string]string
}

func newRunner(t *testing.T, shell string, p *project) *runner {
	t.Helper()
	r := &runner{t: t, p: p, shell: shell, workspace: filepath.Join(t.TempDir(), "work space"), inputs: map[string]string{}}
	git(t, p.Dir, "clone", "-q", "--no-checkout", "file://"+p.Dir, r.workspace)
	r.event("pull_request", map[string]any{})
	return r
}

func (r *runner) event(name string, event map[string]any) {
	event["repository"] = map[string]any{"default_branch": "main"}
	r.eventName, r.github = name, map[string]any{"event": event, "event_name": name}
}

// pullRequest is the event of a branch that shall be merged into main.
func (r *runner) pullRequest(head plumbing.Hash) {
	r.event("pull_request", map[string]any{"pull_request": map[string]any{
		"base": map[string]any{"sha": r.p.main.String()}, "head": map[string]any{"sha": head.String()},
	}})
}

var expression = regexp.MustCompile(`\$\{\{(.*?)\}\}`)

// evaluate is the part of GitHub's expressions that the action uses: paths of a
// context, and || between them.
func (r *runner) evaluate(text string) string {
	return expression.ReplaceAllStringFunc(text, func(e string) string {
		for _, term := range strings.Split(strings.Trim(e, "${} "), "||") {
			path := strings.Split(strings.TrimSpace(term), ".")
			var at any = map[string]any{"inputs": r.inputs, "github": r.github}
			for _, name := range path {
				switch m := at.(type) {
				case map[string]any:
					at = m[name]
				case map[string]string:
					at = m[name]
				default:
					at = nil
				}
			}
			if s, ok := at.(string); ok && s != "" {
				return s
			}
		}
		return ""
	})
}

// run runs the only step.
func (r *runner) run() jobStep {
	t := r.t
	t.Helper()
	a, temp := readAction(t), t.TempDir()
	for name, in := range a.Inputs {
		if _, ok := r.inputs[name]; !ok {
			r.inputs[name] = in.Default
		}
	}
	if len(a.Runs.Steps) != 1 || a.Runs.Using != "composite" || a.Runs.Steps[0].Shell != "bash" {
		t.Fatalf("this test knows one step of bash: %+v", a.Runs)
	}
	step := a.Runs.Steps[0]
	scripts := filepath.Join(temp, "bin") // sh is the shell under test
	if err := os.Mkdir(scripts, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(scripts, "sh"), "#!/bin/bash\nexec "+r.shell+" \"$@\"\n", 0o755)
	files := map[string]string{"GITHUB_OUTPUT": "", "GITHUB_STEP_SUMMARY": "# Former step\n", "GITHUB_ENV": "", "GITHUB_PATH": ""}
	env := environment("GITHUB_EVENT_NAME="+r.eventName, "GITHUB_WORKSPACE="+r.workspace, "RUNNER_TEMP="+temp, "GITHUB_ACTION_PATH="+ciFile("github"))
	env[0] = "PATH=" + scripts + ":" + strings.TrimPrefix(env[0], "PATH=")
	for name, content := range files {
		write(t, filepath.Join(temp, name), content, 0o644)
		env = append(env, name+"="+filepath.Join(temp, name))
	}
	for name, value := range step.Env {
		env = append(env, name+"="+r.evaluate(value))
	}
	write(t, filepath.Join(temp, "step.sh"), r.evaluate(step.Run), 0o644)
	var out jobStep
	out.code, out.log = run(t, r.workspace, append(env, r.env...), "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", filepath.Join(temp, "step.sh"))
	out.summary, out.outputs = read(t, filepath.Join(temp, "GITHUB_STEP_SUMMARY")), map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(read(t, filepath.Join(temp, "GITHUB_OUTPUT"))), "\n") {
		name, value, ok := strings.Cut(line, "=")
		if !ok && line != "" {
			t.Errorf("line %q among the outputs", line)
		}
		out.outputs[name] = value
	}
	if read(t, filepath.Join(temp, "GITHUB_ENV"))+read(t, filepath.Join(temp, "GITHUB_PATH")) != "" {
		t.Error("the step changed the environment of later ones")
	}
	return out
}

// orders are the workflow commands that the runner would carry out, by its rules:
// none between ::stop-commands::TOKEN and ::TOKEN::, all lines else that begin with
// :: after space, or hold ##[.
func orders(t *testing.T, log string) []string {
	t.Helper()
	var out []string
	token := ""
	for _, line := range strings.FieldsFunc(log, func(c rune) bool { return c == '\n' || c == '\r' }) {
		line = strings.TrimSpace(line)
		stop, stops := strings.CutPrefix(line, "::stop-commands::")
		switch {
		case token != "":
			if line == "::"+token+"::" {
				token = ""
			}
		case stops:
			token = stop
		case strings.HasPrefix(line, "::") || strings.Contains(line, "##["):
			out = append(out, line)
		}
	}
	if token != "" {
		t.Errorf("commands are never taken up again:\n%s", log)
	}
	return out
}
