package author

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policy/report"
)

// Formats lists the formats of [Report.Write].
func Formats() []string { return []string{"text", "json", "junit"} }

// A Style says how text is shown.
type Style struct {
	// Color marks outcomes by ANSI colours.
	Color bool
	// Verbose shows tests that pass, and what they printed.
	Verbose bool
}

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	bold   = "1"
)

func (s Style) paint(attribute, text string) string {
	if !s.Color {
		return text
	}
	return "\x1b[" + attribute + "m" + text + "\x1b[0m"
}

// maxLine bounds what is shown of one line of a message.
const maxLine = 2000

// shown is a line for a terminal or the log of a CI system.
func shown(s string) string {
	if len(s) > maxLine {
		s = strings.ToValidUTF8(s[:maxLine], "") + "…"
	}
	s = report.Printable(s)
	if strings.HasPrefix(strings.TrimLeft(s, " "), "::") { // an order to GitHub Actions
		s = strings.Replace(s, "::", ": :", 1)
	}
	return s
}

// Write writes the report in a format of [Formats].
func (r Report) Write(w io.Writer, format string, s Style) error {
	out := bufio.NewWriter(w)
	switch format {
	case "text":
		r.text(out, s)
	case "json":
		if err := r.json(out); err != nil {
			return err
		}
	case "junit":
		if err := r.junit(out); err != nil {
			return err
		}
	default:
		return fmt.Errorf("no output format %q: use one of %s", format, strings.Join(Formats(), ", "))
	}
	return out.Flush()
}

func (r Report) text(w io.Writer, s Style) {
	for _, t := range r.Tests {
		if t.Status == Passed && !s.Verbose {
			continue
		}
		color := map[Status]string{Passed: green, Failed: red, Errored: red, Skipped: yellow}[t.Status]
		fmt.Fprintf(w, "%s: %s %s\n", shown(fmt.Sprintf("%s:%d", t.File, t.Line)),
			s.paint(color, strings.ToUpper(string(t.Status))), shown(t.FullName()))
		for _, line := range t.Message {
			for line := range strings.Lines(line) {
				fmt.Fprintf(w, "    %s\n", shown(strings.TrimRight(line, "\r\n")))
			}
		}
		for line := range strings.Lines(t.Output) {
			fmt.Fprintf(w, "    | %s\n", shown(strings.TrimRight(line, "\r\n")))
		}
	}
	if c := r.Coverage; c != nil {
		c.text(w, s)
	}
	n := r.count()
	parts := []string{fmt.Sprintf("%d passed", n[Passed])}
	for _, status := range []struct {
		of   Status
		word string
	}{{Failed, "failed"}, {Errored, "could not be run"}, {Skipped, "skipped"}} {
		if n[status.of] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[status.of], status.word))
		}
	}
	if r.Coverage != nil {
		parts = append(parts, fmt.Sprintf("coverage %.1f %%", r.Coverage.Percent))
	}
	word := s.paint(green, "PASS")
	if !r.Passed() {
		word = s.paint(red, "FAIL")
	}
	fmt.Fprintf(w, "%s: %s\n", word, strings.Join(parts, ", "))
}

// text lists the files that are not covered whole, and all of them in verbose
// style.
func (c *Coverage) text(w io.Writer, s Style) {
	for _, f := range c.Files {
		if len(f.Uncovered) > 0 {
			var lines []string
			for _, l := range f.Uncovered {
				lines = append(lines, l.String())
			}
			fmt.Fprintf(w, "%s: %.1f %% covered, not lines %s\n", shown(f.File), f.Percent, shown(strings.Join(lines, ", ")))
		} else if s.Verbose {
			fmt.Fprintf(w, "%s: %.1f %% covered\n", shown(f.File), f.Percent)
		}
	}
}

// jsonReport is API for scripts.
type jsonReport struct {
	Kind     string         `json:"kind"`
	Passed   bool           `json:"passed"`
	Counts   map[Status]int `json:"counts"`
	Tests    []jsonResult   `json:"tests"`
	Coverage *Coverage      `json:"coverage,omitempty"`
}

type jsonResult struct {
	Result
	Seconds float64 `json:"seconds"`
}

func (r Report) json(w io.Writer) error {
	out := jsonReport{Kind: "PolicyTestReport", Passed: r.Passed(), Counts: r.count(), Tests: []jsonResult{}, Coverage: r.Coverage}
	for _, t := range r.Tests {
		out.Tests = append(out.Tests, jsonResult{t, t.Elapsed.Seconds()})
	}
	return WriteJSON(w, out)
}

// The elements of JUnit's reports, as Jenkins and GitLab read them.
type (
	junitSuites struct {
		XMLName xml.Name `xml:"testsuites"`
		junitCounts
		Suites []*junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name string `xml:"name,attr"`
		junitCounts
		Cases []junitCase `xml:"testcase"`
	}
	junitCounts struct {
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Errors   int    `xml:"errors,attr"`
		Skipped  int    `xml:"skipped,attr"`
		Time     string `xml:"time,attr"`
		seconds  float64
	}
	junitCase struct {
		Class   string       `xml:"classname,attr"`
		Name    string       `xml:"name,attr"`
		File    string       `xml:"file,attr"`
		Time    string       `xml:"time,attr"`
		Failure *junitResult `xml:"failure"`
		Error   *junitResult `xml:"error"`
		Skipped *struct{}    `xml:"skipped"`
		Output  string       `xml:"system-out,omitempty"`
	}
	junitResult struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// junit writes a suite for each package and each manifest.
func (r Report) junit(w io.Writer) error {
	var all junitSuites
	for _, t := range r.Tests {
		i := slices.IndexFunc(all.Suites, func(s *junitSuite) bool { return s.Name == shown(t.Suite) })
		if i < 0 {
			i = len(all.Suites)
			all.Suites = append(all.Suites, &junitSuite{Name: shown(t.Suite)})
		}
		suite := all.Suites[i]
		suite.Cases = append(suite.Cases, newJUnitCase(t))
		suite.add(t)
		all.add(t)
	}
	for _, s := range all.Suites {
		s.Time = fmt.Sprintf("%.6f", s.seconds)
	}
	all.Time = fmt.Sprintf("%.6f", all.seconds)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", " ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (c *junitCounts) add(t Result) {
	c.Tests++
	c.seconds += t.Elapsed.Seconds()
	switch t.Status {
	case Failed:
		c.Failures++
	case Errored:
		c.Errors++
	case Skipped:
		c.Skipped++
	}
}

func newJUnitCase(t Result) junitCase {
	lines := make([]string, len(t.Message))
	for i, l := range t.Message {
		lines[i] = shown(l)
	}
	out := junitCase{
		Class: shown(t.Suite), Name: shown(t.Name), File: shown(t.File), Time: fmt.Sprintf("%.6f", t.Elapsed.Seconds()),
	}
	for line := range strings.Lines(t.Output) {
		out.Output += shown(strings.TrimRight(line, "\r\n")) + "\n"
	}
	text := strings.Join(append([]string{fmt.Sprintf("%s:%d", shown(t.File), t.Line)}, lines...), "\n")
	result := &junitResult{Text: text}
	if len(lines) > 0 {
		result.Message = lines[0]
	}
	switch t.Status {
	case Failed:
		out.Failure = result
	case Errored:
		out.Error = result
	case Skipped:
		out.Skipped = &struct{}{}
	}
	return out
}
