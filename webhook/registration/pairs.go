package registration

import (
	"fmt"
	"strings"

	arv1 "k8s.io/api/admissionregistration/v1"
)

// A Pair is a user and a resource whose requests never reach the webhook, and the
// bounds that the API server itself holds them to.
type Pair struct {
	// Name is a DNS label. The matchCondition is without-<name>, the policy
	// gitgate-<name>.
	Name string
	// When is a CEL expression over request that is true of what is left out.
	When string
	// Rules say where the policy looks. None means that there is no policy, as
	// nothing could be gained.
	Rules []arv1.NamedRuleWithOperations
	// Bounds must hold of what is left out.
	Bounds []Bound
}

// A Bound is a CEL expression that must be true, and what to say if it is not.
type Bound struct{ Expression, Message string }

// Users of the control plane.
const (
	userAPIServer = "system:apiserver"
	userManager   = "system:kube-controller-manager"
	userScheduler = "system:kube-scheduler"
	userCloud     = "system:cloud-controller-manager"
)

// Groups of the API.
const (
	groupRBAC         = "rbac.authorization.k8s.io"
	groupFlowControl  = "flowcontrol.apiserver.k8s.io"
	groupScheduling   = "scheduling.k8s.io"
	groupCoordination = "coordination.k8s.io"
	groupDiscovery    = "discovery.k8s.io"
)

// mainResource is true of requests that are not for a subresource: the member is absent
// then, so has() must guard it.
const mainResource = "!(has(request.subResource) && request.subResource != '')"

func subresource(name string) string {
	return fmt.Sprintf("has(request.subResource) && request.subResource == %s", quote(name))
}

func resource(group string, names ...string) string {
	return fmt.Sprintf("request.resource.group == %s && request.resource.resource in %s", quote(group), list(names))
}

func operation(names ...string) string { return "request.operation in " + list(names) }

func namespace(name string) string {
	return fmt.Sprintf("has(request.namespace) && request.namespace == %s", quote(name))
}

func user(names ...string) string { return "request.userInfo.username in " + list(names) }

// controller is one of kube-controller-manager's controllers, which act as their
// own service accounts, or, with shared credentials, as the manager.
func controller(names ...string) string {
	users := []string{userManager}
	for _, n := range names {
		users = append(users, account("kube-system", n))
	}
	return user(users...)
}

// account is the user name of a service account.
func account(namespace, name string) string { return "system:serviceaccount:" + namespace + ":" + name }

// node is any node. The group matters: NodeRestriction, which keeps nodes to
// themselves, knows them by it.
const node = "request.userInfo.username.startsWith('system:node:') && has(request.userInfo.groups) && 'system:nodes' in request.userInfo.groups"

// self is the node that the object is named after.
const self = node + " && has(request.name) && request.userInfo.username == 'system:node:' + request.name"

func all(conditions ...string) string {
	for i, c := range conditions {
		conditions[i] = "(" + c + ")"
	}
	return strings.Join(conditions, " && ")
}

func either(conditions ...string) string {
	for i, c := range conditions {
		conditions[i] = "(" + c + ")"
	}
	return strings.Join(conditions, " || ")
}

// quote writes a CEL string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range s {
		switch {
		case r == '\'' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// list writes a CEL list of strings.
func list(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// rule is where a policy looks: resources as in pods or pods/status.
func rule(group string, operations []arv1.OperationType, resources ...string) arv1.NamedRuleWithOperations {
	scope := arv1.AllScopes
	return arv1.NamedRuleWithOperations{RuleWithOperations: arv1.RuleWithOperations{
		Operations: operations,
		Rule:       arv1.Rule{APIGroups: []string{group}, APIVersions: []string{"*"}, Resources: resources, Scope: &scope},
	}}
}

var (
	writes   = []arv1.OperationType{arv1.Create, arv1.Update}
	creates  = []arv1.OperationType{arv1.Create}
	updates  = []arv1.OperationType{arv1.Update}
	deletes  = []arv1.OperationType{arv1.Delete}
	anything = []arv1.OperationType{arv1.OperationAll}
)

// metaField reads a field of the metadata of object or oldObject, or an empty
// value.
func metaField(object, field, empty string) string {
	return fmt.Sprintf("(has(%[1]s.metadata.%[2]s) ? %[1]s.metadata.%[2]s : %[3]s)", object, field, empty)
}

// unchanged holds where an update leaves a field of the metadata as it was.
func unchanged(field, empty string) Bound {
	return Bound{
		fmt.Sprintf("request.operation != 'UPDATE' || %s == %s", metaField("object", field, empty), metaField("oldObject", field, empty)),
		field + " may not be changed by this account",
	}
}

// plain holds of objects without what makes others delete or keep them.
func plain() []Bound {
	return []Bound{
		{"!has(object.metadata.finalizers) || object.metadata.finalizers.size() == 0", "no finalizers"},
		{"!has(object.metadata.ownerReferences) || object.metadata.ownerReferences.size() == 0", "no ownerReferences"},
	}
}

// notDry refuses dry runs: a token that was requested in one works.
var notDry = Bound{"!has(request.dryRun) || !request.dryRun", "no dry runs: the token in the answer would work"}
