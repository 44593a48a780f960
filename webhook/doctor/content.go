package doctor

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// gitSyncs checks what the GitSyncs say of themselves and what is declared by them.
func (d *doctor) gitSyncs(ctx context.Context) []Check {
	ids := []string{"gitsyncs", "locks", "lock-replicas", "trust-in-git"}
	var all []v1alpha1.GitSync
	err := pages(ctx, d.client, &v1alpha1.GitSyncList{}, func(l *v1alpha1.GitSyncList) {
		for _, s := range l.Items {
			s.ManagedFields = nil
			all = append(all, s)
		}
	})
	if err != nil {
		out := make([]Check, len(ids))
		for i, id := range ids {
			out[i] = unknown(id, "GitSyncs", err)
		}
		return out
	}
	return []Check{ready(all), locks(all), replicasAgree(all), d.trustInGit(all)}
}

func ready(all []v1alpha1.GitSync) Check {
	c := Check{ID: "gitsyncs", Status: OK, Message: count(len(all), "GitSync") + ", Ready"}
	if len(all) == 0 {
		c.Status, c.Message, c.Advice = Warn, "there is no GitSync: nothing is kept applied", "see deploy/README.md"
		return c
	}
	bad, suspended := 0, 0
	for i := range all {
		s := &all[i]
		condition := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
		switch {
		case s.Spec.Suspend:
			suspended++
			c.Details = append(c.Details, nameOf(s)+" is suspended: drift is not corrected")
		case condition == nil:
			bad++
			c.Details = append(c.Details, nameOf(s)+" has no condition yet")
		case condition.Status != metav1.ConditionTrue:
			bad++
			c.Details = append(c.Details, clean(fmt.Sprintf("%s: %s: %s", nameOf(s), condition.Reason, condition.Message)))
		}
	}
	switch {
	case bad > 0:
		c.Status, c.Message, c.Advice = Fail, fmt.Sprintf("%d of %s not Ready", bad, count(len(all), "GitSync")), "kubectl describe gitsync tells file and line"
	case suspended > 0:
		c.Status, c.Message, c.Advice = Warn, fmt.Sprintf("%d of %s suspended", suspended, count(len(all), "GitSync")), "take spec.suspend away when the reason is gone"
	}
	return c
}

func nameOf(s *v1alpha1.GitSync) string { return s.Namespace + "/" + s.Name }

func locks(all []v1alpha1.GitSync) Check {
	c := Check{ID: "locks", Status: OK, Message: "every GitSync is locked"}
	if len(all) == 0 {
		c.Message = "there is nothing to lock"
	}
	for i := range all {
		if mode := all[i].LockMode(); mode != v1alpha1.ModeEnforce {
			c.Details = append(c.Details, nameOf(&all[i])+": "+mode)
		}
	}
	if len(c.Details) > 0 {
		c.Status = Warn
		c.Message = fmt.Sprintf("%d of %s not locked: what others change is put back, and not refused", len(c.Details), count(len(all), "GitSync"))
		c.Advice = "set spec.lock.mode to Audit, read what it reports, then to Enforce"
	}
	return c
}

// replicasAgree checks that the replicas of the webhook hold writes to what was
// applied.
func replicasAgree(all []v1alpha1.GitSync) Check {
	c := Check{ID: "lock-replicas", Status: OK, Message: "the replicas of the webhook know what was applied"}
	for i := range all {
		s := &all[i]
		if s.LockMode() == v1alpha1.ModeOff || s.Status.LastAppliedRevision == "" {
			continue
		}
		if s.Status.Lock == nil || len(s.Status.Lock.Replicas) == 0 {
			c.Details = append(c.Details, nameOf(s)+": no replica has reported")
			continue
		}
		for _, r := range s.Status.Lock.Replicas {
			if r.Revision != s.Status.LastAppliedRevision {
				c.Details = append(c.Details, clean(fmt.Sprintf("%s: %s has %s, applied is %s", nameOf(s), r.Name, r.Revision, s.Status.LastAppliedRevision)))
			}
		}
		digests := map[string]bool{}
		for _, r := range s.Status.Lock.Replicas {
			digests[r.Revision+" "+r.Digest] = true
		}
		if len(digests) > 1 {
			c.Details = append(c.Details, nameOf(s)+": replicas do not agree on the desired state")
		}
	}
	if len(c.Details) > 0 {
		c.Status, c.Message = Warn, "replicas of the webhook are behind, or differ"
		c.Advice = "they catch up by themselves; if not, their logs say why"
	}
	return c
}

