package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	arv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/lock"
	"gitgate.dev/gitgate/webhook/registration"
)

// A demand is the strictest mode that anything asks the webhook for, and who asks.
type demand struct {
	mode lock.Mode
	who  []string
}

func (d *demand) add(mode, who string) {
	if mode == "" || mode == v1alpha1.ModeOff {
		return
	}
	d.who = append(d.who, who+" asks for "+mode)
	if d.mode != lock.Enforce {
		d.mode = lock.Mode(mode)
	}
}

// demanded reads who counts on the webhook.
func (d *doctor) demanded(ctx context.Context) (demand, error) {
	out := demand{mode: lock.Off}
	err := pages(ctx, d.client, &v1alpha1.GitSyncList{}, func(l *v1alpha1.GitSyncList) {
		for i := range l.Items {
			out.add(l.Items[i].LockMode(), "GitSync "+nameOf(&l.Items[i]))
		}
	})
	if err != nil {
		return out, err
	}
	err = pages(ctx, d.client, &v1alpha1.PolicySetList{}, func(l *v1alpha1.PolicySetList) {
		for _, p := range l.Items {
			out.add(p.Spec.Admission, "PolicySet "+p.Name)
		}
	})
	if err != nil {
		return out, err
	}
	return out, pages(ctx, d.client, &v1alpha1.TrustPolicyList{}, func(l *v1alpha1.TrustPolicyList) {
		for _, p := range l.Items {
			out.add(p.Spec.Images.Admission, "TrustPolicy "+p.Name)
		}
	})
}

// registration checks that the API server asks the webhook about everything that
// is not left out for good reason, and says what an outage of the webhook would
// hold up.
func (d *doctor) registration(ctx context.Context) []Check {
	const id = "webhook-configuration"
	want, err := d.demanded(ctx)
	if err != nil && !absent(err) {
		return []Check{unknown(id, "who asks for a lock", err)}
	}
	config, err := d.configuration(ctx)
	if absent(err) {
		return []Check{unregistered(want)}
	}
	if err != nil {
		return []Check{unknown(id, "ValidatingWebhookConfigurations", err)}
	}
	c := Check{ID: id, Status: OK, Message: "the API server asks gitgate about every write, but for what the control plane needs to stay alive"}
	for _, w := range config.Webhooks {
		if u := w.ClientConfig.URL; u != nil {
			c.Details = append(c.Details, clean(w.Name+" is asked at "+*u)) // whether it is ours, people know
		}
	}
	if weak := d.weaknesses(config, want.mode); len(weak) > 0 {
		c.Status, c.Details = Fail, weak
		c.Message = "ValidatingWebhookConfiguration " + registration.Name + " lets writes pass unasked"
		c.Advice = "gitgate webhook restores it within seconds: see that it runs, and find out who changed it"
	}
	return []Check{c, outage(config), d.bounds(ctx, config)}
}

func (d *doctor) configuration(ctx context.Context) (*arv1.ValidatingWebhookConfiguration, error) {
	var config arv1.ValidatingWebhookConfiguration
	err := d.client.Get(ctx, client.ObjectKey{Name: registration.Name}, &config)
	return &config, err
}

// unregistered says what it means that nobody asks the webhook: nothing, unless
// somebody counts on it.
func unregistered(want demand) Check {
	c := Check{ID: "webhook-configuration", Status: Warn, Message: "the API server does not ask gitgate: nothing is locked",
		Advice: "set spec.lock.mode of GitSyncs to Audit, then Enforce, and run gitgate webhook"}
	if want.mode != lock.Off {
		c.Status, c.Details = Fail, want.who
		c.Message = "ValidatingWebhookConfiguration " + registration.Name + " does not exist: what is asked of the webhook does not hold"
		c.Advice = "see that gitgate webhook runs: it registers itself once it knows all releases, and again within seconds"
	}
	return c
}

// registered is what gitgate webhook would want, as far as it can be told from here:
// where it is asked, whom it is told to trust and which versions it pins are taken
// from what there is.
func (d *doctor) registered() registration.Config {
	return registration.Config{
		Namespace: d.Namespace, Webhook: d.user(webhookName), Reconciler: d.user(reconcilerName), DryRunner: d.user(dryRunName),
		Secret: certificateName, OwnPods: func() []registration.Template { return []registration.Template{{}} },
	}
}

func (d *doctor) user(account string) string {
	return "system:serviceaccount:" + d.Namespace + ":" + account
}

