package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/source"
)

// A specError is a fault in the GitSync or in what it refers to. Trying again
// does not help until one of them changes.
type specError struct {
	reason verdict.Reason
	msg    string
}

func (e *specError) Error() string { return e.msg }

func specErrorf(reason verdict.Reason, format string, args ...any) error {
	return &specError{reason: reason, msg: fmt.Sprintf(format, args...)}
}

// A resolver reads everything that a GitSync refers to and notes in which state.
type resolver struct {
	cached   client.Reader // GitSyncs, TrustPolicies, PolicySets
	direct   client.Reader // Secrets and ConfigMaps, which are not cached
	system   string        // our own namespace
	lenient  bool          // credentials may be missing
	rules    RuleSource    // rules of PolicySets from elsewhere; nil knows none
	versions []string
}

// Resolve reads what a GitSync refers to, by the same rules as the reconciler, for
// a check outside of the cluster. reader holds the objects; system is gitgate's own
// namespace. Credentials that only the cluster has (decryption keys and pull
// secrets) may be missing. An [*InputError] is the fault of one of the objects.
//
// rules are those of PolicySets that come from elsewhere. A set whose rules cannot be
// had says so in [PolicyInput.Withheld]; without rules, all such sets do.
func Resolve(ctx context.Context, reader client.Reader, system string, sync *v1alpha1.GitSync, rules RuleSource) (Inputs, error) {
	r := resolver{cached: reader, direct: reader, system: system, lenient: true, rules: rules}
	in, _, err := r.resolve(ctx, sync)
	if s, ok := asSpecError(err); ok {
		return in, &InputError{Reason: s.reason, Err: s}
	}
	return in, err
}

// resolve returns the inputs and a fingerprint that changes when any of them does.
func (r *resolver) resolve(ctx context.Context, sync *v1alpha1.GitSync) (Inputs, string, error) {
	in := Inputs{Sync: sync, Trust: &v1alpha1.TrustPolicy{}, KeyObjects: map[string]map[string][]byte{}}
	r.note("GitSync", sync, fmt.Sprint(sync.Generation))
	if err := r.scope(&in); err != nil {
		return in, "", err
	}
	if err := r.trust(ctx, &in); err != nil {
		return in, "", err
	}
	if err := r.policies(ctx, &in); err != nil {
		return in, "", err
	}
	if d := sync.Spec.Decryption; d != nil {
		var err error
		in.DecryptionKeys, err = r.secret(ctx, "spec.decryption.secretRef", sync.Namespace, d.SecretRef.Name)
		if err != nil && !r.excused(err) {
			return in, "", err
		}
	}
	return in, strings.Join(r.versions, "\n"), nil
}

func (r *resolver) note(kind string, o client.Object, version string) {
	r.versions = append(r.versions, fmt.Sprintf("%s %s %s %s", kind, client.ObjectKeyFromObject(o), o.GetUID(), version))
}

// controlPlane are the namespaces that the API server and its controllers keep.
var controlPlane = []string{"default", "kube-system", "kube-public", "kube-node-lease"}

// scope decides what the GitSync may touch. Outside of our own namespace that is
// its own namespace, as a ServiceAccount of that namespace (CVE-2021-41254).
func (r *resolver) scope(in *Inputs) error {
	sync := in.Sync
	if l := sync.Spec.Lock; l != nil {
		for _, n := range l.Namespaces {
			if slices.Contains(controlPlane, n) {
				return specErrorf(verdict.ScopeViolation, "spec.lock.namespaces names %s: the control plane writes there what no repository declares, so it cannot be closed; what Git declares in it is locked all the same", n)
			}
		}
	}
	if sync.Namespace == r.system {
		return nil
	}
	in.Confine = sync.Namespace
	if sync.Spec.ServiceAccountName == "" {
		return specErrorf(verdict.ScopeViolation, "spec.serviceAccountName is required outside of the namespace %s: name the ServiceAccount of %s that may apply", r.system, sync.Namespace)
	}
	if t := sync.Spec.TargetNamespace; t != "" && t != sync.Namespace {
		return specErrorf(verdict.ScopeViolation, "spec.targetNamespace %q must be %q: a GitSync cannot reach outside of its namespace unless it lives in %s", t, sync.Namespace, r.system)
	}
	if l := sync.Spec.Lock; l != nil {
		for _, n := range l.Namespaces {
			if n != sync.Namespace {
				return specErrorf(verdict.ScopeViolation, "spec.lock.namespaces names %q: a GitSync cannot lock another namespace than its own unless it lives in %s", n, r.system)
			}
		}
	}
	for _, d := range sync.Spec.DependsOn {
		if d.Namespace != "" && d.Namespace != sync.Namespace {
			return specErrorf(verdict.ScopeViolation, "spec.dependsOn names %s/%s: a GitSync cannot refer outside of its namespace unless it lives in %s", d.Namespace, d.Name, r.system)
		}
	}
	return nil
}

