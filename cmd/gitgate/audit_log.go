package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook"
	"gitgate.dev/gitgate/webhook/audit"
	"gitgate.dev/gitgate/webhook/lock"
)

const (
	// auditDoor is what the audit calls itself in the decision log.
	auditDoor = "audit"
	// auditOperation is what nobody asked for.
	auditOperation = "AUDIT"
)

// auditLog writes what PolicySets come to say of objects that are there into the
// decision log, with the objects if it is to hold them; nil without a log.
func (w *webhookParts) auditLog() func(string, types.UID, audit.Subject, audit.Judgement) {
	if w.decisions == nil {
		return nil
	}
	return func(set string, uid types.UID, s audit.Subject, said audit.Judgement) {
		w.decisions.AddSpare(auditDecision(set, uid, s, said, w.options.logObjects))
	}
}

func auditDecision(set string, uid types.UID, s audit.Subject, said audit.Judgement, withObject bool) webhook.Decision {
	d := webhook.Decision{
		Time: time.Now().UTC(), Door: auditDoor, PolicySet: set, UID: string(uid), Operation: auditOperation,
		APIVersion: s.Kind.GroupVersion().String(), Kind: s.Kind.Kind, Resource: s.Resource.String(), Namespace: s.Namespace, Name: s.Name,
		Matched: lock.MatchedOpen, Allowed: true, Findings: slices.Clone(said.Findings),
	}
	for _, x := range said.Excepted {
		d.Findings = append(d.Findings, x.Finding)
	}
	verdict.Sort(d.Findings)
	if i := slices.IndexFunc(d.Findings, func(f verdict.Finding) bool { return f.Severity.Blocks() }); i >= 0 {
		d.Allowed, d.Reason, d.Message = false, d.Findings[i].Reason, d.Findings[i].Message
	}
	if withObject {
		d.Object = withoutSecrets(s.Raw, s.Kind.Group == "" && s.Kind.Kind == "Secret")
	}
	return d
}

// audited judges an object by the PolicySet that judged it when it was there.
func (p *replayer) audited(ctx context.Context, d *loggedDecision, item *replayedItem) error {
	if d.Object == nil {
		item.Why = "the log does not hold the object: gitgate webhook writes it with --log-objects, if it is not too large"
		return nil
	}
	then, err := findingsOf(d.Findings)
	if err != nil {
		item.Why = "the findings of the decision cannot be read"
		return nil
	}
	if err := p.admissionRules(ctx); err != nil {
		return err
	}
	i := slices.IndexFunc(p.audits, func(s audit.PolicySet) bool { return s.Name == d.PolicySet })
	if i < 0 {
		item.Why = "the configuration has no PolicySet " + d.PolicySet + " that judges at admission"
		return nil
	}
	group, version, ok := strings.Cut(d.APIVersion, "/")
	if !ok {
		group, version = "", group
	}
	p.gates.now = func() time.Time { return d.Time }
	said := p.audits[i].Judge(ctx, audit.Subject{
		Kind:     schema.GroupVersionKind{Group: group, Version: version, Kind: d.Kind},
		Resource: schema.ParseGroupResource(d.Resource), Namespace: d.Namespace, Name: d.Name, Raw: d.Object,
	})
	verdict.Sort(said.Findings)
	var now []json.RawMessage
	blocks := false
	for _, f := range said.Findings {
		raw, err := json.Marshal(f)
		if err != nil {
			return err
		}
		now, blocks = append(now, raw), blocks || f.Severity.Blocks()
	}
	item.Now = answer(!blocks, false)
	item.compare(d.Findings, now)
	if item.Outcome == outcomeDifferent && slices.ContainsFunc(then, excepted) {
		item.Outcome, item.Why = outcomeUnknown, "a PolicyException of a release counted then, and which these are is not in the log"
	}
	return nil
}

// excepted reports whether a finding says that an exception lets it pass, or nearly did.
func excepted(f verdict.Finding) bool { return strings.Contains(f.Message, "PolicyException ") }
