package report

import (
	"fmt"
	"strings"
)

// maxIssues is how many issues azure lists: the log is text for people too.
const maxIssues = 1000

// The escapes of Azure Pipelines' logging commands, for values of properties and
// for messages, from the source of its agent.
var (
	azureProperty = strings.NewReplacer("%", "%AZP25", ";", "%3B", "\r", "%0D", "\n", "%0A", "]", "%5D")
	azureMessage  = strings.NewReplacer("%", "%AZP25", "\r", "%0D", "\n", "%0A")
)

// writeAzure writes logging commands of Azure Pipelines: an issue for each finding
// but those of severity info, which Azure has no kind for, a summary, and the
// result of the task.
func writeAzure(o *output, r Report) {
	entries, left := r.worst(maxIssues)
	for _, e := range entries {
		if level(e.Severity) == 3 {
			o.line("info: " + full(e.Finding))
			continue
		}
		kind := [...]string{"error", "error", "warning"}[level(e.Severity)]
		o.printf("##vso[task.logissue type=%s;", kind)
		if e.File != "" {
			o.printf("sourcepath=%s;", azureProperty.Replace(Printable(location(e.Finding))))
			if e.Line > 0 {
				o.printf("linenumber=%d;", e.Line)
			}
		}
		message := full(e.Finding)
		if hint := next(e.Reason); hint != "" {
			message += "; next: " + hint
		}
		o.printf("code=%s;]%s\n", azureProperty.Replace(shown(string(e.Reason), maxName)), azureMessage.Replace(message))
	}
	if left.total() > 0 {
		o.line(fmt.Sprintf("gitgate: not listed: %s", left))
	}
	for _, n := range r.judgements() {
		o.line("gitgate: " + o.headline(n))
	}
	result := "Failed"
	if r.Allowed() {
		result = "Succeeded"
		if r.counts()[2] > 0 {
			result = "SucceededWithIssues"
		}
	}
	o.printf("##vso[task.complete result=%s;]%s\n", result, outcomeOf(r))
}
