package report

import (
	"strings"

	"gitgate.dev/gitgate/policy/verdict"
)

// tapDescription escapes what TAP 14 gives a meaning in a test's description.
var tapDescription = strings.NewReplacer(`\`, `\\`, "#", `\#`)

// tapDiagnostics is the YAML block of a test. It is written as JSON, field by
// field, which is YAML too.
type tapDiagnostics struct {
	key   string
	value any
}

// writeTAP writes the Test Anything Protocol, version 14, which readers of version
// 13 understand. All tests stand at one level: the verdicts, their stages and
// their findings.
func writeTAP(o *output, r Report) {
	suites := r.suites()
	n := 0
	for _, s := range suites {
		n += len(s.tests)
	}
	o.printf("TAP version 14\n1..%d\n", n)
	n = 0
	for _, s := range suites {
		for _, t := range s.tests {
			n++
			o.tap(n, s.name, t)
		}
	}
}

func (o *output) tap(n int, suite string, t test) {
	state, directive := "ok", ""
	switch t.result {
	case failing, erring:
		state = "not ok"
	case skipping:
		directive = " # SKIP " + t.message
	}
	o.printf("%s %d - %s%s\n", state, n, tapDescription.Replace(suite+": "+t.name), directive)
	if t.result == skipping || t.finding == nil && t.result == passing {
		return
	}
	o.WriteString("  ---\n")
	diagnostics := []tapDiagnostics{{"message", t.message}}
	if t.finding != nil {
		diagnostics = append(diagnostics, findingDiagnostics(*t.finding)...)
	} else {
		severity := verdict.Deny
		if t.result == erring {
			severity = verdict.Undetermined
		}
		diagnostics = append(diagnostics, tapDiagnostics{"severity", string(severity)})
	}
	for _, d := range diagnostics {
		o.printf("  %s: %s\n", d.key, o.marshal(d.value))
	}
	o.WriteString("  ...\n")
}

func findingDiagnostics(f verdict.Finding) []tapDiagnostics {
	var out []tapDiagnostics
	for _, d := range []struct{ key, value string }{
		{"severity", string(f.Severity)}, {"stage", string(f.Stage)}, {"reason", string(f.Reason)}, {"file", f.File},
		{"object", f.Object}, {"field", f.Field}, {"policy", f.Policy}, {"image", f.Image}, {"signer", f.Signer}, {"commit", f.Commit},
		{"next", next(f.Reason)},
	} {
		if d.value != "" {
			out = append(out, tapDiagnostics{d.key, shown(d.value, maxMessage)})
		}
		if d.key == "file" && f.Line > 0 {
			out = append(out, tapDiagnostics{"line", f.Line})
		}
	}
	return out
}
