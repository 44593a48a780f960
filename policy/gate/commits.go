package gate

import (
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/verify/commit"
)

// commitFindings translates the report of the commit stage.
func commitFindings(r commit.Report) []verdict.Finding {
	out := make([]verdict.Finding, 0, len(r.Problems))
	for _, p := range r.Problems {
		severity := verdict.Deny
		if p.Undetermined {
			severity = verdict.Undetermined
		}
		out = append(out, verdict.Finding{
			Stage: verdict.StageCommit, Reason: verdict.Reason(p.Reason), Severity: severity,
			Message: p.Message, Commit: p.Commit, Signer: p.Signer, File: p.File,
		})
	}
	return out
}
