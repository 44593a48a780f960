package report

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policy/verdict"
)

// NotJudged is what all formats but json give as the reason when a verdict does
// not allow and no finding says why: a stage that was due did not run, or none
// was due. Otherwise whoever only reads findings would take it for consent.
const NotJudged verdict.Reason = "NotJudged"

// severities, worst first.
var severities = []verdict.Severity{verdict.Deny, verdict.Undetermined, verdict.Warn, verdict.Info}

// level is the place of a severity in severities. What is not known is as bad as
// a denial.
func level(s verdict.Severity) int { return max(0, slices.Index(severities, s)) }

// findings are the findings of the verdict, and those that it lacks.
func (n Named) findings() []verdict.Finding {
	if n.Verdict.Allowed() || len(n.Verdict.Blocking()) > 0 {
		return n.Verdict.Findings
	}
	out := slices.Clone(n.Verdict.Findings)
	for _, s := range skipped(n.Verdict) {
		out = append(out, verdict.Finding{Stage: verdict.Stage(s), Reason: NotJudged, Severity: verdict.Undetermined,
			Message: "stage " + s + " was due and did not run"})
	}
	if len(out) == len(n.Verdict.Findings) {
		out = append(out, verdict.Finding{Reason: NotJudged, Severity: verdict.Undetermined, Message: "nothing was judged"})
	}
	return out
}

// skipped lists the stages that were due and did not run.
func skipped(v verdict.Verdict) []string {
	var out []string
	for _, s := range v.Stages {
		if s.Status == verdict.Skipped {
			out = append(out, string(s.Stage))
		}
	}
	return out
}

// judgements are the verdicts of the report. Without any there is one that
// denies.
func (r Report) judgements() []Named {
	if len(r.Verdicts) == 0 {
		return []Named{{}}
	}
	return r.Verdicts
}

// An entry is a finding, the index of the judgement that it is of and what
// identifies it over time.
type entry struct {
	of int
	verdict.Finding
	fingerprint string
}

// maxText bounds the text of the findings that one output lists, which bounds the
// output: GitHub takes 10 MB of compressed SARIF, GitLab and Jenkins choke on more.
const maxText = 6 << 20

// worst lists at most n findings of all verdicts, worst first and otherwise as
// they stand in their verdicts, and counts those that it leaves out.
func (r Report) worst(n int) (kept []entry, left counts) {
	var all []entry
	for i, j := range r.judgements() {
		for _, f := range j.findings() {
			all = append(all, entry{of: i, Finding: f})
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(level(a.Severity), level(b.Severity)) })
	size := 0
	for i, e := range all {
		size += min(len(e.Message), maxMessage) + min(len(e.File), maxName)
		for _, s := range []string{e.Object, e.Field, e.Policy, e.Image, e.Signer, e.Commit} {
			size += min(len(s), maxName)
		}
		if i == n || size > maxText {
			for _, e := range all[i:] {
				left[level(e.Severity)]++
			}
			all = all[:i]
			break
		}
	}
	r.identify(all)
	return all, left
}

// identify gives each entry a fingerprint that stays when lines move, texts are
// reworded or other findings come and go: a hash over whose finding it is, the
// reason, the object, field, policy and file, and which of those that are equal in
// all this it is. What lies in no file is told apart by its commit.
func (r Report) identify(entries []entry) {
	seen := map[string]int{}
	judgements := r.judgements()
	for i := range entries {
		e := &entries[i]
		commit := ""
		if e.File == "" && e.Object == "" {
			commit = e.Commit
		}
		var text []byte
		for _, s := range []string{judgements[e.of].Name, string(e.Reason), e.Object, e.Field, e.Policy, e.File, commit} {
			text = fmt.Appendf(text, "%d:%s", min(len(s), maxPath), clip(s, maxPath)) // no two lists give the same
		}
		seen[string(text)]++
		sum := sha256.Sum256(fmt.Appendf(text, "%d", seen[string(text)]))
		e.fingerprint = hex.EncodeToString(sum[:])
	}
}

// counts holds how many findings there are of each of severities.
type counts [4]int

func (c *counts) add(findings []verdict.Finding) {
	for _, f := range findings {
		c[level(f.Severity)]++
	}
}

// counts counts the findings of all verdicts.
func (r Report) counts() counts {
	var c counts
	for _, n := range r.judgements() {
		c.add(n.findings())
	}
	return c
}

func (c counts) total() int { return c[0] + c[1] + c[2] + c[3] }

// String lists what is not zero, as in "2 deny, 1 warn".
func (c counts) String() string {
	var parts []string
	for i, s := range severities {
		if c[i] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c[i], s))
		}
	}
	if len(parts) == 0 {
		return "no findings"
	}
	return strings.Join(parts, ", ")
}

// maxPath bounds names that machines read, in bytes.
const maxPath = 4096

// noFile stands for the file of findings that lie in none, for readers that
// insist on one.
const noFile = "no file"

// location is the file of a finding as a clean path below the repository's root.
func location(f verdict.Finding) string {
	if f.File == "" {
		return noFile
	}
	return strings.TrimPrefix(path.Clean("/"+clip(f.File, maxPath)), "/")
}

// full is the message of a finding with all that it names, for readers that show
// nothing else. It is printable and in one line.
func full(f verdict.Finding) string {
	text := shown(f.Message, maxMessage)
	if d := details(f); len(d) > 0 {
		text += " (" + strings.Join(d, ", ") + ")"
	}
	return text
}

// next is what to do first about a reason, or empty.
func next(r verdict.Reason) string {
	e, _ := Explain(r)
	return e.Next
}

// title names a judgement.
func (n Named) title() string {
	if n.Name == "" {
		return "gitgate"
	}
	return shown(n.Name, maxName)
}
