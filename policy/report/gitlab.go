package report

import (
	"fmt"

	"gitgate.dev/gitgate/policy/verdict"
)

// maxListed is how many findings the formats for code scanning list. GitHub
// refuses SARIF with more.
const maxListed = 25_000

// codeQuality is an issue in GitLab's Code Quality report, which is a subset of
// Code Climate's.
type codeQuality struct {
	Description string        `json:"description"`
	CheckName   string        `json:"check_name"`
	Fingerprint string        `json:"fingerprint"`
	Severity    string        `json:"severity"`
	Location    issueLocation `json:"location"`
}

type issueLocation struct {
	Path  string `json:"path"`
	Lines struct {
		Begin int `json:"begin"`
	} `json:"lines"`
}

// writeGitLab writes a Code Quality report: denials are blockers, what is
// undetermined critical, warnings minor. When findings are left out, one more
// issue says how many.
func writeGitLab(o *output, r Report) {
	entries, left := r.worst(maxListed - 1)
	if left.total() > 0 {
		more := entry{Finding: verdict.Finding{Reason: "NotListed", Severity: severities[level(entries[len(entries)-1].Severity)],
			Message: fmt.Sprintf("not listed: %s; see gitgate's JSON output", left)}}
		list := []entry{more}
		r.identify(list)
		entries = append(entries, list...)
	}
	o.WriteByte('[')
	for i, e := range entries {
		if i > 0 {
			o.WriteString(",\n")
		}
		issue := codeQuality{
			Description: Printable(string(e.Reason)) + ": " + full(e.Finding),
			CheckName:   shown(string(e.Reason), maxName),
			Fingerprint: e.fingerprint,
			Severity:    [...]string{"blocker", "critical", "minor", "info"}[level(e.Severity)],
		}
		issue.Location.Path = Printable(location(e.Finding))
		issue.Location.Lines.Begin = max(1, e.Line)
		o.Write(o.marshal(issue))
	}
	o.WriteString("]\n")
}
