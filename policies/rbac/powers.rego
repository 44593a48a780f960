package rbac

# METADATA
# title: Escalation
# description: The verb escalate lets its owner write roles with rights that they do not have.
# custom:
#   severity: critical
#   remediation: Remove the verb.
#   references:
#   - CIS 5.1.8
#   - NSA Role-based access control
deny_escalate contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	some field in given({"rbac.authorization.k8s.io"}, {"clusterroles", "roles"}, {"escalate"})
	msg := sprintf("%s gives the verb escalate, and so every right: remove it", [field])
}

# METADATA
# title: Binding any role
# description: The verb bind lets its owner give roles with rights that they do not have. Roles that are named, other than cluster-admin, may be bound.
# custom:
#   severity: critical
#   remediation: Name the roles in resourceNames.
#   references:
#   - CIS 5.1.8
#   - NSA Role-based access control
deny_bind contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	some field in given({"rbac.authorization.k8s.io"}, {"clusterroles", "roles"}, {"bind"})
	not names_all_but(field, "cluster-admin")
	msg := sprintf("%s gives the verb bind on every role or on cluster-admin: name the roles in resourceNames", [field])
}

# METADATA
# title: Impersonation
# description: Who may impersonate anybody has everybody's rights. Users and service accounts that are named may be impersonated.
# custom:
#   severity: critical
#   remediation: Name them in resourceNames, and never system:masters.
#   references:
#   - CIS 5.1.8
#   - NSA Role-based access control
deny_impersonate contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	some field in impersonating
	not names_all_but(field, "system:masters")
	msg := sprintf("%s lets anybody be impersonated: name who in resourceNames", [field])
}

# Whether a rule names what it is for, and the one that it must not.
names_all_but(field, name) if {
	field in confined
	not field in naming(name)
}

naming(name) := {path |
	some i, rule in input.object.rules
	name in rule.resourceNames
	path := sprintf("rules[%v]", [i])
}

# Kubernetes 1.35 and later have verbs such as impersonate:user-info beside it.
impersonating := {path |
	is_role
	some i, rule in input.object.rules
	some group in rule.apiGroups
	group in {"", "*", "authentication.k8s.io"}
	some resource in rule.resources
	impersonated(resource)
	some verb in rule.verbs
	impersonates(verb)
	path := sprintf("rules[%v]", [i])
}

impersonated(resource) if resource in {"*", "groups", "nodes", "serviceaccounts", "uids", "userextras", "users"}

impersonated(resource) if {
	is_string(resource)
	startswith(resource, "userextras/")
}

impersonates("*")

impersonates(verb) if {
	is_string(verb)
	startswith(verb, "impersonate")
}

# METADATA
# title: Reading Secrets
# description: Secrets hold the keys to everything else, the tokens of service accounts among them. List and watch show their contents.
# custom:
#   severity: high
#   remediation: Name the Secrets in resourceNames.
#   references:
#   - CIS 5.1.2
#   - NSA Secrets
deny_read_secrets contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	some field in given({""}, {"secrets"}, {"get", "list", "watch"}) - confined
	msg := sprintf("%s reads every Secret: name those that are needed in resourceNames", [field])
}

# METADATA
# title: Exec into pods
# description: Exec, attach, port-forward and ephemeral containers get into running pods, with all that they have.
# custom:
#   severity: high
#   remediation: Remove the right; give it for a time when it is needed.
deny_pod_exec contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	some field in given({""}, {"pods/attach", "pods/ephemeralcontainers", "pods/exec", "pods/portforward"}, {"create", "get", "patch", "update"})
	msg := sprintf("%s gets into running pods: remove the right", [field])
}

# METADATA
# title: Proxy to nodes
# description: Through nodes/proxy one runs commands in every pod of a node, past admission and audit.
# custom:
#   severity: critical
#   remediation: Remove the right; use nodes/metrics, nodes/stats or nodes/log.
#   references:
#   - CIS 5.1.10
deny_nodes_proxy contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	some field in given({""}, {"nodes/proxy"}, {"create", "delete", "get", "patch", "update"})
	msg := sprintf("%s gives nodes/proxy, and so every pod on the node: remove it", [field])
}

# METADATA
# title: Service account tokens
# description: Who makes tokens of a service account has its rights.
# custom:
#   severity: critical
#   remediation: Name the service accounts in resourceNames.
#   references:
#   - CIS 5.1.13
deny_create_tokens contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	some field in given({""}, {"serviceaccounts/token"}, {"create"}) - confined
	msg := sprintf("%s makes tokens of every service account: name those that are needed in resourceNames", [field])
}