func (r *resolver) trust(ctx context.Context, in *Inputs) error {
	name := in.Sync.Spec.Trust.Name
	if err := r.trustPolicy(ctx, in, "spec.trust", name); err != nil {
		return err
	}
	if !slices.Contains(in.Trust.Spec.Namespaces, in.Sync.Namespace) {
		return specErrorf(verdict.RepositoryNotTrusted, "TrustPolicy %s does not list the namespace %s in spec.namespaces", name, in.Sync.Namespace)
	}
	if err := r.trusted(ctx, in, "spec", in.Sync.Spec.URL, in.Sync.Spec.Ref.Branch); err != nil {
		return err
	}
	return r.pullSecrets(ctx, in)
}

func (r *resolver) trustPolicy(ctx context.Context, in *Inputs, field, name string) error {
	in.Trust = &v1alpha1.TrustPolicy{}
	if err := r.cached.Get(ctx, types.NamespacedName{Name: name}, in.Trust); err != nil {
		return notFound(err, verdict.RepositoryNotTrusted, "%s: TrustPolicy %q", field, name)
	}
	r.note("TrustPolicy", in.Trust, fmt.Sprint(in.Trust.Generation))
	return nil
}

// trusted finds what the TrustPolicy says of a branch, and reads the signers' keys.
func (r *resolver) trusted(ctx context.Context, in *Inputs, field, rawURL, branch string) error {
	url, err := source.Canonical(rawURL)
	if err != nil {
		return specErrorf(verdict.RepositoryNotTrusted, "%s.url: %v", field, err)
	}
	spec := in.Trust.Spec
	i := slices.IndexFunc(spec.Repositories, func(t v1alpha1.TrustedRepository) bool {
		canonical, err := source.Canonical(t.URL)
		return err == nil && canonical == url && slices.Contains(t.Refs, branch)
	})
	if i < 0 {
		return specErrorf(verdict.RepositoryNotTrusted, "TrustPolicy %s does not speak for branch %s of %s: add it to spec.repositories with the commit from which its history counts",
			in.Trust.Name, branch, rawURL)
	}
	in.Repository = spec.Repositories[i]
	for _, signer := range spec.Commits.Signers {
		if err := r.signerKeys(ctx, in, signer); err != nil {
			return err
		}
	}
	return nil
}

func (r *resolver) signerKeys(ctx context.Context, in *Inputs, signer v1alpha1.CommitSigner) (err error) {
	if signer.OpenPGP == nil {
		return nil
	}
	field := fmt.Sprintf("TrustPolicy %s, signer %s", in.Trust.Name, signer.Name)
	if ref := signer.OpenPGP.SecretRef; ref != nil {
		in.KeyObjects["Secret/"+ref.Name], err = r.secret(ctx, field, r.system, ref.Name)
	}
	if ref := signer.OpenPGP.ConfigMapRef; ref != nil && err == nil {
		var data map[string]string
		data, err = r.configMap(ctx, field, r.system, ref.Name)
		in.KeyObjects["ConfigMap/"+ref.Name] = byteValues(data)
	}
	if s, ok := asSpecError(err); ok {
		return &specError{reason: verdict.TrustInvalid, msg: s.msg}
	}
	return err
}

func (r *resolver) pullSecrets(ctx context.Context, in *Inputs) error {
	for _, ref := range in.Trust.Spec.Images.PullSecrets {
		var s corev1.Secret
		if err := r.direct.Get(ctx, types.NamespacedName{Namespace: r.system, Name: ref.Name}, &s); err != nil {
			if r.excused(err) {
				continue
			}
			return notFound(err, verdict.RegistryUnavailable, "TrustPolicy %s, images.pullSecrets: Secret %s/%s", in.Trust.Name, r.system, ref.Name)
		}
		r.note("Secret", &s, s.ResourceVersion)
		in.PullSecrets = append(in.PullSecrets, s)
	}
	return nil
}

