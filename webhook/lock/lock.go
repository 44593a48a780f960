package lock

import (
	"context"
	"errors"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/verdict"
)

// A Config is what a [Lock] decides by.
type Config struct {
	// Inventory is what verified commits say. Mandatory.
	Inventory *Inventory
	// Sealer is the one that sealed the Secrets in the inventory. Mandatory.
	Sealer *desired.Sealer
	// Owners finds live objects. Mandatory.
	Owners Owners
	// System is gitgate's own namespace. Mandatory.
	System string
	// Reconciler and DryRunner are user names. Mandatory.
	Reconciler, DryRunner string
	// Grants are the break-glass grants in force. Nil means that there are none.
	Grants Grants
	// Judge judges what the lock leaves open. Nil means that nothing does.
	Judge Judge
	// RootCA returns the certificate bundles of which kube-root-ca.crt must hold one
	// where the lock guards it. Its publisher may know another one before this process
	// does, as while the cluster's CA is rotated, so any other is pending. Nil, and no
	// bundle, mean that the content is bound to its publisher and its form only.
	RootCA func() []string
}

// A Lock decides admission requests. It is safe for concurrent use.
type Lock struct {
	cfg    Config
	recent *recent
}

// New returns a Lock.
func New(cfg Config) (*Lock, error) {
	switch {
	case cfg.Inventory == nil, cfg.Sealer == nil, cfg.Owners == nil:
		return nil, errors.New("lock: Config needs Inventory, Sealer and Owners")
	case cfg.System == "", cfg.Reconciler == "", cfg.DryRunner == "":
		return nil, errors.New("lock: Config needs System, Reconciler and DryRunner")
	case cfg.Reconciler == cfg.DryRunner:
		return nil, errors.New("lock: the reconciler and the dry-run account must be two users")
	}
	return &Lock{cfg: cfg, recent: newRecent()}, nil
}

// Decide decides one request. It never panics and never returns an Answer that
// allows by accident: what goes wrong denies.
func (l *Lock) Decide(ctx context.Context, req *admissionv1.AdmissionRequest) (answer Answer) {
	defer func() {
		if p := recover(); p != nil { // its text may quote an object
			answer = Answer{Reason: verdict.Internal, Message: fmt.Sprintf("%s: internal error (%T): this is a bug in gitgate, please report it", verdict.Internal, p)}
		}
	}()
	if req == nil {
		return Answer{Reason: verdict.Internal, Message: "Internal: no request"}
	}
	r := &review{lock: l, ctx: ctx, req: req, snap: l.cfg.Inventory.state.Load()}
	return l.answer(r, r.decide())
}

// answer turns a ruling into what the caller gets: a grant may open what is
// refused, and in audit mode it passes with a warning.
func (l *Lock) answer(r *review, g ruling) Answer {
	message := ""
	if !g.allowed {
		message = g.message(r)
	}
	a := Answer{
		Allowed: g.allowed, Pending: g.pending && !g.allowed, Reason: g.reason, Findings: g.findings,
		Matched: g.matched, Mode: g.mode, Warnings: g.warnings,
	}
	if g.release != nil {
		a.Sync, a.Revision, a.Refused = g.release.sync, g.release.revision, g.release.refused
		if a.Mode == "" {
			a.Mode = g.release.mode
		}
	}
	if a.Allowed {
		r.remember()
		return a
	}
	a.Message = message
	if !g.final && l.cfg.Grants != nil {
		if grant, ok := l.cfg.Grants.Covers(r.ctx, r.req); ok {
			a.Allowed, a.Pending, a.Grant, a.Message = true, false, grant, ""
			a.Warnings = append(a.Warnings, fmt.Sprintf("gitgate: %s is against Git and passes by break-glass grant %s; it will be undone when the grant ends", r.what(), grant))
			r.remember()
			return a
		}
	}
	if coming := r.snap.behind(g.release, r.writer.User); coming != "" && !a.Pending {
		a.Pending, a.Reason = true, verdict.RevisionPending
		a.Message = fmt.Sprintf("%s: this replica holds writes to %s and has not verified %s yet; the request is asked again by itself", verdict.RevisionPending, a.Revision, coming)
	}
	if a.Mode == Audit {
		a.Allowed, a.Pending = true, false
		for i := range a.Findings {
			if a.Findings[i].Severity.Blocks() {
				a.Findings[i].Severity = verdict.Warn
			}
		}
		a.Warnings = append(a.Warnings, warning("gitgate audit: would be denied: "+a.Message)...)
		r.remember()
	}
	return a
}
