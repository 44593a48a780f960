package report

import (
	"encoding/json"
	"encoding/xml"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy/verdict"
)

// one is a report of one finding.
func one(f verdict.Finding) Report {
	return Report{Verdicts: []Named{{"a/b", judge("main", 1, allStages, allStages...)(f)}}}
}

// readGitHub reads a workflow command as GitHub's runner does: the name ends at
// the first space, the properties at the first pair of colons, and what is escaped
// is put back.
func readGitHub(line string) (name string, properties map[string]string, message string) {
	head, message, _ := strings.Cut(strings.TrimPrefix(line, "::"), "::")
	name, list, _ := strings.Cut(head, " ")
	properties = map[string]string{}
	for p := range strings.SplitSeq(list, ",") {
		key, value, _ := strings.Cut(p, "=")
		properties[key] = strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%").Replace(value)
	}
	return name, properties, strings.NewReplacer("%0D", "\r", "%0A", "\n", "%25", "%").Replace(message)
}

func TestGitHubReadsBack(t *testing.T) {
	for _, s := range breakouts {
		f := verdict.Finding{Stage: verdict.StagePolicy, Severity: verdict.Warn, Reason: "A,b:c", Message: s, File: "x/" + s, Line: 7}
		line, _, _ := strings.Cut(write(t, "github", one(f), Options{}), "\n")
		name, properties, message := readGitHub(line)
		if name != "warning" || properties["line"] != "7" || properties["title"] != "A,b:c" || len(properties) != 3 ||
			properties["file"] != Printable(location(f)) || message != shown(s, maxMessage) {
			t.Errorf("%q reads back as %q %q %q", s, name, properties, message)
		}
	}
}

// TestGitHubWorstFirst proves that the ten annotations which GitHub shows are the
// worst ones.
func TestGitHubWorstFirst(t *testing.T) {
	var findings []verdict.Finding
	for i := range 100 {
		f := verdict.Finding{Stage: verdict.StageImage, Severity: verdict.Undetermined, Message: "undecided", File: "a"}
		if i >= 95 {
			f = verdict.Finding{Stage: verdict.StageSecret, Severity: verdict.Deny, Message: "refused", File: "z"}
		}
		findings = append(findings, f)
	}
	late := judge("main", 1, allStages, allStages...)(findings[90:]...)
	early := judge("main", 1, allStages, allStages...)(findings[:90]...)
	out := write(t, "github", Report{Verdicts: []Named{{"a/early", early}, {"a/late", late}}}, Options{})
	if n := strings.Count(out, "::error "); n != maxAnnotations {
		t.Errorf("%d annotations", n)
	}
	if strings.Count(out, "::refused") != 5 || !strings.HasPrefix(out, "::error file=z") {
		t.Errorf("the denials do not come first:\n%s", out)
	}
	if !strings.Contains(out, "10 of 100 errors are annotated") {
		t.Errorf("the rest is not mentioned:\n%s", out)
	}
}

func TestAzureReadsBack(t *testing.T) {
	command := regexp.MustCompile(`^##vso\[([a-z.]+) ([^\]]*)\](.*)$`)
	for _, s := range breakouts {
		f := verdict.Finding{Stage: verdict.StagePolicy, Severity: verdict.Deny, Reason: "A;b]c", Message: s, File: "x/" + s, Line: 7}
		lines := strings.Split(strings.TrimSuffix(write(t, "azure", one(f), Options{}), "\n"), "\n")
		m := command.FindStringSubmatch(lines[0])
		if m == nil {
			t.Fatalf("no command: %q", lines[0])
		}
		properties := map[string]string{}
		for p := range strings.SplitSeq(strings.TrimSuffix(m[2], ";"), ";") {
			key, value, _ := strings.Cut(p, "=")
			properties[key] = strings.NewReplacer("%3B", ";", "%0D", "\r", "%0A", "\n", "%5D", "]", "%AZP25", "%").Replace(value)
		}
		message := strings.NewReplacer("%0D", "\r", "%0A", "\n", "%AZP25", "%").Replace(m[3])
		if m[1] != "task.logissue" || properties["type"] != "error" || properties["linenumber"] != "7" || properties["code"] != "A;b]c" ||
			len(properties) != 4 || properties["sourcepath"] != Printable(location(f)) || message != shown(s, maxMessage) {
			t.Errorf("%q reads back as %q %q", s, properties, message)
		}
		if last := lines[len(lines)-1]; last != "##vso[task.complete result=Failed;]denied" {
			t.Errorf("the task ends with %q", last)
		}
	}
}

