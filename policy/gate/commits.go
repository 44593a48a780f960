package gate

import (
	"context"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/verify/commit"
)

// VerifyCommits proves a range of commits, as the first stage of [Gate.Admit] does.
// The tree is nil unless nothing blocks.
func VerifyCommits(ctx context.Context, v CommitVerifier, req commit.Request) (*commit.Tree, []verdict.Finding) {
	tree, report := v.Verify(ctx, req)
	findings := commitFindings(report)
	if tree == nil && len(findings) == 0 {
		findings = append(findings, verdict.Finding{
			Stage: verdict.StageCommit, Reason: verdict.Internal, Severity: verdict.Undetermined,
			Message: "the commit stage gave neither a tree nor a reason",
		})
	}
	if blocks(findings) {
		return nil, findings
	}
	return tree, findings
}

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
