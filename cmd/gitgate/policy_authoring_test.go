package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/registry"
)

var updateAuthoring = flag.Bool("update-authoring", false, "write the output of the commands into policies/authoring.md")

// TestAuthoring runs the commands of policies/authoring.md, one after the other in
// one directory, and holds it to their output.
func TestAuthoring(t *testing.T) {
	file, err := filepath.Abs("../../policies/authoring.md")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // nobody's credentials
	t.Setenv(passwordVariable, "")
	shop := registry.New(t, registry.Options{}).Host()
	var shown strings.Builder
	ran := 0
	for i, part := range strings.Split(string(raw), "```") {
		if i > 0 {
			shown.WriteString("```")
		}
		switch text, isConsole := strings.CutPrefix(part, "console\n"); {
		case i%2 == 1 && isConsole:
			shown.WriteString("console\n" + authoringSteps(t, shop, text))
			ran++
		case i%2 == 1 && strings.HasPrefix(part, "sh\n"):
			for command := range strings.Lines(strings.TrimPrefix(part, "sh\n")) {
				var out bytes.Buffer
				if code := run(shellWords(command)[1:], strings.NewReader(""), &out, &out); code != exitAllowed {
					t.Errorf("%s: exit code %d\n%s", command, code, out.String())
				}
			}
			fallthrough
		default:
			shown.WriteString(part)
		}
	}
	if ran < 8 {
		t.Errorf("%d consoles were run", ran)
	}
	if *updateAuthoring {
		if err := os.WriteFile(file, []byte(shown.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(raw), shown.String()); diff != "" {
		t.Errorf("policies/authoring.md does not show what the commands print: run go test ./cmd/gitgate -run TestAuthoring -update-authoring\n%s", diff)
	}
}

// exampleRegistry stands for a registry that runs, digestOfBundle for what another
// compressor makes another.
const exampleRegistry = "registry.example.com"

var digestOfBundle = regexp.MustCompile(`\bsha256:[0-9a-f]{64}\b`)

// authoringSteps runs a console and gives what it shows.
func authoringSteps(t *testing.T, shop, told string) string {
	t.Helper()
	var shown strings.Builder
	for i, step := range strings.Split("\n"+told, "\n$ ")[1:] {
		command, output, _ := strings.Cut(step, "\n")
		if i > 0 {
			shown.WriteString("\n")
		}
		fmt.Fprintf(&shown, "$ %s\n", command)
		if strings.HasPrefix(command, "git commit ") {
			commitAll(t)
			continue
		}
		if command == "cosign generate-key-pair" {
			key := registry.MustKey(t, registry.ECDSAP256)
			writeFiles(t, map[string]string{"cosign.key": key.MustPrivate(t), "cosign.pub": key.Public})
			continue
		}
		words := shellWords(strings.ReplaceAll(command, exampleRegistry+"/", shop+"/"))
		said := ""
		if words[0] == "gitgate" {
			var out bytes.Buffer
			if slices.Contains([]string{"push", "pull", "sign"}, words[2]) {
				words = append(words, "--allow-loopback-http")
			}
			if code := run(words[1:], strings.NewReader(""), &out, &out); code != exitAllowed {
				fmt.Fprintf(&out, "exit status %d\n", code)
			}
			said = digestOfBundle.ReplaceAllString(strings.ReplaceAll(out.String(), shop, exampleRegistry), "sha256:<digest>")
		} else {
			said = (&tourSteps{t: t}).run(command, output)
		}
		if said = strings.TrimRight(commitHash.ReplaceAllString(said, "<commit>"), "\n"); said != "" {
			shown.WriteString(said + "\n")
		}
	}
	return shown.String()
}

func writeFiles(t *testing.T, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// shellWords splits a command as a shell does that knows single quotes only.
func shellWords(command string) []string {
	var out []string
	for i, part := range strings.Split(strings.TrimSpace(command), "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

// commitAll makes a repository of the current directory, with a manifest.
func commitAll(t *testing.T) {
	t.Helper()
	repo, err := gitrepo.Init(".")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Commit(gitrepo.Change{Files: map[string]string{
		"deploy/web.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {ports: [{port: 80}]}\n",
	}}); err != nil {
		t.Fatal(err)
	}
}
