package parity

import (
	"encoding/json"
	"slices"
	"testing"

	"gitgate.dev/gitgate/policy/verdict"
)

// What belongs to one door is all here; everything else has to be the same.

// checkOnly are the findings that only gitgate check has, and why.
var checkOnly = map[verdict.Reason]string{
	verdict.DryRunSkipped:    "it says that the check asks no API server; the reconciler asks",
	verdict.RecipientMissing: "the rules of .sops.yaml are for those who encrypt: what is applied was decrypted",
	verdict.RecipientStale:   "the rules of .sops.yaml are for those who encrypt: what is applied was decrypted",
}

// ofServer reports whether a finding is about what the API server makes of an
// object. The reconciler asks it, in a dry run. gitgate check has nobody to ask; it
// holds objects to schemas, in words of its own, and not to what else a server knows.
func ofServer(f verdict.Finding) bool {
	if f.Stage != verdict.StageApply {
		return false
	}
	switch f.Reason {
	case verdict.DryRunRejected, verdict.SchemaInvalid, verdict.Conflict:
		return true
	}
	return false
}

// ofDeletions reports whether a finding of the check is about what the commit
// deletes. The check always says it. The reconciler asks the cluster what would go,
// in the apply stage, and does not ask about a commit that was denied before.
func ofDeletions(r ruling, f verdict.Finding) bool {
	return f.Stage == verdict.StagePolicy && (f.Reason == verdict.DeletionBudget || r.changed[f.Object] == "delete")
}

// ran lists the stages that were not skipped.
func (r ruling) ran() (out []verdict.Stage) {
	for _, s := range r.Stages {
		if verdict.Status(s.Status) != verdict.Skipped {
			out = append(out, verdict.Stage(s.Stage))
		}
	}
	return out
}

// common takes off of the findings of the check what the reconciler cannot have:
// what is the check's own, and what stages found that the reconciler did not run
// because of what a former one found. The check runs all.
func common(t *testing.T, check, reconciler ruling) (out []json.RawMessage) {
	t.Helper()
	ran := reconciler.ran()
	for _, raw := range check.Findings {
		f := decoded(t, raw)
		switch {
		case checkOnly[f.Reason] != "", ofServer(f), !slices.Contains(ran, f.Stage):
		case ofDeletions(check, f) && !slices.Contains(ran, verdict.StageApply):
		default:
			out = append(out, raw)
		}
	}
	return out
}

// standing reports whether a finding of the reconciler is a warning about an object
// that the commit leaves as it was. The reconciler repeats it with every commit. The
// check tells of what the commit changes, and of all else only with --all.
func standing(check ruling, f verdict.Finding) bool {
	return f.Stage == verdict.StagePolicy && !f.Severity.Blocks() && check.changed[f.Object] == ""
}

// shared takes off of the findings of the reconciler what the API server says, and
// warnings of which the check would tell with --all.
func (tr trial) shared(t *testing.T, check, reconciler ruling) (out []json.RawMessage) {
	t.Helper()
	for _, raw := range reconciler.Findings {
		f := decoded(t, raw)
		if !ofServer(f) && (tr.all || !standing(check, f)) {
			out = append(out, raw)
		}
	}
	return out
}