// TestOutcomes proves that each format tells the four outcomes apart, and that
// nothing but consent looks like it.
func TestOutcomes(t *testing.T) {
	verdictOf := func(s verdict.Severity) Report {
		return one(verdict.Finding{Stage: verdict.StagePolicy, Severity: s, Message: "m"})
	}
	skipping := Report{Verdicts: []Named{{"", judge("", 1, allStages, allStages[:2]...)()}}}
	for name, tc := range map[string]struct {
		r                     Report
		allowed, undetermined bool
		azure                 string
	}{
		"Clean":        {Report{Verdicts: []Named{{"", judge("", 1, allStages, allStages...)()}}}, true, false, "Succeeded"},
		"Warned":       {verdictOf(verdict.Warn), true, false, "SucceededWithIssues"},
		"Informed":     {verdictOf(verdict.Info), true, false, "Succeeded"},
		"Denied":       {verdictOf(verdict.Deny), false, false, "Failed"},
		"Unknown":      {verdictOf("meh"), false, false, "Failed"},
		"Undetermined": {verdictOf(verdict.Undetermined), false, true, "Failed"},
		"Skipped":      {skipping, false, true, "Failed"},
		"Zero":         {Report{Verdicts: []Named{{}}}, false, true, "Failed"},
		"Nothing":      {Report{}, false, true, "Failed"},
		"OneOfTwo":     {Report{Verdicts: append(verdictOf(verdict.Info).Verdicts, verdictOf(verdict.Deny).Verdicts...)}, false, false, "Failed"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.r.Allowed() != tc.allowed || tc.r.Undetermined() != tc.undetermined {
				t.Errorf("Allowed() = %t, Undetermined() = %t", tc.r.Allowed(), tc.r.Undetermined())
			}
			var fromJSON struct{ Allowed, Undetermined bool }
			if err := json.Unmarshal([]byte(write(t, "json", tc.r, Options{})), &fromJSON); err != nil {
				t.Fatal(err)
			}
			if fromJSON.Allowed != tc.allowed || fromJSON.Undetermined != tc.undetermined {
				t.Errorf("json says %+v", fromJSON)
			}
			if out := write(t, "azure", tc.r, Options{}); !strings.Contains(out, "result="+tc.azure+";") {
				t.Errorf("azure: %s", out)
			}
			mark := map[[2]bool]string{{true, false}: "✅", {false, true}: "⚠️", {false, false}: "❌"}[[2]bool{tc.allowed, tc.undetermined}]
			if out := write(t, "markdown", tc.r, Options{}); !strings.HasPrefix(out, MarkdownMarker+"\n### "+mark) {
				t.Errorf("markdown: %s", out)
			}
			for format, refuses := range refusing(t, tc.r) {
				if refuses == tc.allowed {
					t.Errorf("%s says that it refuses: %t", format, refuses)
				}
			}
		})
	}
}

// refusing reads from the formats without a word for the whole whether they refuse.
func refusing(t *testing.T, r Report) map[string]bool {
	t.Helper()
	var quality []codeQuality
	if err := json.Unmarshal([]byte(write(t, "gitlab", r, Options{})), &quality); err != nil {
		t.Fatal(err)
	}
	var junit junitSuites
	if err := xml.Unmarshal([]byte(write(t, "junit", r, Options{})), &junit); err != nil {
		t.Fatal(err)
	}
	text := strings.Split(strings.TrimSuffix(write(t, "text", r, Options{}), "\n"), "\n")
	return map[string]bool{
		"gitlab": slices.ContainsFunc(quality, func(q codeQuality) bool { return q.Severity == "blocker" || q.Severity == "critical" }),
		"junit":  junit.Failures+junit.Errors > 0,
		"tap":    slices.Contains(readTAP(t, write(t, "tap", r, Options{})), "not ok"),
		"github": strings.Contains(write(t, "github", r, Options{}), "::error "),
		"sarif":  slices.ContainsFunc(readSARIF(t, r).Results, func(s sarifResult) bool { return s.Level == "error" }),
		"text":   slices.ContainsFunc(text, regexp.MustCompile(`^(a/b: )?(denied|undetermined)\b`).MatchString),
	}
}

