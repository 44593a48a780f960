package main

import (
	"context"

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
func newScanner(config *rest.Config) (*audit.Scanner, error) {
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
	return audit.NewScanner(audit.ScanConfig{Discovery: kinds, Objects: objects, Metadata: meta, Metrics: audit.NewScanMetrics(metrics.Registry)})
}

// auditSets makes the PolicySets that judge at admission ready to judge what is there,
// each by itself. One that does not compile is replaced as it is at admission.
func (g *gates) auditSets(ctx context.Context, sets []reconcile.PolicyInput) ([]audit.PolicySet, error) {
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
			Name: p.Set.Name, Judge: judgeThere(engine),
			Version: rules, // shared by all that have the same content
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
// matter: a report is what one decides that by.
func judgeThere(engine *policy.Engine) func(context.Context, audit.Subject) ([]string, []verdict.Finding) {
	checker := gate.Checker{Policies: admissionEvaluator{engine}, Secrets: secretKeeper{}}
	return func(ctx context.Context, s audit.Subject) ([]string, []verdict.Finding) {
		id := s.Kind.GroupKind().String() + "/" + s.Name
		if s.Namespace != "" {
			id = s.Namespace + "/" + id
		}
		none := s.Namespace == ""
		var rules []string
		// It names rules and asks none of them, so that nothing of a Secret is told.
		probe, err := engine.Probe(ruleInput(gate.PolicyInput{Operation: string(policy.Create), ID: id, Object: s.Raw, ClusterScoped: none}))
		if err == nil {
			if rules = probe.Rules(); len(rules) == 0 {
				return nil, nil
			}
		}
		findings := checker.Check(ctx, gate.Write{
			Operation: string(policy.Create), Group: s.Kind.Group, Kind: s.Kind.Kind, ID: id, Object: s.Raw, ClusterScoped: none,
		})
		return rules, findings
	}
}
