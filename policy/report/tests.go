package report

import (
	"fmt"

	"gitgate.dev/gitgate/policy/verdict"
)

// maxTests is how many findings the formats for test results list; GitLab and
// Jenkins keep every one in memory.
const maxTests = 5000

// The results of a test.
const (
	passing = iota
	failing
	erring // could not be decided
	skipping
)

// A test is what JUnit and TAP know.
type test struct {
	name    string
	result  int
	message string // why it is no passing
	seconds float64
	finding *verdict.Finding // nil for verdicts and stages
}

// A suite is the tests of one judgement: the verdict itself, which fails when it
// does not allow, each stage, and each finding, of which warnings and information
// pass.
type suite struct {
	name  string
	tests []test
}

func (r Report) suites() []suite {
	entries, left := r.worst(maxTests)
	var out []suite
	for _, n := range r.judgements() {
		s := suite{name: n.title()}
		s.tests = append(s.tests, test{name: "verdict", result: resultOf(n.Verdict), message: (&output{}).headline(n)})
		for _, stage := range n.Verdict.Stages {
			s.tests = append(s.tests, stageTest(stage, n.findings()))
		}
		out = append(out, s)
	}
	for i := range entries {
		s := &out[entries[i].of]
		s.tests = append(s.tests, findingTest(&entries[i].Finding))
	}
	if left.total() > 0 {
		t := test{name: "findings that are not listed", message: left.String()}
		if left[0] > 0 {
			t.result = failing
		} else if left[1] > 0 {
			t.result = erring
		}
		out = append(out, suite{name: "gitgate, not listed", tests: []test{t}})
	}
	return out
}

func resultOf(v judged) int {
	return map[outcome]int{allowed: passing, denied: failing, undetermined: erring}[outcomeOf(v)]
}

func stageTest(s verdict.StageResult, findings []verdict.Finding) test {
	t := test{name: "stage " + shown(string(s.Stage), maxName), seconds: s.Elapsed.Seconds()}
	var c counts
	for _, f := range findings {
		if f.Stage == s.Stage {
			c[level(f.Severity)]++
		}
	}
	switch {
	case s.Status == verdict.Passed:
	case s.Status == verdict.Skipped:
		t.result, t.message = skipping, "was due and did not run"
	case c[0] == 0 && c[1] > 0:
		t.result, t.message = erring, c.String()
	default:
		t.result, t.message = failing, c.String()
	}
	return t
}

func findingTest(f *verdict.Finding) test {
	t := test{name: shown(string(f.Reason), maxName), finding: f, message: shown(f.Message, maxMessage)}
	if w := f.Where(); w != "" {
		t.name += " " + shown(w, maxName)
	}
	if f.Field != "" {
		t.name += fmt.Sprintf(" (%s)", shown(f.Field, maxName))
	}
	t.result = [...]int{failing, erring, passing, passing}[level(f.Severity)]
	return t
}