func TestGitLab(t *testing.T) {
	var issues []codeQuality
	if err := json.Unmarshal([]byte(write(t, "gitlab", flood(60_000), Options{})), &issues); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, i := range issues {
		if i.Description == "" || i.Location.Path == "" || i.Location.Lines.Begin < 1 || seen[i.Fingerprint] {
			t.Fatalf("GitLab does not take %+v", i)
		}
		seen[i.Fingerprint] = true
	}
	if len(issues) > maxListed || issues[0].Severity != "blocker" || !strings.Contains(issues[len(issues)-1].Description, "not listed: ") {
		t.Errorf("%d issues, the last is %+v", len(issues), issues[len(issues)-1])
	}
}

// TestJUnitReadsBack proves that texts survive XML and that the sums are right.
func TestJUnitReadsBack(t *testing.T) {
	var suites junitSuites
	if err := xml.Unmarshal([]byte(write(t, "junit", hostile(), Options{})), &suites); err != nil {
		t.Fatal(err)
	}
	var all junitCounts
	for _, s := range suites.Suites {
		var sum junitCounts
		for _, c := range s.Cases {
			sum.Tests++
			if c.Failure != nil {
				sum.Failures++
			}
			if c.Error != nil {
				sum.Errors++
			}
			if c.Skipped != nil {
				sum.Skipped++
			}
		}
		if s.Tests != sum.Tests || s.Failures != sum.Failures || s.Errors != sum.Errors || s.Skipped != sum.Skipped {
			t.Errorf("suite %q says %+v and holds %+v", s.Name, s.junitCounts, sum)
		}
		all.merge(sum)
	}
	if suites.Tests != all.Tests || suites.Failures != all.Failures || suites.Errors != all.Errors || all.Failures < 10 {
		t.Errorf("the document says %+v and holds %+v", suites.junitCounts, all)
	}
	f := verdict.Finding{Stage: verdict.StagePolicy, Severity: verdict.Deny, Reason: "R", Message: `a]]> <b> & "c" 'd'`}
	if err := xml.Unmarshal([]byte(write(t, "junit", one(f), Options{})), &suites); err != nil {
		t.Fatal(err)
	}
	cases := suites.Suites[len(suites.Suites)-1].Cases
	if got := cases[len(cases)-1].Failure.Message; got != f.Message {
		t.Errorf("%q reads back as %q", f.Message, got)
	}
}

// TestFindingsAreTests proves that each finding is told, not only that there are
// some.
func TestFindingsAreTests(t *testing.T) {
	for severity, want := range map[verdict.Severity]int{verdict.Deny: failing, verdict.Undetermined: erring,
		verdict.Warn: passing, verdict.Info: passing, "meh": failing} {
		tests := one(verdict.Finding{Stage: verdict.StagePolicy, Severity: severity, Message: "m"}).suites()[0].tests
		if got := tests[len(tests)-1]; got.result != want || got.finding == nil {
			t.Errorf("%s: %+v", severity, got)
		}
		if tests[0].name != "verdict" || tests[0].result != want { // there is but one finding
			t.Errorf("%s: %+v", severity, tests[0])
		}
	}
}

func TestWriteErrors(t *testing.T) {
	if err := Write(nil, "yaml", Report{}, Options{}); err == nil || !strings.Contains(err.Error(), "text, json, sarif") {
		t.Errorf("an unknown format gives %v", err)
	}
	for _, format := range Formats() {
		if err := Write(fullDisk{}, format, hostile(), Options{}); err == nil {
			t.Errorf("%s: a full disk is no error", format)
		}
	}
}

// fullDisk is a full disk.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

type constError string

func (e constError) Error() string { return string(e) }

const errFull = constError("no space left on device")
