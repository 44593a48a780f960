package report

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// The elements of JUnit's reports, as Jenkins and GitLab read them. encoding/xml
// replaces what XML 1.0 does not allow.
type (
	junitSuites struct {
		XMLName xml.Name `xml:"testsuites"`
		junitCounts
		Suites []junitSuite `xml:"testsuite"`
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
		File    string       `xml:"file,attr,omitempty"`
		Time    string       `xml:"time,attr"`
		Failure *junitResult `xml:"failure"`
		Error   *junitResult `xml:"error"`
		Skipped *junitResult `xml:"skipped"`
		Output  string       `xml:"system-out,omitempty"`
	}
	junitResult struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes a suite for each verdict. Denials are failures, and what could
// not be decided errors.
func writeJUnit(o *output, r Report) {
	var all junitSuites
	for _, s := range r.suites() {
		out := junitSuite{Name: s.name}
		for _, t := range s.tests {
			out.Cases = append(out.Cases, newJUnitCase(s.name, t))
			out.add(t)
		}
		out.Time = fmt.Sprintf("%.6f", out.seconds)
		all.Suites = append(all.Suites, out)
		all.merge(out.junitCounts)
	}
	all.Time = fmt.Sprintf("%.6f", all.seconds)
	o.WriteString(xml.Header)
	e := xml.NewEncoder(o)
	e.Indent("", " ")
	if err := e.Encode(all); err != nil && o.err == nil {
		o.err = err
	}
	o.WriteByte('\n')
}

func (c *junitCounts) add(t test) {
	c.Tests++
	c.seconds += t.seconds
	switch t.result {
	case failing:
		c.Failures++
	case erring:
		c.Errors++
	case skipping:
		c.Skipped++
	}
}

func (c *junitCounts) merge(d junitCounts) {
	c.Tests += d.Tests
	c.Failures += d.Failures
	c.Errors += d.Errors
	c.Skipped += d.Skipped
	c.seconds += d.seconds
}

func newJUnitCase(class string, t test) junitCase {
	out := junitCase{Class: class, Name: t.name, Time: fmt.Sprintf("%.6f", t.seconds)}
	result := &junitResult{Message: t.message}
	if f := t.finding; f != nil {
		if f.File != "" {
			out.File = Printable(location(*f))
		}
		result.Type = shown(string(f.Reason), maxName)
		head := shown(fmt.Sprintf("%s %s %s: ", f.Severity, f.Stage, f.Reason), maxName)
		if w := f.Where(); w != "" {
			head += shown(w, maxName) + ": "
		}
		lines := append([]string{head + t.message}, details(*f)...)
		if hint := next(f.Reason); hint != "" {
			lines = append(lines, "next: "+hint)
		}
		result.Text = strings.Join(lines, "\n")
	}
	switch t.result {
	case failing:
		out.Failure = result
	case erring:
		out.Error = result
	case skipping:
		out.Skipped = result
	default:
		out.Output = result.Text
	}
	return out
}
