package main

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/webhook/audit"
)

// newScanner makes what judges by PolicySets what is in the cluster already.
func newScanner(config *rest.Config, judged func(string, types.UID, audit.Subject, audit.Judgement)) (*audit.Scanner, error) {
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return audit.NewScanner(audit.ScanConfig{Judged: judged, Discovery: kinds, Objects: objects, Metadata: meta, Metrics: audit.NewScanMetrics(metrics.Registry)})
}

// auditSets makes the PolicySets that judge at admission ready to judge what is there,
// each by itself. One that does not compile is replaced as it is at admission.
func (g *gates) auditSets(ctx context.Context, sets []reconcile.PolicyInput, exceptions *admissionExceptions) ([]audit.PolicySet, error) {
	out := make([]audit.PolicySet, 0, len(sets))
	for _, p := range g.repaired(ctx, sets) {
		rules, err := g.compiled.get(ctx, p)
		if err = g.lastVersion(p, &rules, err); err != nil {
			return nil, err
		}
		engine, err := policy.Join([]*policy.Compiled{rules}, policyOptions)
		if err != nil {
			return nil, err
		}
		set := audit.PolicySet{
			Name: p.Set.Name, Judge: judgeThere(engine, exceptions, g.clock), Rules: map[string]audit.Description{},
			Version: rules, // shared by all that have the same content
		}
		for name, info := range rules.Rules() {
			set.Rules[name] = audit.Description{Severity: info.Severity, Category: info.Category}
		}
		if m := p.Set.Spec.Match; m != nil {
			for _, k := range m.Kinds {
				set.Kinds = append(set.Kinds, audit.KindMatch{Groups: k.APIGroups, Kinds: k.Kinds})
			}
		}
		out = append(out, set)
	}
	return out, nil
}

// judgeThere judges an object as if it were being created, by nobody: a rule that asks
// who does it is undetermined. Whether admission would refuse it or warn does not
// matter: a report is what one decides that by. What is excepted at admission is
// excepted here.
func judgeThere(engine *policy.Engine, exceptions *admissionExceptions, now func() time.Time) func(context.Context, audit.Subject) audit.Judgement {
	checker := gate.Checker{Policies: admissionEvaluator{engine}, Secrets: secretKeeper{}, Now: now}
	return func(ctx context.Context, s audit.Subject) (said audit.Judgement) {
		id := s.Kind.GroupKind().String() + "/" + s.Name
		if s.Namespace != "" {
			id = s.Namespace + "/" + id
		}
		none := s.Namespace == ""
		// It names rules and asks none of them, so that nothing of a Secret is told.
		probe, err := engine.Probe(ruleInput(gate.PolicyInput{Operation: string(policy.Create), ID: id, Object: s.Raw, ClusterScoped: none}))
		if err == nil {
			if said.Rules = probe.Rules(); len(said.Rules) == 0 {
				return said
			}
		}
		said.Findings = checker.Check(ctx, gate.Write{
			Operation: string(policy.Create), Group: s.Kind.Group, Kind: s.Kind.Kind, ID: id, Object: s.Raw, ClusterScoped: none,
		})
		exceptions.sort(s, &said)
		return said
	}
}

// sort sorts out what is excepted of what rules said of an object that is there.
func (x *admissionExceptions) sort(s audit.Subject, said *audit.Judgement) {
	counting := x.counting(s.Namespace, said.Findings)
	if counting == nil {
		return
	}
	u := metadataOf(s.Raw, s.Kind, s.Namespace, s.Name)
	found := said.Findings
	said.Findings = nil
	for _, f := range found {
		told := counting.Apply([]verdict.Finding{f}, u)
		e := counting.Covering(f, u)
		if e == nil {
			said.Findings = append(said.Findings, told...)
			continue
		}
		said.Excepted = append(said.Excepted, audit.ExceptedFinding{Finding: told[0], Exception: e.Name(), Owner: e.Owner(), Why: e.Reason(), Expires: e.Expires()})
	}
}

// exemptions are the exceptions for whoever has to know what they are about. A tenant's
// are about his namespace alone.
func (x *admissionExceptions) exemptions() (out []audit.Exemption) {
	for _, c := range x.all() {
		s := c.Scope()
		e := audit.Exemption{
			ID: c.confine + "\x00" + s.ID, PolicySets: s.PolicySets, Kinds: s.Kinds, Namespaces: s.Namespaces, Names: s.Names, Labels: s.Labels, Expires: c.Expires(),
		}
		if c.confine != "" {
			if !slices.Contains(s.Namespaces, c.confine) {
				continue
			}
			e.Namespaces = []string{c.confine}
		}
		out = append(out, e)
	}
	return out
}
