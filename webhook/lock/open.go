package lock

import (
	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/verdict"
)

// open leaves a request to images and policy.
func (r *review) open() ruling {
	judge := r.lock.cfg.Judge
	if judge == nil || r.req.Operation == admissionv1.Connect {
		return allow(MatchedOpen, nil)
	}
	g := ruling{allowed: true, matched: MatchedOpen, mode: Enforce}
	for _, f := range judge.Judge(r.ctx, r.req) {
		switch {
		case !f.Severity.Blocks():
			g.warnings = append(g.warnings, warning("gitgate: "+string(f.Reason)+": "+f.Message)...)
		case g.allowed || g.pending && !passing[f.Reason]: // what is final counts first
			g.allowed, g.reason, g.pending = false, f.Reason, passing[f.Reason]
		}
		g.findings = append(g.findings, f)
	}
	return g
}

// passing are the reasons that pass by themselves. Rules that took too long may be
// owed to a busy machine.
var passing = map[verdict.Reason]bool{
	verdict.RevisionPending: true, verdict.ImagePending: true, verdict.NotReady: true, verdict.PolicyTimeout: true,
}
