package registration

import (
	"fmt"

	arv1 "k8s.io/api/admissionregistration/v1"
)

// The API server writes its bootstrap objects as system:apiserver and ends itself
// if it cannot. It only ever adds to what is there. These bounds keep an
// impersonator from making more of it: they hold of what is added, not of what an
// administrator has added before.

// publicRoles are bound to everybody, so they may say nothing but what is public.
var publicRoles = []string{
	"system:basic-user", "system:discovery", "system:public-info-viewer",
	"system:service-account-issuer-discovery", "system:cluster-trust-bundle-discovery",
}

// apiServer is the API server itself over its loopback connection.
const apiServer = "request.userInfo.username == '" + userAPIServer + "' && has(request.userInfo.groups) && 'system:masters' in request.userInfo.groups"

const bootstrapLabel = "has(object.metadata.labels) && 'kubernetes.io/bootstrapping' in object.metadata.labels && " +
	"object.metadata.labels['kubernetes.io/bootstrapping'] == 'rbac-defaults'"

const bootstrapName = "object.metadata.name.startsWith('system:') || " +
	"object.metadata.name in ['cluster-admin', 'admin', 'edit', 'view', 'extension-apiserver-authentication-reader']"

// added are the items of a list that an update adds.
func added(field string) string {
	return fmt.Sprintf("(has(object.%[1]s) ? object.%[1]s : []).filter(x, request.operation != 'UPDATE' || "+
		"!(has(oldObject.%[1]s) && x in oldObject.%[1]s))", field)
}

func bootstrapRoles() Pair {
	const name = "object.metadata.name"
	const public = "(has(r.nonResourceURLs) ? r.verbs == ['get'] && r.nonResourceURLs.all(u, u != '*' && u != '/*') : " +
		"r.resources.all(x, x in ['selfsubjectaccessreviews', 'selfsubjectrulesreviews', 'selfsubjectreviews', 'clustertrustbundles']) && " +
		"r.verbs.all(v, v in ['create', 'get', 'list', 'watch']))"
	// What is aggregated to admin, edit and view reaches people.
	const people = "(!has(r.nonResourceURLs) && r.verbs.all(v, !(v in ['*', 'escalate', 'bind'])) && r.resources.all(x, !x.contains('*')) && " +
		"r.apiGroups.all(g, !(g in ['*', 'admissionregistration.k8s.io', 'apiextensions.k8s.io', 'apiregistration.k8s.io', 'certificates.k8s.io'])) && " +
		"(!('impersonate' in r.verbs) || r.resources == ['serviceaccounts']))"
	const component = "(r.verbs.all(v, !(v in ['*', 'bind', 'impersonate'])) && " +
		"(!('escalate' in r.verbs) || " + name + " == 'system:controller:clusterrole-aggregation-controller'))"
	rules := added("rules") + ".all(r, " + name + " in " + list(publicRoles) + " ? " + public +
		" : " + name + " in ['admin', 'edit', 'view'] || " + name + ".startsWith('system:aggregate-to-') ? " + people +
		" : " + name + " in ['cluster-admin', 'system:kubelet-api-admin'] || " + component + ")"
	return Pair{
		Name:  "bootstrap-roles",
		When:  all(resource(groupRBAC, "roles", "clusterroles"), operation("CREATE", "UPDATE"), apiServer),
		Rules: []arv1.NamedRuleWithOperations{rule(groupRBAC, writes, "roles", "clusterroles")},
		Bounds: []Bound{
			{bootstrapName, "not the name of a bootstrap role"},
			{bootstrapLabel, "not a bootstrap role"},
			{rules, "a bootstrap role does not say this"},
		},
	}
}

func bootstrapBindings() Pair {
	const name = "object.metadata.name"
	subjects := added("subjects") + ".all(s, " + all(
		"s.kind == 'ServiceAccount' ? s.namespace == 'kube-system' : s.name.startsWith('system:')",
		"!(s.name in ['system:authenticated', 'system:unauthenticated', 'system:serviceaccounts']) || "+name+" in "+list(publicRoles),
		name+" != 'cluster-admin' || (s.kind == 'Group' && s.name == 'system:masters')",
		"!"+name+".startsWith('system:controller:') || (s.kind == 'ServiceAccount' && "+name+" == 'system:controller:' + s.name)",
	) + ")"
	return Pair{
		Name:  "bootstrap-bindings",
		When:  all(resource(groupRBAC, "rolebindings", "clusterrolebindings"), operation("CREATE", "UPDATE"), apiServer),
		Rules: []arv1.NamedRuleWithOperations{rule(groupRBAC, writes, "rolebindings", "clusterrolebindings")},
		Bounds: []Bound{
			{bootstrapName, "not the name of a bootstrap binding"},
			{bootstrapLabel, "not a bootstrap binding"},
			{name + " == object.roleRef.name || " + name + " == 'system::' + object.roleRef.name", "a bootstrap binding bears the name of its role"},
			{subjects, "a bootstrap binding does not say this"},
		},
	}
}

func bootstrapFlowControl() Pair {
	const suggested = "'apf.kubernetes.io/autoupdate-spec' in %[1]s.metadata.annotations"
	marked := func(object string) string {
		return fmt.Sprintf("has(%[1]s.metadata.annotations) && "+suggested, object)
	}
	return Pair{
		Name: "bootstrap-flowcontrol",
		When: all(resource(groupFlowControl, "flowschemas", "prioritylevelconfigurations"), apiServer,
			either(all(mainResource, operation("CREATE", "UPDATE", "DELETE")), subresource("status"))),
		Rules: []arv1.NamedRuleWithOperations{
			rule(groupFlowControl, append(append([]arv1.OperationType{}, writes...), arv1.Delete), "flowschemas", "prioritylevelconfigurations"),
		},
		Bounds: []Bound{
			{either("request.operation == 'DELETE' && "+marked("oldObject"), "request.operation != 'DELETE' && "+marked("object")),
				"not a bootstrap object of priority and fairness"},
		},
	}
}

func bootstrapPriorities() Pair {
	return Pair{
		Name:  "bootstrap-priorities",
		When:  all(resource(groupScheduling, "priorityclasses"), operation("CREATE", "UPDATE"), apiServer),
		Rules: []arv1.NamedRuleWithOperations{rule(groupScheduling, writes, "priorityclasses")},
		Bounds: append(plain(),
			Bound{"object.metadata.name in ['system-cluster-critical', 'system-node-critical'] && object.value >= 2000000000 && " +
				"(!has(object.globalDefault) || !object.globalDefault)", "not a bootstrap priority class"},
		),
	}
}
