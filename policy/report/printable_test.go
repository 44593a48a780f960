package report

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for name, tc := range map[string]struct{ reason, in, want string }{
		"Plain":    {"Text stays.", "spec.containers[0] = \"é界🙂\"", "spec.containers[0] = \"é界🙂\""},
		"ANSI":     {"Escape sequences start with ESC or with C1.", "\x1b[31m\u009b31m", "?[31m?31m"},
		"Lines":    {"A message is one line.", "a\nb\r\nc\td", "a b  c d"},
		"Bidi":     {"Overrides reorder what is read.", "\u202e\u2066\u200f\u061c", "????"},
		"Unseen":   {"What cannot be seen can hide.", "a\u200bb\ufeffc\u00add\U000e0041", "a?b?c?d?"},
		"Breaks":   {"Unicode has line breaks of its own.", "a\u2028b\u2029c\u0085d", "a?b?c?d"},
		"NotUTF8":  {"Bytes that are no text.", "a\xffb", "a\ufffdb"},
		"Azure":    {"Azure obeys wherever it stands.", "x ##vso[task.complete]y ##VSO[a]", "x ##vso [task.complete]y ##VSO [a]"},
		"TeamCity": {"And so does TeamCity.", "##teamcity[buildStatus]", "##teamcity [buildStatus]"},
		"Bracket":  {"Both obey the older mark.", "x ##[error]y", "x ## [error]y"},
		"TabIn":    {"A mark that only appears once a tab is gone.", "##\t[error]", "## [error]"},
		"HiddenIn": {"A mark with something hidden in it.", "##\u200b[error]", "##?[error]"},
		"Headings": {"Number signs alone are text.", "## a # b", "## a # b"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Printable(tc.in); got != tc.want {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

func TestClip(t *testing.T) {
	for _, s := range []string{"", "abc", strings.Repeat("x", 50), strings.Repeat("界", 20), strings.Repeat("🙂", 20)} {
		for n := 3; n < 60; n++ {
			got := clip(s, n)
			if len(got) > n || !utf8.ValidString(got) || len(s) <= n && got != s || len(s) > n && !strings.HasSuffix(got, "…") {
				t.Errorf("clip(%q, %d) = %q", s, n, got)
			}
		}
	}
}
