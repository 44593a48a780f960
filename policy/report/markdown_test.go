package report

import (
	"regexp"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy/verdict"
)

// outsideCode gives what of Markdown is left when blocks of code, and code spans by
// the rule of CommonMark 6.1, are taken out.
func outsideCode(text string) string {
	var kept []string
	fence := ""
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		run := trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, "`"))]
		switch {
		case fence != "" && run == trimmed && len(run) >= len(fence):
			fence = ""
		case fence != "":
		case len(run) >= 3 && !strings.Contains(trimmed[len(run):], "`"):
			fence = run
		default:
			kept = append(kept, spansOut(line))
		}
	}
	return strings.Join(kept, "") + fence
}

func spansOut(line string) string {
	var out strings.Builder
	for {
		start := strings.IndexByte(line, '`')
		if start < 0 {
			out.WriteString(line)
			return out.String()
		}
		rest := strings.TrimLeft(line[start:], "`")
		n := len(line) - start - len(rest)
		out.WriteString(line[:start])
		end := -1
		for i := 0; i < len(rest); {
			if rest[i] != '`' {
				i++
				continue
			}
			run := len(rest[i:]) - len(strings.TrimLeft(rest[i:], "`"))
			if run == n {
				end = i
				break
			}
			i += run
		}
		if end < 0 {
			out.WriteString(line[start:])
			return out.String()
		}
		out.WriteString("\x00") // a span was here
		line = rest[end+n:]
	}
}

// markup is all that gitgate itself writes beside words.
var markup = regexp.MustCompile(`</?details>|</?summary>|<!-- gitgate check -->|^### |\*\*|^ *- |[❌✅⚠️]`)

// active is what would be read as markup, a link or a mention by GitHub or GitLab.
var active = regexp.MustCompile("[<>`@#!\\[\\]{}$%&~^*_=\\\\/+]|www\\.|\\d{6}")

// TestMarkdownIsInert proves that nothing of a report is markup, a link, a mention
// or a command.
func TestMarkdownIsInert(t *testing.T) {
	r := hostile()
	for i, c := range r.Changes { // one by one, since not all fit at once
		checkMarkdown(t, write(t, "markdown", Report{Verdicts: []Named{r.Verdicts[0], r.Verdicts[i+2]}, Changes: []Change{c}}, Options{}))
	}
	for _, f := range r.Verdicts[0].Verdict.Findings {
		checkMarkdown(t, write(t, "markdown", one(f), Options{}))
	}
}

func checkMarkdown(t *testing.T, out string) {
	t.Helper()
	if !strings.HasPrefix(out, MarkdownMarker+"\n") || strings.Count(out, "\n"+MarkdownMarker) != 0 {
		t.Error("the marker is not the first line, and only there")
	}
	bars := 0 // of the table that a line belongs to; cells end at bars even in code
	for line := range strings.Lines(out) {
		n := strings.Count(line, "|")
		switch {
		case !strings.HasPrefix(line, "|"):
			bars = 0
		case bars == 0:
			bars = n
		case n != bars:
			t.Errorf("a table of %d bars has a row of %d: %q", bars, n, line)
		}
	}
	for line := range strings.Lines(outsideCode(out)) {
		rest := strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(rest, "|") {
			rest = strings.ReplaceAll(strings.ReplaceAll(rest, "|", ""), "---", "")
		}
		if rest = markup.ReplaceAllString(rest, ""); active.MatchString(rest) || strings.Contains(rest, "|") {
			t.Errorf("outside of code: %q", rest)
		}
	}
	balanced(t, out)
}

func balanced(t *testing.T, out string) {
	t.Helper()
	text := outsideCode(out)
	if opened, closed := strings.Count(text, "<details>"), strings.Count(text, "</details>"); opened != closed {
		t.Errorf("%d details are opened and %d closed", opened, closed)
	}
}

// TestMarkdownIsBounded proves that a comment fits however much there is to say,
// that it shows something of everything, and that it says what was cut.
func TestMarkdownIsBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		n     int
		wants []string
	}{
		"Few":  {20, []string{"- deny **", "- warn **", "- info **", "| update |"}},
		"More": {1000, []string{"- deny **", "- warn **", "| update |", "changes not shown here. ", "findings not shown here. "}},
		"Many": {20_000, []string{"- deny **", "| update |", "changes not shown here. ", "findings not shown here. "}},
	} {
		t.Run(name, func(t *testing.T) {
			out := write(t, "markdown", flood(tc.n), Options{})
			if len(out) > maxMarkdown {
				t.Errorf("%d bytes", len(out))
			}
			balanced(t, out)
			for _, want := range tc.wants {
				if !strings.Contains(out, want) {
					t.Errorf("it does not hold %q", want)
				}
			}
			if cut := strings.Contains(out, "not shown here"); cut != (tc.n > 20) {
				t.Errorf("it says that something was cut: %t", cut)
			}
		})
	}
	var many []Named
	for range 5000 {
		many = append(many, Named{Name: strings.Repeat("`|x", 100)})
	}
	if out := write(t, "markdown", Report{Verdicts: many}, Options{}); len(out) > maxMarkdown || !strings.Contains(out, " more | | | | |") {
		t.Errorf("%d bytes for 5000 verdicts", len(out))
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string]string{
		"set it to false or remove it":          "set it to false or remove it",
		"spec.hostPID is true: remove it":       "`spec.hostPID` is true: remove it",
		"by Alice <alice@example.com> (signed)": "by Alice `<alice@example.com>` (signed)",
		"@octocat fixes #12":                    "`@octocat` fixes `#12`",
		"a | b":                                 "a `|` b",
		"see `x` and y":                         "see `` `x` `` and y",
		"GH-7 v1 12 2024":                       "`GH-7 v1` 12 2024",
		"don't re-use it; \"quoted\"":           "don't re-use it; \"quoted\"",
		"":                                      "",
	} {
		if got := words(in); got != want {
			t.Errorf("words(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNextIsSaidOnce(t *testing.T) {
	v := judge("", 1, allStages, allStages...)(
		verdict.Finding{Stage: verdict.StagePolicy, Reason: verdict.PolicyDenied, Severity: verdict.Deny, Message: "m", File: "a"},
		verdict.Finding{Stage: verdict.StagePolicy, Reason: verdict.PolicyDenied, Severity: verdict.Deny, Message: "m", File: "b"},
		verdict.Finding{Stage: verdict.StageCommit, Reason: verdict.ForgeKey, Severity: verdict.Deny, Message: "m", Commit: "c"})
	r := Report{Verdicts: []Named{{"a/b", v}, {"a/c", v}}}
	for format, label := range map[string]string{"text": "next: ", "markdown": "Next: "} {
		if n := strings.Count(write(t, format, r, Options{}), label); n != 2 {
			t.Errorf("%s: %d hints for 2 reasons", format, n)
		}
	}
}
