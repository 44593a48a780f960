package report

import (
	"testing"
	"testing/fstest"

	"gitgate.dev/gitgate/policy/verdict"
)

// fuzzed is a report in which a text stands everywhere.
func fuzzed(text string, line int, severity uint8) Report {
	f := verdict.Finding{Stage: verdict.StageRender, Reason: verdict.Reason(text), Severity: severities[severity%4], Message: text,
		Object: text, File: text, Line: line, Field: text, Policy: text, Signer: text, Image: text, Commit: text}
	g := verdict.Finding{Stage: verdict.StageRender, Reason: verdict.PolicyDenied, Message: text, File: "a.yaml", Line: line, Field: text}
	return Report{
		Verdicts: []Named{{text, judge(text, line, allStages, allStages[:3]...)(f, g)}, {"", verdict.Verdict{}}},
		Changes:  []Change{{text, text, text, line}}, Version: text,
		Files: fstest.MapFS{"a.yaml": {Data: []byte("x: 1\n" + text)}},
	}
}

func fuzzFormats(f *testing.F, formats []string, check func(t *testing.T, format, out string)) {
	for i, s := range breakouts {
		f.Add(s, i, uint8(i))
	}
	f.Fuzz(func(t *testing.T, text string, line int, severity uint8) {
		for _, format := range formats {
			check(t, format, write(t, format, fuzzed(text, line, severity), Options{Width: 60}))
		}
	})
}

// FuzzJSON proves that the formats in JSON can be read back and say nothing to a
// terminal, whatever is in a report.
func FuzzJSON(f *testing.F) {
	fuzzFormats(f, []string{"json", "sarif", "gitlab"}, func(t *testing.T, format, out string) {
		wellFormed(t, format, out)
		inert(t, format, out)
	})
}

// FuzzTests proves the same of JUnit and TAP.
func FuzzTests(f *testing.F) {
	fuzzFormats(f, []string{"junit", "tap"}, func(t *testing.T, format, out string) {
		wellFormed(t, format, out)
		inert(t, format, out)
	})
}

// FuzzLog proves that what goes into logs is inert.
func FuzzLog(f *testing.F) {
	fuzzFormats(f, []string{"text", "github", "azure"}, inert)
}

// FuzzMarkdown proves that a comment holds no markup but gitgate's own.
func FuzzMarkdown(f *testing.F) {
	fuzzFormats(f, []string{"markdown"}, func(t *testing.T, format, out string) {
		inert(t, format, out)
		checkMarkdown(t, out)
	})
}
