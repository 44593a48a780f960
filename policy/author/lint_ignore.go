package author

import (
	"fmt"
	"slices"
	"strings"
)

// ignoreMark begins a comment that silences rules of lint.
const ignoreMark = "gitgate:ignore"

// An ignore is one rule that is silenced for one line.
type ignore struct {
	rule, file   string
	line         int // that is silenced
	at, atColumn int // of the comment
	used         bool
}

// silence takes away what comments silence, and tells of those that are not right.
func (l *linter) silence(findings []LintFinding) []LintFinding {
	var ignores []*ignore
	for file, m := range l.tree.modules {
		lines := strings.Split(l.tree.set.Modules[file], "\n")
		for _, c := range m.Comments {
			text, ok := strings.CutPrefix(strings.TrimSpace(string(c.Text)), ignoreMark)
			if !ok {
				continue
			}
			wrong := func(message string) {
				f := LintFinding{Rule: lintIgnore.Name, Severity: lintIgnore.Severity, Message: message}
				f.file, f.Line, f.Column = file, c.Location.Row, c.Location.Col
				findings = append(findings, f)
			}
			names, reason, _ := strings.Cut(strings.TrimSpace(text), " ")
			if strings.TrimSpace(reason) == "" {
				wrong("say what is silenced and why: `# gitgate:ignore RULE reason`; without a reason nothing is")
				continue
			}
			for _, name := range strings.Split(names, ",") {
				if !silenceable(name) {
					wrong(fmt.Sprintf("there is no rule %s that can be silenced: see gitgate policy lint --rules", name))
					continue
				}
				ignores = append(ignores, &ignore{rule: name, file: file, line: silenced(lines, c.Location.Row), at: c.Location.Row, atColumn: c.Location.Col})
			}
		}
	}
	findings = slices.DeleteFunc(findings, func(f LintFinding) bool {
		hit := false
		for _, i := range ignores {
			if i.rule == f.Rule && i.file == f.file && i.line == f.Line {
				i.used, hit = true, true
			}
		}
		return hit
	})
	if l.compiled == nil {
		return findings // most rules did not look
	}
	for _, i := range ignores {
		if !i.used {
			f := LintFinding{Rule: lintIgnore.Name, Severity: Warning, Message: fmt.Sprintf("%s has nothing to say of line %d: remove the comment", i.rule, i.line)}
			f.file, f.Line, f.Column = i.file, i.at, i.atColumn
			findings = append(findings, f)
		}
	}
	return findings
}

func silenceable(name string) bool {
	return name != lintCompile.Name && name != lintIgnore.Name &&
		slices.ContainsFunc(LintRules(), func(r LintRule) bool { return r.Name == name })
}

// silenced is the line that a comment at a line silences: its own where code stands
// before it, and otherwise the next one that is neither empty nor a comment.
func silenced(lines []string, row int) int {
	if row > len(lines) || !strings.HasPrefix(strings.TrimSpace(lines[row-1]), "#") {
		return row
	}
	for i := row; i < len(lines); i++ {
		if text := strings.TrimSpace(lines[i]); text != "" && !strings.HasPrefix(text, "#") {
			return i + 1
		}
	}
	return row
}
