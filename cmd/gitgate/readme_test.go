package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var updateReadme = flag.Bool("update-readme", false, "write the output of the tour into README.md")

const (
	tourBegin = "<!-- tour: run by go test ./cmd/gitgate -run TestReadme -->\n```console\n"
	tourEnd   = "```\n<!-- end of tour -->"
)

// TestReadme runs the tour of README.md and holds it to its output.
func TestReadme(t *testing.T) {
	readme, err := filepath.Abs("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), tourBegin)
	told, after, ok2 := strings.Cut(rest, tourEnd)
	if !ok || !ok2 {
		t.Fatal("README.md has no tour")
	}
	t.Chdir(t.TempDir())
	var shown strings.Builder
	for i, step := range strings.Split("\n"+told, "\n$ ")[1:] {
		command, output, _ := strings.Cut(step, "\n")
		if i > 0 {
			shown.WriteString("\n")
		}
		fmt.Fprintf(&shown, "$ %s\n%s", command, strings.TrimSuffix(tourStep(t, command, output), "\n"))
		shown.WriteString("\n")
	}
	if *updateReadme {
		if err := os.WriteFile(readme, []byte(before+tourBegin+shown.String()+tourEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(told, shown.String()); d != "" {
		t.Errorf("README.md does not show what the commands print (-README +output), run go test ./cmd/gitgate -run TestReadme -update-readme:\n%s", d)
	}
}

// tourStep runs a command: cat writes the file that it shows, gitgate runs.
func tourStep(t *testing.T, command, output string) string {
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
	t.Fatalf("the tour knows cat and gitgate, not %q", words[0])
	return ""
}