// weaknesses lists what keeps the API server from asking about everything.
func (d *doctor) weaknesses(config *arv1.ValidatingWebhookConfiguration, mode lock.Mode) []string {
	pins := pinned(config)
	want := map[string]arv1.ValidatingWebhook{}
	for _, w := range d.registered().Configuration(mode, nil, pins).Webhooks {
		want[w.Name] = w
	}
	var out []string
	for _, w := range config.Webhooks {
		expected, ok := want[w.Name]
		if !ok {
			continue // one more question does no harm; what it may refuse is shown by webhook-outage
		}
		delete(want, w.Name)
		gaps := differences(w, expected, mode)
		if s := w.ClientConfig.Service; s != nil && (s.Namespace != d.Namespace || s.Name != webhookName) {
			gaps = append(gaps, "the Service "+s.Namespace+"/"+s.Name+" is asked instead of ours")
		}
		for _, gap := range gaps {
			out = append(out, clean(w.Name+": "+gap))
		}
	}
	for name := range want {
		out = append(out, name+" is missing")
	}
	for gr, version := range pins {
		if _, err := d.client.RESTMapper().KindFor(gr.WithVersion(version)); err != nil {
			out = append(out, clean(fmt.Sprintf("%s is pinned to version %s, which is not served: it is left out", gr, version)))
		}
	}
	slices.Sort(out)
	return out
}

// differences compares one webhook with what it should be.
func differences(have, want arv1.ValidatingWebhook, mode lock.Mode) []string {
	var out []string
	if !equality.Semantic.DeepEqual(have.Rules, want.Rules) {
		out = append(out, "its rules leave something out")
	}
	if failure(have) != failure(want) && mode == lock.Enforce {
		out = append(out, "failurePolicy is not Fail: an outage lets everything pass")
	}
	if !selectsAll(have.NamespaceSelector, have.ObjectSelector) {
		out = append(out, "a selector leaves objects out, by labels that people may set")
	}
	if have.MatchPolicy == nil || *have.MatchPolicy != *want.MatchPolicy {
		out = append(out, "matchPolicy is not Equivalent: other versions of a kind are left out")
	}
	if have.SideEffects == nil || *have.SideEffects != *want.SideEffects {
		out = append(out, "sideEffects is not None: dry runs are refused, the reconciler's included")
	}
	if have.TimeoutSeconds == nil || *have.TimeoutSeconds != *want.TimeoutSeconds {
		out = append(out, fmt.Sprintf("timeoutSeconds is not %d", *want.TimeoutSeconds))
	}
	for _, m := range have.MatchConditions {
		if !slices.Contains(want.MatchConditions, m) {
			out = append(out, "matchCondition "+m.Name+" leaves out what gitgate does not")
		}
	}
	return out
}

func selectsAll(selectors ...*metav1.LabelSelector) bool {
	return !slices.ContainsFunc(selectors, func(s *metav1.LabelSelector) bool {
		return s != nil && len(s.MatchLabels)+len(s.MatchExpressions) > 0
	})
}

func failure(w arv1.ValidatingWebhook) arv1.FailurePolicyType {
	if w.FailurePolicy == nil {
		return arv1.Fail
	}
	return *w.FailurePolicy
}

// pinned reads from the first of our webhooks which resources it pins.
func pinned(config *arv1.ValidatingWebhookConfiguration) registration.Pins {
	pins := registration.Pins{}
	for _, w := range config.Webhooks {
		for _, r := range w.Rules {
			if len(r.APIGroups) == 1 && len(r.APIVersions) == 1 && r.APIVersions[0] != "*" && len(r.Resources) > 0 {
				pins[schema.GroupResource{Group: r.APIGroups[0], Resource: r.Resources[0]}] = r.APIVersions[0]
			}
		}
	}
	return pins
}

// outage says what is refused while no replica of the webhook answers, and what is
// not.
func outage(config *arv1.ValidatingWebhookConfiguration) Check {
	c := Check{ID: "webhook-outage", Status: OK}
	exempt := exemptions(config)
	for _, name := range slices.Sorted(maps.Keys(exempt)) {
		c.Details = append(c.Details, clean("goes on: "+name))
	}
	for _, w := range config.Webhooks {
		for _, r := range w.Rules {
			if has(r.APIGroups, "*") {
				c.Details = append(c.Details, clean(fmt.Sprintf("stops: %s of every resource in %s", operations(r.Operations), scope(w))))
			}
		}
	}
	c.Message = "while the webhook does not answer, writes are refused, but for " + count(len(exempt), "exemption")
	switch {
	case installed(config) != lock.Enforce:
		c.Message = "while the webhook does not answer, every write passes: no lock enforces"
	case len(exempt) == 0:
		c.Status = Fail
		c.Message = "while the webhook does not answer, every write is refused, the control plane's own included"
		c.Advice = "kube-controller-manager ends when its leases cannot be written: let gitgate webhook register itself"
	case !exempt["own-pods"]:
		c.Status = Warn
		c.Message += "; gitgate's own Pods cannot be made again either"
		c.Advice = "keep a replica of the webhook running at all times, and run it from the Deployment that deploy/base names"
	}
	return c
}