// policies reads the sets that the TrustPolicy demands and those that the GitSync
// names, each once.
func (r *resolver) policies(ctx context.Context, in *Inputs) error {
	seen := map[string]bool{}
	for _, ref := range slices.Concat(in.Trust.Spec.Policies, in.Sync.Spec.Policies) {
		if seen[ref.Name] {
			continue
		}
		seen[ref.Name] = true
		p, err := r.policy(ctx, ref.Name, in.Sync)
		if err != nil {
			return err
		}
		in.Policies = append(in.Policies, p)
	}
	return nil
}

func (r *resolver) policy(ctx context.Context, name string, sync *v1alpha1.GitSync) (PolicyInput, error) {
	p := PolicyInput{Set: &v1alpha1.PolicySet{}}
	if err := r.cached.Get(ctx, types.NamespacedName{Name: name}, p.Set); err != nil {
		return p, notFound(err, verdict.PolicyError, "policies: PolicySet %q", name)
	}
	r.note("PolicySet", p.Set, fmt.Sprint(p.Set.Generation))
	if err := r.policyModules(ctx, &p); err != nil {
		return p, err
	}
	if err := r.remoteRules(ctx, &p, sync); err != nil || p.Withheld == nil || r.lenient {
		return p, err
	}
	return p, &specError{reason: verdict.PolicyError, msg: p.Withheld.Error()}
}

// remoteRules adds the rules that come from elsewhere, as they are in force for a
// GitSync; nil for what no GitSync declares. Why there are none is told in Withheld;
// an error says nothing about them.
func (r *resolver) remoteRules(ctx context.Context, p *PolicyInput, sync *v1alpha1.GitSync) (err error) {
	if !p.Set.Spec.Source.Remote() {
		return nil
	}
	if r.rules == nil {
		p.Withheld = fmt.Errorf("PolicySet %s: its rules come from %s, which is not asked here", p.Set.Name, p.Set.Spec.Source.RemoteURL())
		return nil
	}
	if g := p.Set.Spec.Source.Git; g != nil && r.cached != nil {
		var trust v1alpha1.TrustPolicy
		switch err := r.cached.Get(ctx, types.NamespacedName{Name: g.Trust.Name}, &trust); {
		case err == nil:
			p.Trust = &trust
			r.note("TrustPolicy", &trust, fmt.Sprint(trust.Generation))
		case !apierrors.IsNotFound(err):
			return err
		}
	}
	p.Remote, err = r.rules.Rules(ctx, p.Set, sync)
	var withheld *WithheldError
	switch {
	case errors.As(err, &withheld):
		p.Remote, p.Withheld = nil, err
	case err != nil:
		return err
	default:
		r.note("rules of PolicySet", p.Set, p.Remote.Digest)
	}
	return nil
}

func (r *resolver) policyModules(ctx context.Context, p *PolicyInput) (err error) {
	if ref := p.Set.Spec.Source.ConfigMapRef; ref != nil {
		p.Modules, err = r.configMap(ctx, "PolicySet "+p.Set.Name, r.system, ref.Name)
	}
	return err
}

func (r *resolver) secret(ctx context.Context, field, namespace, name string) (map[string][]byte, error) {
	var s corev1.Secret
	if err := r.direct.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &s); err != nil {
		return nil, notFound(err, verdict.SecretUndecryptable, "%s: Secret %s/%s", field, namespace, name)
	}
	r.note("Secret", &s, s.ResourceVersion)
	return s.Data, nil
}

// excused reports whether credentials may go without an object that is not there.
func (r *resolver) excused(err error) bool {
	_, missing := asSpecError(err)
	return r.lenient && (missing || apierrors.IsNotFound(err))
}

func (r *resolver) configMap(ctx context.Context, field, namespace, name string) (map[string]string, error) {
	var m corev1.ConfigMap
	if err := r.direct.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &m); err != nil {
		return nil, notFound(err, verdict.PolicyError, "%s: ConfigMap %s/%s", field, namespace, name)
	}
	r.note("ConfigMap", &m, m.ResourceVersion)
	return m.Data, nil
}

// notFound makes absence a specError and leaves other errors to be tried again.
func notFound(err error, reason verdict.Reason, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if apierrors.IsNotFound(err) {
		return specErrorf(reason, "%s does not exist", what)
	}
	return fmt.Errorf("%s could not be read: %w", what, err)
}

func byteValues(m map[string]string) map[string][]byte {
	out := make(map[string][]byte, len(m))
	for k, v := range m {
		out[k] = []byte(v)
	}
	return out
}

func asSpecError(err error) (*specError, bool) {
	var s *specError
	return s, errors.As(err, &s)
}
