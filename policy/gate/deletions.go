package gate

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"gitgate.dev/gitgate/policy/verdict"
)

// deletions judges what the release deletes and was not judged yet: each object by
// the rules, all together by the budget. Before the dry run that is what the
// release drops, after it also what can only be changed by making it anew. Only the
// cluster knows either, and it is not asked about a revision that was denied.
func (a *admission) deletions(ctx context.Context) []verdict.Finding {
	live, err := a.gate.cfg.Cluster.Deletions(ctx, a.objects)
	var refusal *Refusal
	if errors.As(err, &refusal) && blocks(refusal.Findings) {
		return refusal.Findings
	}
	if err != nil {
		return []verdict.Finding{{
			Stage: verdict.StagePolicy, Reason: verdict.DryRunRejected, Severity: verdict.Undetermined,
			Message: fmt.Sprintf("what would be deleted could not be found out: %v", err),
		}}
	}
	more := a.notDropped(a.asDeclared(live))
	findings := a.trespasses(more, "delete")
	for i := range findings {
		findings[i].Stage = verdict.StagePolicy // whoever asks, and when
	}
	for _, o := range more {
		findings = append(findings, a.excepted(a.judgeDeletion(ctx, o), []Object{o})...)
	}
	a.dropped = append(a.dropped, more...)
	if len(more) == 0 {
		return findings
	}
	return append(findings, a.overBudget()...)
}

// overBudget compares what is deleted with what may be. The inventory comes from
// the status, which anybody may have written: it counts for no more than there is.
func (a *admission) overBudget() []verdict.Finding {
	commit := a.commit()
	inventory := min(a.req.Inventory, len(a.objects)+len(a.dropped))
	if a.req.Inventory == AsPrevious {
		inventory = len(a.req.Previous) + a.req.Elsewhere.Objects
	}
	budget := max(a.gate.cfg.DeletionBudget(inventory), approvedDeletions(commit.Message))
	if len(a.dropped) <= budget {
		return nil
	}
	return []verdict.Finding{{
		Stage: verdict.StagePolicy, Reason: verdict.DeletionBudget, Severity: verdict.Deny, Commit: commit.Hash,
		Message: fmt.Sprintf("the commit deletes %d of %d objects, of which spec.deletionBudget allows %d (the first: %s): if that is meant, sign a commit with the line \"Gitgate-Approve-Deletions: %d\"",
			len(a.dropped), inventory, budget, a.dropped[0].ID(), len(a.dropped)),
	}}
}

// notDropped leaves out what was judged before.
func (a *admission) notDropped(objects []Object) []Object {
	known := make(map[string]bool, len(a.dropped))
	for _, o := range a.dropped {
		known[o.key()] = true
	}
	return slices.DeleteFunc(objects, func(o Object) bool { return known[o.key()] })
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
