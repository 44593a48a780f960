package registration

import (
	"maps"

	arv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/webhook/lock"
)

// policyPrefix begins the names of all of our policies and bindings.
const policyPrefix = "gitgate-"

// dryRunPolicy is the name of the policy on the dry-run account.
const dryRunPolicy = policyPrefix + "dry-run"

// A Policy is a ValidatingAdmissionPolicy and its binding, of the same name.
type Policy struct {
	Policy  *arv1.ValidatingAdmissionPolicy
	Binding *arv1.ValidatingAdmissionPolicyBinding
}

// Policies returns what bounds the exempt pairs and the dry-run account. Every
// field that the API server would fill in is set.
func (c Config) Policies(mode lock.Mode) []Policy {
	out := []Policy{c.dryRun()}
	if mode == lock.Off {
		return out // nothing is left out of a webhook that is not installed
	}
	action := arv1.Deny
	if mode == lock.Audit {
		action = arv1.Audit
	}
	for _, p := range c.Pairs() {
		if len(p.Bounds) > 0 {
			out = append(out, policy(policyPrefix+p.Name, p.When, p.Rules, p.Bounds, action))
		}
	}
	return out
}

// dryRun holds the account that learns desired states to what it is for. It is
// always on: what else the account may do is none of a lock's mode. A TokenRequest
// in a dry run returns a token that works, and a Binding binds nothing but says
// so: subresources and the resources that stand for them are out.
func (c Config) dryRun() Policy {
	return policy(dryRunPolicy, "request.userInfo.username == "+quote(c.DryRunner),
		[]arv1.NamedRuleWithOperations{rule("*", anything, "*/*")},
		[]Bound{
			{"has(request.dryRun) && request.dryRun", "this account makes dry runs only"},
			{"request.operation in ['CREATE', 'UPDATE']", "this account makes dry runs of CREATE and UPDATE only"},
			{mainResource, "this account makes dry runs of objects, not of subresources"},
			{"!(request.resource.group == '' && request.resource.resource == 'bindings') && " +
				"!(request.resource.group in ['authentication.k8s.io', 'authorization.k8s.io'])", "this account makes dry runs of objects that are stored"},
		}, arv1.Deny)
}

func policy(name, when string, rules []arv1.NamedRuleWithOperations, bounds []Bound, action arv1.ValidationAction) Policy {
	failure, match, reason := arv1.Fail, arv1.Equivalent, metav1.StatusReasonForbidden
	p := &arv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: maps.Clone(labels)},
		Spec: arv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &failure,
			MatchConstraints: &arv1.MatchResources{
				MatchPolicy: &match, ResourceRules: rules,
				NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{},
			},
			MatchConditions: []arv1.MatchCondition{{Name: "who-and-what", Expression: when}},
		},
	}
	for _, b := range bounds {
		p.Spec.Validations = append(p.Spec.Validations, arv1.Validation{Expression: b.Expression, Message: "gitgate: " + b.Message, Reason: &reason})
	}
	return Policy{p, &arv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: maps.Clone(labels)},
		Spec:       arv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: name, ValidationActions: []arv1.ValidationAction{action}},
	}}
}

// retired lists our policies that mode does not call for.
func (c Config) retired(mode lock.Mode) []string {
	wanted := map[string]bool{}
	for _, p := range c.Policies(mode) {
		wanted[p.Policy.Name] = true
	}
	var out []string
	for _, name := range []string{
		"node-leases", "component-leases", "node-status", "node-lifecycle", "bootstrap-roles", "bootstrap-bindings",
		"bootstrap-flowcontrol", "bootstrap-priorities", "controller-accounts", "controller-tokens", "own-binding",
		"own-pod-status", "own-removal", "own-endpoints", "own-tokens", "own-certificates", "own-pods",
	} {
		if name = policyPrefix + name; !wanted[name] {
			out = append(out, name)
		}
	}
	return out
}