// trustInGit tells of GitSyncs of our own namespace whose repository declares whose
// word counts: who may commit there can change what judges others, and if it is not
// watched, what judges himself.
func (d *doctor) trustInGit(all []v1alpha1.GitSync) Check {
	c := Check{ID: "trust-in-git", Status: OK, Message: "no repository of the namespace " + d.Namespace + " declares gitgate's own kinds"}
	for i := range all {
		s := &all[i]
		if s.Namespace != d.Namespace {
			continue
		}
		for e := range s.Status.Inventory.Objects() {
			if _, name, group, kind, ok := e.Parts(); ok && group == v1alpha1.GroupVersion.Group {
				c.Details = append(c.Details, clean(fmt.Sprintf("%s declares %s %s", nameOf(s), kind, name)))
			}
		}
	}
	if len(c.Details) > 0 {
		c.Status, c.Message = Warn, "repositories declare whose word counts: who may commit to them can change it for others"
		c.Advice = "let few people sign those paths, and keep the trust that judges such a repository out of Git"
	}
	return c
}

// trustPolicies tells of trust that leaves much open.
func (d *doctor) trustPolicies(ctx context.Context) []Check {
	c := Check{ID: "trust-rules", Status: OK}
	n := 0
	err := pages(ctx, d.client, &v1alpha1.TrustPolicyList{}, func(l *v1alpha1.TrustPolicyList) {
		n += len(l.Items)
		for _, t := range l.Items {
			for _, gap := range gaps(t.Spec) {
				c.Details = append(c.Details, t.Name+": "+gap)
			}
		}
	})
	if err != nil {
		return []Check{unknown(c.ID, "TrustPolicies", err)}
	}
	c.Message = count(n, "TrustPolicy") + ", with rules for every path"
	switch {
	case len(c.Details) > 0:
		c.Status, c.Message = Warn, "TrustPolicies leave much open"
		c.Advice = "say in spec.commits.rules who may change which paths, and verify every commit and image"
	case n == 0:
		c.Message = "there is no TrustPolicy: no GitSync is allowed anything"
	}
	return []Check{c}
}

// gaps lists what a TrustPolicy leaves open.
func gaps(s v1alpha1.TrustPolicySpec) []string {
	var out []string
	if len(s.Commits.Rules) == 0 {
		out = append(out, "no rules: every signer may change every path")
	}
	if s.Commits.Scope == "Head" {
		out = append(out, "scope Head: commits between two heads are not verified")
	}
	if s.Commits.ForgeKeys == "Allow" {
		out = append(out, "forgeKeys Allow: a forge may sign for anybody")
	}
	if s.Images.Default == "Allow" {
		out = append(out, "images.default Allow: images that no rule names are not verified")
	}
	return out
}

// policySets checks that rules compile, and deny.
func (d *doctor) policySets(ctx context.Context) []Check {
	c := Check{ID: "policysets", Status: OK}
	n := 0
	var broken, pending, lenient []string
	err := pages(ctx, d.client, &v1alpha1.PolicySetList{}, func(l *v1alpha1.PolicySetList) {
		n += len(l.Items)
		for _, p := range l.Items {
			condition := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
			switch {
			case condition == nil || condition.ObservedGeneration < p.Generation:
				pending = append(pending, p.Name+" was not compiled yet")
			case condition.Status != metav1.ConditionTrue:
				broken = append(broken, clean(p.Name+": "+condition.Message))
			case p.Spec.Enforcement != "" && p.Spec.Enforcement != "Deny":
				lenient = append(lenient, fmt.Sprintf("%s: enforcement is %s", p.Name, p.Spec.Enforcement))
			}
		}
	})
	if err != nil {
		return []Check{unknown(c.ID, "PolicySets", err)}
	}
	c.Message = count(n, "PolicySet") + ", all of which compile and deny"
	c.Details = slices.Concat(broken, pending, lenient)
	switch {
	case len(broken) > 0:
		c.Status, c.Message = Fail, fmt.Sprintf("%d of %s not compile: their last version that did stays in force, or nothing is allowed", len(broken), count(n, "PolicySet"))
		c.Advice = "kubectl describe policyset tells file and line"
	case len(pending) > 0:
		c.Status, c.Message, c.Advice = Unknown, fmt.Sprintf("%d of %s not compiled yet", len(pending), count(n, "PolicySet")), "see that the reconciler runs"
	case len(lenient) > 0:
		c.Status, c.Message, c.Advice = Warn, fmt.Sprintf("%d of %s only report", len(lenient), count(n, "PolicySet")), "set spec.enforcement to Deny when their findings are dealt with"
	case n == 0:
		c.Status, c.Message, c.Advice = Warn, "there is no PolicySet: signed content is applied whatever it says", "begin with library: [pod-security-restricted]"
	}
	return []Check{c}
}
