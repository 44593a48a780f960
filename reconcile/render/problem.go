package render

import (
	"fmt"
	"slices"

	"gitgate.dev/gitgate/policy/verdict"
)

// A problem is a finding before its file is known: parsed files are cached by
// content and may sit at several paths.
type problem struct {
	reason   verdict.Reason
	severity verdict.Severity
	line     int
	object   string
	field    string
	message  string
}

func deny(reason verdict.Reason, line int, format string, args ...any) problem {
	return problem{reason: reason, severity: verdict.Deny, line: line, message: oneLine(fmt.Sprintf(format, args...))}
}

// Error makes a problem an error where a function has only one to tell.
func (p problem) Error() string { return p.message }

func (p problem) finding(file string) verdict.Finding {
	return verdict.Finding{
		Stage: verdict.StageRender, Reason: p.reason, Severity: p.severity, Message: p.message,
		Object: p.object, File: file, Line: p.line, Field: p.field,
	}
}

// maxMessage is how much of a message is shown, in bytes: content of the
// repository may be quoted in it.
const maxMessage = 600

// oneLine keeps a message to one line without control characters, since the
// repository's authors choose parts of it and it ends up in terminals and logs.
func oneLine(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage] + "…"
	}
	out := []rune(s)
	for i, r := range out {
		if r < ' ' || (r >= 0x7f && r < 0xa0) || r == '\u2028' || r == '\u2029' || (r >= '\u202a' && r <= '\u202e') || (r >= '\u2066' && r <= '\u2069') {
			out[i] = ' '
		}
	}
	return string(out)
}

// findings collects what was found, without repetition and up to a limit.
type findings struct {
	list    []verdict.Finding
	seen    map[verdict.Finding]bool
	limit   int
	dropped int
	blocked bool
}

func newFindings(limit int) *findings {
	return &findings{limit: limit, seen: map[verdict.Finding]bool{}}
}

func (f *findings) add(file string, ps ...problem) {
	for _, p := range ps {
		f.addFinding(p.finding(file))
	}
}

func (f *findings) addFinding(v verdict.Finding) {
	if f.seen[v] {
		return
	}
	blocks := v.Severity.Blocks()
	f.blocked = f.blocked || blocks
	if len(f.list) >= f.limit {
		f.dropped++
		// A warning must not hide the reason for a refusal.
		if i := slices.IndexFunc(f.list, func(o verdict.Finding) bool { return !o.Severity.Blocks() }); blocks && i >= 0 {
			f.list[i] = v
		}
		return
	}
	f.seen[v] = true
	f.list = append(f.list, v)
}

// sorted returns the findings, worst first, and says how many were left out.
func (f *findings) sorted() []verdict.Finding {
	out := slices.Clone(f.list)
	verdict.Sort(out)
	if f.dropped > 0 {
		out = append(out, verdict.Finding{
			Stage: verdict.StageRender, Reason: verdict.LimitExceeded, Severity: verdict.Warn,
			Message: fmt.Sprintf("%d more findings are not shown; fix these first", f.dropped),
		})
	}
	return out
}
