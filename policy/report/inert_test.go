package report

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"gitgate.dev/gitgate/test/testkit/racing"
)

// TestInert proves that nothing of a report steers a terminal or the CI system
// whose log the output is in, whatever the format.
func TestInert(t *testing.T) {
	for _, format := range Formats() {
		for name, opts := range map[string]Options{"plain": {}, "wrapped": {Width: 40}} {
			t.Run(format+"/"+name, func(t *testing.T) {
				inert(t, format, write(t, format, hostile(), opts))
			})
		}
	}
}

func inert(t *testing.T, format, out string) {
	t.Helper()
	if !utf8.ValidString(out) {
		t.Error("the output is not UTF-8")
	}
	for i, c := range out {
		if c != '\n' && hidden(c) {
			t.Fatalf("%U is in the output: %q", c, out[max(0, i-30):min(len(out), i+30)])
		}
	}
	for line := range strings.Lines(out) {
		if format == "github" && regexp.MustCompile(`^::(error|warning|notice) ((file|line|title)=[^:,]*(,|::))+[^\n]*\n$`).MatchString(line) {
			continue
		}
		if strings.HasPrefix(strings.TrimSpace(line), "::") {
			t.Errorf("GitHub obeys %q", clip(line, 80))
		}
		if format == "azure" {
			line = regexp.MustCompile(`^##vso\[task\.(logissue|complete) ([a-z]+=[^;\]]*;)+\]`).ReplaceAllString(line, "")
		}
		if commandMarks.MatchString(line) {
			t.Errorf("a CI system obeys %q", clip(line, 80))
		}
	}
}

// TestBreakoutsAreSeen proves that TestInert has something to find.
func TestBreakoutsAreSeen(t *testing.T) {
	all := strings.Join(breakouts, "\n")
	for _, s := range []string{"\x1b[", "\u202e", "\n::error", "\n##vso[", "]]>", "-->", "](https://", "\xff", "\u0085"} {
		if !strings.Contains(all, s) {
			t.Errorf("no breakout holds %q", s)
		}
	}
}

// wellFormed fails unless a machine format can be read back.
func wellFormed(t *testing.T, format, out string) {
	t.Helper()
	switch format {
	case "json", "sarif", "gitlab":
		if !json.Valid([]byte(out)) {
			t.Errorf("%s is not JSON", format)
		}
	case "junit":
		for d := xml.NewDecoder(strings.NewReader(out)); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("not XML: %v", err)
			}
		}
		if !strings.HasSuffix(out, "</testsuites>\n") {
			t.Error("the document does not end where it should")
		}
	case "tap":
		readTAP(t, out)
	}
}

var (
	tapTest = regexp.MustCompile(`^(ok|not ok) \d+ - ((?:[^#\\]|\\#|\\\\)*)( # SKIP .*)?$`)
	tapKey  = regexp.MustCompile(`^[a-z]+$`)
)

// readTAP reads TAP 14 as strictly as gitgate writes it, and gives the states of
// the tests.
func readTAP(t *testing.T, out string) (states []string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) < 3 || lines[0] != "TAP version 14" {
		t.Fatal("no TAP 14")
	}
	inYAML := false
	for _, line := range lines[2:] {
		m := tapTest.FindStringSubmatch(line)
		key, value, _ := strings.Cut(strings.TrimPrefix(line, "  "), ": ")
		switch {
		case line == "  ---" && !inYAML, line == "  ..." && inYAML:
			inYAML = !inYAML
		case inYAML && tapKey.MatchString(key) && json.Valid([]byte(value)):
		case !inYAML && m != nil:
			states = append(states, m[1]+m[3])
		default:
			t.Fatalf("not TAP: %q", line)
		}
	}
	if plan := "1.." + itoa(len(states)); lines[1] != plan {
		t.Errorf("the plan is %s, and there are %d tests", lines[1], len(states))
	}
	return states
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestWellFormed(t *testing.T) {
	for _, format := range Formats() {
		for name, r := range map[string]Report{"ordinary": ordinary(), "hostile": hostile(), "empty": {}} {
			t.Run(format+"/"+name, func(t *testing.T) { wellFormed(t, format, write(t, format, r, Options{})) })
		}
	}
}

// TestFlood proves that a hundred thousand findings make an output that its
// readers can take, and that it says what it leaves out.
func TestFlood(t *testing.T) {
	racing.Skip(t)
	const n = 100_000
	r := flood(n)
	for _, tc := range []struct {
		format string
		limit  int // bytes
		says   string
	}{
		{"text", 2 << 20, "not shown: 24000 deny, 25000 undetermined, 25000 warn, 25000 info"},
		{"json", 100 << 20, "finding 99999 "},
		{"sarif", 40 << 20, "left out, as code scanning takes no more"},
		{"junit", 10 << 20, "findings that are not listed"},
		{"github", 100 << 10, "10 of 50000 errors are annotated"},
		{"gitlab", 40 << 20, "not listed: "},
		{"azure", 2 << 20, "not listed: 24000 deny"},
		{"markdown", maxMarkdown, "findings not shown here. "},
		{"tap", 10 << 20, "findings that are not listed"},
	} {
		t.Run(tc.format, func(t *testing.T) {
			out := write(t, tc.format, r, Options{})
			if len(out) > tc.limit {
				t.Errorf("%d bytes, at most %d", len(out), tc.limit)
			}
			if !strings.Contains(out, tc.says) {
				t.Errorf("it does not say %q", tc.says)
			}
			wellFormed(t, tc.format, out)
		})
	}
	if formats := Formats(); len(formats) != 9 {
		t.Errorf("the test knows 9 formats, there are %q", formats)
	}
}

// TestHugeTexts proves that texts of any length are cut before they are worked on.
func TestHugeTexts(t *testing.T) {
	huge := strings.Repeat("\x1b`|", 10<<20)
	f := flood(1)
	v := f.Verdicts[0].Verdict
	v.Findings[0].Message, v.Findings[0].Object, v.Findings[0].File, v.Findings[0].Field = huge, huge, huge, huge
	v.Findings[0].Policy, v.Findings[0].Reason, v.Revision = huge, "R", huge
	for _, format := range Formats() {
		if format == "json" { // leaves out nothing
			continue
		}
		if out := write(t, format, Report{Verdicts: []Named{{huge, v}}, Version: huge}, Options{Width: 80}); len(out) > 100_000 {
			t.Errorf("%s: one finding fills %d bytes", format, len(out))
		}
	}
}
