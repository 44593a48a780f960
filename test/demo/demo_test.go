package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/lab"
)

var update = flag.Bool("update", false, "write the transcript into README.md")

const (
	begin = "<!-- transcript: written by go test ./test/demo -update -->\n```text\n"
	end   = "```\n<!-- end of transcript -->"
)

// TestDemo plays the demo and holds README.md to what it prints.
func TestDemo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	binary, err := lab.Binary(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := show(ctx, &out, binary, false); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	readme := filepath.Join(lab.ModuleRoot(), "README.md")
	raw, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), begin)
	told, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("README.md has no transcript")
	}
	shown := strings.TrimLeft(withoutSetUp(out.String()), "\n")
	if *update {
		if err := os.WriteFile(readme, []byte(before+begin+shown+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(normalise(told), normalise(shown)); d != "" {
		t.Errorf("README.md does not show what the demo prints (-README +demo), run go test ./test/demo -update:\n%s", d)
	}
}

// withoutSetUp drops the steps that are not the same on every machine.
func withoutSetUp(s string) string {
	if i := strings.Index(s, "\n1. "); i >= 0 {
		return s[i:]
	}
	return s
}

var varying = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`[0-9a-fA-F]{12,}`), "HASH"},
	{regexp.MustCompile(`main@sha1:[0-9a-f]{7}…`), "REVISION"},
	{regexp.MustCompile(`web-[a-z0-9]+-[a-z0-9]+`), "POD"},
	{regexp.MustCompile(`[0-9]+(\.[0-9]+)?s\b`), "N s"},
	{regexp.MustCompile(`127\.0\.0\.1:[0-9]+`), "HOST"},
}

// normalise replaces what differs from run to run.
func normalise(s string) string {
	for _, v := range varying {
		s = v.pattern.ReplaceAllString(s, v.with)
	}
	return s
}
