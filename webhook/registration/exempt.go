package registration

import (
	"fmt"

	arv1 "k8s.io/api/admissionregistration/v1"
)

// controllerAccounts are the service accounts that kube-controller-manager 1.37
// makes for its controllers when it starts. A later one's new account is not left
// out, but judged by the webhook.
var controllerAccounts = []string{
	"attachdetach-controller", "bootstrap-signer", "certificate-controller", "cloud-provider",
	"clusterrole-aggregation-controller", "cronjob-controller", "daemon-set-controller", "deployment-controller",
	"device-taint-eviction-controller", "disruption-controller", "endpoint-controller", "endpointslice-controller",
	"endpointslicemirroring-controller", "ephemeral-volume-controller", "expand-controller", "generic-garbage-collector",
	"horizontal-pod-autoscaler", "job-controller", "kube-apiserver-serving-clustertrustbundle-publisher",
	"legacy-service-account-token-cleaner", "namespace-controller", "node-controller", "persistent-volume-binder",
	"pod-garbage-collector", "podcertificaterequestcleaner", "pv-protection-controller", "pvc-protection-controller",
	"replicaset-controller", "replication-controller", "resource-claim-controller", "resourceclaim-controller",
	"resourcequota-controller", "root-ca-cert-publisher", "route-controller", "selinux-warning-controller",
	"service-account-controller", "service-cidrs-controller", "service-controller", "statefulset-controller",
	"storage-version-migrator-controller", "taint-eviction-controller", "token-cleaner", "ttl-after-finished-controller",
	"ttl-controller", "validatingadmissionpolicy-status-controller", "volumeattributesclass-protection-controller",
}

// Pairs lists what never reaches the webhook; see the package comment. It is the
// only place where an exemption can be made.
func (c Config) Pairs() []Pair {
	pairs := []Pair{
		{
			// Nothing reads events to decide, and they tell what is wrong.
			Name: "events",
			When: "request.resource.group in ['', 'events.k8s.io'] && request.resource.resource == 'events'",
		},
		nodeLeases(), c.componentLeases(), nodeStatus(), nodeLifecycle(),
		bootstrapRoles(), bootstrapBindings(), bootstrapFlowControl(), bootstrapPriorities(),
		controllerServiceAccounts(), controllerTokens(),
	}
	return append(pairs, c.ownPairs()...)
}

func nodeLeases() Pair {
	return Pair{
		Name: "node-leases",
		When: all(resource(groupCoordination, "leases"), mainResource, namespace("kube-node-lease"), operation("CREATE", "UPDATE"), self),
		Rules: []arv1.NamedRuleWithOperations{
			rule(groupCoordination, writes, "leases"),
		},
		Bounds: []Bound{
			unchanged("labels", "{}"), unchanged("annotations", "{}"), plain()[0],
			{"!has(object.metadata.ownerReferences) || object.metadata.ownerReferences.all(o, o.kind == 'Node' && o.name == object.metadata.name)",
				"a node's lease belongs to the node"},
		},
	}
}

// componentLeases are how control plane components, and we, elect leaders.
func (c Config) componentLeases() Pair {
	named := func(user, name string) string {
		return fmt.Sprintf("request.userInfo.username == %s && has(request.name) && request.name == %s", quote(user), quote(name))
	}
	return Pair{
		Name: "component-leases",
		When: all(resource(groupCoordination, "leases"), mainResource, operation("CREATE", "UPDATE"), either(
			all(namespace("kube-system"), either(
				named(userManager, "kube-controller-manager"), named(userScheduler, "kube-scheduler"),
				named(userCloud, "cloud-controller-manager"),
				"request.userInfo.username == '"+userAPIServer+"' && has(request.name) && request.name.startsWith('apiserver-')",
			)),
			all(namespace(c.Namespace), user(c.Webhook, c.Reconciler)),
		)),
		Rules:  []arv1.NamedRuleWithOperations{rule(groupCoordination, writes, "leases")},
		Bounds: append(plain(), unchanged("labels", "{}")),
	}
}

// nodeAnnotations are those that a kubelet writes along with its status.
var nodeAnnotations = []string{
	"volumes.kubernetes.io/", "alpha.kubernetes.io/", "node.alpha.kubernetes.io/", "csi.volume.kubernetes.io/",
}

