package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

var updateReadme = flag.Bool("update-readme", false, "write the output of the tour into README.md")

// The tours of README.md, each between two comments.
const tourEnd = "```\n<!-- end of tour -->"

func tourBegin(name string) string {
	return "<!-- " + name + ": run by go test ./cmd/gitgate -run TestReadme -->\n```console\n"
}

// TestReadme runs the tours of README.md and holds it to their output.
func TestReadme(t *testing.T) {
	readme, err := filepath.Abs("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, name := range []string{"tour", "pull request"} {
		before, rest, ok := strings.Cut(text, tourBegin(name))
		told, after, ok2 := strings.Cut(rest, tourEnd)
		if !ok || !ok2 {
			t.Fatalf("README.md has no tour %q", name)
		}
		shown := tour(t, name, told)
		if d := cmp.Diff(told, shown); d != "" && !*updateReadme {
			t.Errorf("README.md does not show what the commands print (-README +output), run go test ./cmd/gitgate -run TestReadme -update-readme:\n%s", d)
		}
		text = before + tourBegin(name) + shown + tourEnd + after
	}
	if *updateReadme {
		if err := os.WriteFile(readme, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// commitHash is another one in every run.
var commitHash = regexp.MustCompile(`\b[0-9a-f]{40}\b`)

// tour runs the commands of a tour in a directory of its own.
func tour(t *testing.T, name, told string) string {
	t.Helper()
	steps := tourSteps{t: t}
	t.Chdir(t.TempDir())
	if name == "pull request" {
		steps.pullRequest()
	}
	var shown strings.Builder
	for i, step := range strings.Split("\n"+told, "\n$ ")[1:] {
		command, output, _ := strings.Cut(step, "\n")
		if i > 0 {
			shown.WriteString("\n")
		}
		fmt.Fprintf(&shown, "$ %s\n", command)
		if said := strings.TrimRight(commitHash.ReplaceAllString(steps.run(command, output), "<commit>"), "\n"); said != "" {
			shown.WriteString(said + "\n")
		}
	}
	return shown.String()
}

// tourSteps runs single commands.
type tourSteps struct {
	t    *testing.T
	repo *checkRepo // of the pull request
}

// run runs a command: cat writes the file that it shows, gitgate runs, and git commits
// what a person would have done.
func (s *tourSteps) run(command, output string) string {
	t := s.t
	t.Helper()
	words := strings.Fields(command)
	switch words[0] {
	case "cat":
		output = strings.TrimRight(output, "\n") + "\n"
		if err := os.MkdirAll(filepath.Dir(words[1]), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(words[1], []byte(output), 0o644); err != nil {
			t.Fatal(err)
		}
		return output
	case "gitgate":
		var out bytes.Buffer
		code := run(words[1:], strings.NewReader(""), &out, &out)
		if code != exitAllowed {
			fmt.Fprintf(&out, "exit status %d\n", code)
		}
		return out.String()
	}
	if s.repo != nil && words[0] == "git" && words[1] == "commit" {
		s.commit(strings.Trim(command[strings.Index(command, " -m ")+4:], `"`), podManifest(2, ""))
		return ""
	}
	t.Fatalf("the tour cannot run %q", command)
	return ""
}

func podManifest(replicas int, more string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
%s      containers:
        - name: web
          image: registry.example.com/web%s
`, replicas, more, digest)
}

// pullRequest sets up a repository whose branch is checked out, and gitgate beside
// it with what judges.
func (s *tourSteps) pullRequest() {
	t := s.t
	t.Helper()
	s.repo = newCheckRepo(t)
	config, err := os.ReadFile(s.repo.config)
	if err != nil {
		t.Fatal(err)
	}
	policies := "---\napiVersion: gitgate.dev/v1alpha1\nkind: PolicySet\nmetadata: {name: acme}\nspec: {source: {library: [pod-security-baseline]}}\n"
	sync, _, _ := strings.Cut(string(config), "---\napiVersion: gitgate.dev/v1alpha1\nkind: PolicySet")
	s.repo.main = s.repo.signed(gitrepo.Change{Files: map[string]string{"app/web.yaml": podManifest(1, "")}})
	t.Chdir(s.repo.Dir)
	if err := os.Mkdir("gitgate", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("gitgate/shop.yaml", []byte(sync+policies), 0o600); err != nil {
		t.Fatal(err)
	}
	s.commit("web: two replicas", podManifest(2, "      hostNetwork: true\n"))
}

// commit commits the manifest on the branch, signed, and checks the branch out.
func (s *tourSteps) commit(message, manifest string) {
	t := s.t
	t.Helper()
	head := s.repo.feature(gitrepo.Change{Message: message, Files: map[string]string{"app/web.yaml": manifest}})
	if err := os.WriteFile(filepath.Join(s.repo.Dir, ".git", "HEAD"), []byte(head.String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
