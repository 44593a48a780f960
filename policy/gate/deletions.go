package gate

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"gitgate.dev/gitgate/policy/verdict"
)

// deletions judges what the release drops: each object by the rules, all
// together by the budget.
func (a *admission) deletions(ctx context.Context) []verdict.Finding {
	live, err := a.gate.cfg.Cluster.Deletions(ctx, a.objects)
	if err != nil {
		return []verdict.Finding{{
			Reason: verdict.DryRunRejected, Severity: verdict.Undetermined,
			Message: fmt.Sprintf("what would be deleted could not be found out: %v", err),
		}}
	}
	a.dropped = a.asDeclared(live)
	var findings []verdict.Finding
	for _, o := range a.dropped {
		findings = append(findings, a.judgeDeletion(ctx, o)...)
	}
	commit := a.tree.Commit()
	budget := max(a.gate.cfg.DeletionBudget(a.req.Inventory), approvedDeletions(commit.Message))
	if len(a.dropped) <= budget {
		return findings
	}
	return append(findings, verdict.Finding{
		Reason: verdict.DeletionBudget, Severity: verdict.Deny, Commit: commit.Hash,
		Message: fmt.Sprintf("the commit deletes %d of %d objects, of which spec.deletionBudget allows %d (the first: %s): if that is meant, sign a commit with the line \"Gitgate-Approve-Deletions: %d\"",
			len(a.dropped), a.req.Inventory, budget, a.dropped[0].ID(), len(a.dropped)),
	})
}

// asDeclared prefers what Git said of an object over what the cluster holds, so
// that rules see the same at every door.
func (a *admission) asDeclared(live []Object) []Object {
	declared := make(map[string]Object, len(a.req.Previous))
	for _, o := range a.req.Previous {
		declared[o.key()] = o
	}
	out := make([]Object, len(live))
	for i, o := range live {
		out[i] = o
		if d, ok := declared[o.key()]; ok {
			out[i] = d
		}
	}
	return out
}

var approval = regexp.MustCompile(`(?m)^Gitgate-Approve-Deletions: ([0-9]{1,6})$`)

// approvedDeletions reads the approval in the message of a verified commit.
func approvedDeletions(message string) int {
	m := approval.FindStringSubmatch(message)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	return n
}
