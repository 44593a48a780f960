package report

import (
	"fmt"
	"strings"
)

// GitHub Actions shows this many annotations of each kind for a step; what comes
// later is dropped without a word.
const maxAnnotations = 10

// The escapes of GitHub's workflow commands, for values of properties and for
// messages, from the source of its actions toolkit.
var (
	githubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	githubMessage  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
)

// writeGitHub writes workflow commands, which GitHub Actions turns into
// annotations of a pull request's files, and a summary.
func writeGitHub(o *output, r Report) {
	entries, _ := r.worst(maxListed)
	written := map[string]int{}
	for _, e := range entries {
		command := [...]string{"error", "error", "warning", "notice"}[level(e.Severity)]
		if written[command]++; written[command] > maxAnnotations {
			continue
		}
		var properties []string
		if e.File != "" {
			properties = append(properties, "file="+githubProperty.Replace(Printable(location(e.Finding))))
			if e.Line > 0 {
				properties = append(properties, fmt.Sprintf("line=%d", e.Line))
			}
		}
		properties = append(properties, "title="+githubProperty.Replace(shown(string(e.Reason), maxName)))
		message := full(e.Finding)
		if hint := next(e.Reason); hint != "" {
			message += "\nnext: " + hint
		}
		o.printf("::%s %s::%s\n", command, strings.Join(properties, ","), githubMessage.Replace(message))
	}
	for _, n := range r.judgements() {
		o.line("gitgate: " + o.headline(n))
	}
	c := r.counts()
	for i, kind := range [][2]string{{"error", "errors"}, {"warning", "warnings"}, {"notice", "notices"}} {
		if all := [...]int{c[0] + c[1], c[2], c[3]}[i]; all > maxAnnotations {
			o.line(fmt.Sprintf("gitgate: %d of %d %s are annotated, the worst first", maxAnnotations, all, kind[1]))
		}
	}
}