func scope(w arv1.ValidatingWebhook) string {
	if !selectsAll(w.NamespaceSelector) {
		return "selected namespaces"
	}
	return "every namespace"
}

func operations(ops []arv1.OperationType) string {
	if slices.Contains(ops, arv1.OperationAll) {
		return "create, update, delete and connect"
	}
	out := make([]string, len(ops))
	for i, o := range ops {
		out[i] = strings.ToLower(string(o))
	}
	return strings.Join(out, ", ")
}

// installed is the mode that a registration stands for.
func installed(config *arv1.ValidatingWebhookConfiguration) lock.Mode {
	if slices.ContainsFunc(config.Webhooks, func(w arv1.ValidatingWebhook) bool { return failure(w) == arv1.Fail }) {
		return lock.Enforce
	}
	return lock.Audit
}

// exemptions names the pairs that never reach the webhook.
func exemptions(config *arv1.ValidatingWebhookConfiguration) map[string]bool {
	out := map[string]bool{}
	for _, w := range config.Webhooks {
		for _, m := range w.MatchConditions {
			if name, ok := strings.CutPrefix(m.Name, "without-"); ok && name != "pinned" {
				out[name] = true
			}
		}
	}
	return out
}

// bounds checks the policies that bound what never reaches the webhook.
func (d *doctor) bounds(ctx context.Context, config *arv1.ValidatingWebhookConfiguration) Check {
	c := Check{ID: "exemption-policies", Status: OK, Message: "policies bound what never reaches the webhook"}
	exempt := exemptions(config)
	for _, p := range d.registered().Policies(installed(config)) {
		if !exempt[strings.TrimPrefix(p.Policy.Name, "gitgate-")] {
			continue
		}
		gap, err := d.policyGap(ctx, p)
		if err != nil {
			return unknown(c.ID, "ValidatingAdmissionPolicies", err)
		}
		if gap != "" {
			c.Details = append(c.Details, p.Policy.Name+" "+gap)
		}
	}
	if len(c.Details) > 0 {
		c.Status, c.Message = Fail, "exemptions of the webhook are open to whoever can act as a component of the control plane"
		c.Advice = "gitgate webhook restores its policies within seconds: see that it runs, and find out who changed them"
	}
	return c
}

// policyGap says what is wrong with one of our policies; empty if nothing is.
func (d *doctor) policyGap(ctx context.Context, want registration.Policy) (string, error) {
	var policy arv1.ValidatingAdmissionPolicy
	var binding arv1.ValidatingAdmissionPolicyBinding
	for _, o := range []client.Object{&policy, &binding} {
		if err := d.client.Get(ctx, client.ObjectKey{Name: want.Policy.Name}, o); absent(err) {
			return "does not exist, or its binding does not", nil
		} else if err != nil {
			return "", err
		}
	}
	if want.Policy.Name == ownPodsPolicy { // says what our own Pods are, which is not known here
		want.Policy.Spec.Validations = policy.Spec.Validations
	}
	switch {
	case !equality.Semantic.DeepEqual(policy.Spec, want.Policy.Spec):
		return "is not as gitgate makes it", nil
	case !equality.Semantic.DeepEqual(binding.Spec, want.Binding.Spec):
		return "does not deny: its binding is not as gitgate makes it", nil
	}
	return "", nil
}

// dryRunAccount checks that the account for dry runs is held to them.
func (d *doctor) dryRunAccount(ctx context.Context) []Check {
	c := Check{ID: "dry-run-policy", Status: OK, Message: "a policy holds " + dryRunName + " to dry runs"}
	gap, err := d.policyGap(ctx, d.registered().Policies(lock.Off)[0])
	if err != nil {
		return []Check{unknown(c.ID, "ValidatingAdmissionPolicies", err)}
	}
	if gap != "" {
		c.Status = Fail
		c.Message = fmt.Sprintf("the policy %s %s: whoever may impersonate %s can write", dryRunPolicy, gap, dryRunName)
		c.Advice = "apply deploy/base/policy-dry-run.yaml, and find out who changed it"
	}
	return []Check{c}
}
