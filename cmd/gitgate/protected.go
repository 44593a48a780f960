package main

import (
	"fmt"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// signerObjects names the objects that hold keys of signers.
func signerObjects(trust *v1alpha1.TrustPolicy, add func(kind, name string)) {
	for _, s := range trust.Spec.Commits.Signers {
		if s.OpenPGP != nil && s.OpenPGP.SecretRef != nil {
			add("Secret", s.OpenPGP.SecretRef.Name)
		}
		if s.OpenPGP != nil && s.OpenPGP.ConfigMapRef != nil {
			add("ConfigMap", s.OpenPGP.ConfigMapRef.Name)
		}
	}
}

// protected lists what judges the revisions of a GitSync, which they must not
// touch. system is gitgate's own namespace.
func protected(in reconcile.Inputs, system string) []gate.Protected {
	var out []gate.Protected
	add := func(group, kind, namespace, name, why string) {
		out = append(out, gate.Protected{Group: group, Kind: kind, Namespace: namespace, Name: name, Why: why})
	}
	ours := v1alpha1.GroupVersion.Group
	trust, sync := in.Trust, in.Sync
	add(ours, "GitSync", sync.Namespace, sync.Name, "the GitSync that it comes from")
	add(ours, "TrustPolicy", "", trust.Name, "the TrustPolicy that judges it")
	add(ours, "BreakGlass", "", "", "a break-glass grant")
	for _, p := range in.Policies {
		add(ours, "PolicySet", "", p.Set.Name, fmt.Sprintf("the PolicySet %s that judges it", p.Set.Name))
		if ref := p.Set.Spec.Source.ConfigMapRef; ref != nil {
			add("", "ConfigMap", system, ref.Name, fmt.Sprintf("the rules of the PolicySet %s that judges it", p.Set.Name))
		}
		whose := "the source of the PolicySet " + p.Set.Name + " that judges it"
		if g := p.Set.Spec.Source.Git; g != nil {
			add(ours, "TrustPolicy", "", g.Trust.Name, "the TrustPolicy of "+whose)
			if g.SecretRef != nil {
				add("", "Secret", system, g.SecretRef.Name, "the credentials for "+whose)
			}
		}
		if o := p.Set.Spec.Source.OCI; o != nil && o.SecretRef != nil {
			add("", "Secret", system, o.SecretRef.Name, "the credentials for "+whose)
		}
		if p.Trust != nil {
			signerObjects(p.Trust, func(kind, name string) { add("", kind, system, name, "the keys of the signers of "+whose) })
		}
	}
	signerObjects(trust, func(kind, name string) { add("", kind, system, name, "the keys of its signers") })
	for _, s := range trust.Spec.Images.PullSecrets {
		add("", "Secret", system, s.Name, "the credentials with which its images are verified")
	}
	if sync.Spec.SecretRef != nil {
		add("", "Secret", sync.Namespace, sync.Spec.SecretRef.Name, "the credentials with which it is fetched")
	}
	if d := sync.Spec.Decryption; d != nil && d.SecretRef != nil {
		add("", "Secret", sync.Namespace, d.SecretRef.Name, "the keys that decrypt it")
	}
	if trust.Spec.TrustObjects != "Others" {
		why := "trust while spec.trustObjects of TrustPolicy " + trust.Name + " is Deny"
		add(ours, "TrustPolicy", "", "", why)
		add(ours, "PolicySet", "", "", why)
	}
	return out
}