func nodeStatus() Pair {
	return Pair{
		Name:  "node-status",
		When:  all(resource("", "nodes"), subresource("status"), operation("UPDATE"), self),
		Rules: []arv1.NamedRuleWithOperations{rule("", updates, "nodes/status")},
		Bounds: []Bound{
			unchanged("labels", "{}"), unchanged("finalizers", "[]"), unchanged("ownerReferences", "[]"),
			annotationsChangeOnly(nodeAnnotations),
		},
	}
}

// annotationsChangeOnly holds where an update changes no annotation but those
// whose names begin so.
func annotationsChangeOnly(prefixes []string) Bound {
	kept := func(a, b string) string {
		return fmt.Sprintf("%[1]s.all(k, %[3]s.exists(p, k.startsWith(p)) || (k in %[2]s && %[2]s[k] == %[1]s[k]))", a, b, list(prefixes))
	}
	now, before := metaField("object", "annotations", "{}"), metaField("oldObject", "annotations", "{}")
	return Bound{all(kept(now, before), kept(before, now)), "this annotation may not be changed along with the status"}
}

func nodeLifecycle() Pair {
	const taints = "(has(object.spec.taints) ? object.spec.taints : [])"
	const oldTaints = "(has(oldObject.spec.taints) ? oldObject.spec.taints : [])"
	theirs := func(a, b string) string {
		return fmt.Sprintf("%s.all(t, t.key.startsWith('node.kubernetes.io/') || t.key.startsWith('node.cloudprovider.kubernetes.io/') || "+
			"%s.exists(o, o.key == t.key && o.effect == t.effect && has(o.value) == has(t.value) && (!has(o.value) || o.value == t.value)))", a, b)
	}
	return Pair{
		Name: "node-lifecycle",
		When: all(resource("", "nodes"), either(mainResource, subresource("status")), operation("UPDATE"), controller("node-controller")),
		Rules: []arv1.NamedRuleWithOperations{
			rule("", updates, "nodes", "nodes/status"),
		},
		Bounds: []Bound{
			unchanged("finalizers", "[]"), unchanged("ownerReferences", "[]"), unchanged("annotations", "{}"),
			{all(theirs(taints, oldTaints), theirs(oldTaints, taints)), "only taints of node.kubernetes.io may be changed"},
			{"(has(object.spec.unschedulable) && object.spec.unschedulable) == (has(oldObject.spec.unschedulable) && oldObject.spec.unschedulable)",
				"spec.unschedulable may not be changed"},
			{metaField("object", "labels", "{}") + ".all(k, k.endsWith('kubernetes.io/os') || k.endsWith('kubernetes.io/arch') || (k in " +
				metaField("oldObject", "labels", "{}") + " && " + metaField("oldObject", "labels", "{}") + "[k] == object.metadata.labels[k]))",
				"only the labels of operating system and architecture may be changed"},
		},
	}
}

func controllerServiceAccounts() Pair {
	return Pair{
		Name: "controller-accounts",
		When: all(resource("", "serviceaccounts"), mainResource, namespace("kube-system"), operation("CREATE"), user(userManager),
			"has(request.name) && request.name in "+list(controllerAccounts)),
		Rules: []arv1.NamedRuleWithOperations{rule("", creates, "serviceaccounts")},
		Bounds: append(plain(),
			Bound{"!has(object.secrets) && !has(object.imagePullSecrets)", "a controller's account has no secrets"},
			Bound{"!has(object.metadata.annotations) && !has(object.metadata.labels)", "a controller's account has no labels or annotations"},
		),
	}
}

// bound is true of a request for a token that goes with an object. The member is
// written as null where there is none.
const bound = "has(object.spec.boundObjectRef) && dyn(object.spec.boundObjectRef) != null"

func controllerTokens() Pair {
	return Pair{
		Name: "controller-tokens",
		When: all(resource("", "serviceaccounts"), subresource("token"), namespace("kube-system"), operation("CREATE"), user(userManager),
			"has(request.name) && request.name in "+list(controllerAccounts)),
		Rules: []arv1.NamedRuleWithOperations{rule("", creates, "serviceaccounts/token")},
		Bounds: []Bound{
			notDry,
			{"!has(object.spec.expirationSeconds) || object.spec.expirationSeconds <= 3607", "a controller's token lives for an hour"},
			{"!(" + bound + ")", "a controller's token is bound to nothing"},
		},
	}
}