# METADATA
# title: Approving certificates
# description: Who approves or signs certificates makes users of any name and group.
# custom:
#   severity: critical
#   remediation: Remove the right.
#   references:
#   - CIS 5.1.11
deny_approve_certificates contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	some field in certifying
	msg := sprintf("%s approves or signs certificates, and so makes users of any name: remove the right", [field])
}

certifying contains field if {
	some field in given({"certificates.k8s.io"}, {"certificatesigningrequests/approval", "certificatesigningrequests/status"}, {"patch", "update"})
}

certifying contains field if some field in given({"certificates.k8s.io"}, {"signers"}, {"approve", "sign"}) - confined

# METADATA
# title: Admission configuration
# description: Who writes webhook configurations or admission policies reads and changes every object, or turns the checks off.
# custom:
#   severity: critical
#   remediation: Name the configurations in resourceNames.
#   references:
#   - CIS 5.1.12
deny_write_admission contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	resources := {
		"mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations",
		"validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations",
	}
	some field in given({"admissionregistration.k8s.io"}, resources, writes) - confined
	msg := sprintf("%s writes what judges every request: name the configurations in resourceNames", [field])
}

# METADATA
# title: API extension
# description: Who writes APIServices or CustomResourceDefinitions takes over the requests for a whole group, or converts its objects.
# custom:
#   severity: high
#   remediation: Name them in resourceNames.
deny_write_api_extension contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	groups := {"apiextensions.k8s.io", "apiregistration.k8s.io"}
	some field in given(groups, {"apiservices", "customresourcedefinitions"}, writes) - confined
	msg := sprintf("%s changes which API there is: name the objects in resourceNames", [field])
}

# METADATA
# title: Persistent volumes
# description: Who makes PersistentVolumes makes one that is a path of the node.
# custom:
#   severity: high
#   remediation: Use a StorageClass, which makes them.
#   references:
#   - CIS 5.1.9
deny_create_volumes contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	some field in given({""}, {"persistentvolumes"}, changes)
	msg := sprintf("%s writes PersistentVolumes, which may be files of a node: let a StorageClass make them", [field])
}

# METADATA
# title: Writing roles and bindings
# description: Who writes roles and bindings hands out all that they have themselves.
# custom:
#   severity: high
#   remediation: Leave RBAC to Git.
#   references:
#   - NSA Role-based access control
deny_write_rbac contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	resources := {"clusterrolebindings", "clusterroles", "rolebindings", "roles"}
	some field in given({"rbac.authorization.k8s.io"}, resources, changes)
	msg := sprintf("%s writes roles or bindings: leave them to Git", [field])
}

# METADATA
# title: Writing namespaces
# description: The labels of a namespace say which pods it takes and which network policies hold.
# custom:
#   severity: high
#   remediation: Remove the right, or name the namespaces in resourceNames.
deny_write_namespaces contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	some field in given({""}, {"namespaces", "namespaces/finalize"}, {"patch", "update"}) - confined
	msg := sprintf("%s changes the labels of namespaces, and so which checks hold: remove the right", [field])
}

# METADATA
# title: Writing nodes
# description: Who writes nodes draws pods to them, with their Secrets.
# custom:
#   severity: high
#   remediation: Remove the right.
deny_write_nodes contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	some field in given({""}, {"nodes", "nodes/status"}, writes)
	msg := sprintf("%s writes nodes, and so where pods run: remove the right", [field])
}

workloads := {
	"cronjobs", "daemonsets", "deployments", "jobs", "pods", "podtemplates", "replicasets",
	"replicationcontrollers", "statefulsets",
}

# METADATA
# title: Workloads in system namespaces
# description: Who runs pods in a namespace of the system runs them with its service accounts.
# custom:
#   severity: critical
#   remediation: Remove the right, or use another namespace.
#   references:
#   - CIS 5.1.4
deny_workloads_in_system_namespace contains {"field": field, "msg": msg} if {
	input.object.kind == "Role"
	input.object.metadata.namespace in protected_namespaces
	some field in given({"", "apps", "batch"}, workloads, changes)
	msg := sprintf("%s runs pods in %s: use another namespace", [field, input.object.metadata.namespace])
}

# METADATA
# title: Workloads in every namespace
# description: Who runs pods in every namespace has the Secrets and service accounts of all.
# custom:
#   severity: medium
#   remediation: Use a Role in each namespace.
#   references:
#   - CIS 5.1.4
warn_workloads_everywhere contains {"field": field, "msg": msg} if {
	input.object.kind == "ClusterRole"
	some field in given({"", "apps", "batch"}, workloads, changes)
	msg := sprintf("%s runs pods wherever this ClusterRole is bound: use a Role in each namespace", [field])
}
