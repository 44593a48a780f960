package rbac_test

findings(object, parameters) := {[name, place(result)] |
	some name, results in data.rbac with input as {"object": object, "parameters": parameters}
	regex.match(`^(deny|warn)_`, name)
	some result in results
}

place(result) := result.field

place(result) := "" if not result.field

role(kind, rules) := {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "a", "namespace": "b"}, "rules": rules}

rule(group, resource, verb) := {"apiGroups": [group], "resources": [resource], "verbs": [verb]}

named(group, resource, verb, name) := object.union(rule(group, resource, verb), {"resourceNames": [name]})

rbac_group := "rbac.authorization.k8s.io"

admission := "admissionregistration.k8s.io"

# What one rule of a ClusterRole is found to give.
powers := [
	[rule("", "configmaps", "get"), set()],
	[rule("", "configmaps", "*"), {["deny_wildcard_verbs", "rules[0].verbs"]}],
	[rule("*", "configmaps", "get"), {["deny_wildcard_groups", "rules[0].apiGroups"]}],
	[rule("example.com", "*", "get"), {["deny_wildcard_resources", "rules[0].resources"]}],
	[rule("example.com", "*/status", "get"), {["deny_wildcard_resources", "rules[0].resources"]}],
	[{"nonResourceURLs": ["/healthz"], "verbs": ["get"]}, set()],
	[{"nonResourceURLs": ["*"], "verbs": ["get"]}, {["deny_wildcard_urls", "rules[0].nonResourceURLs"]}],
	[rule(rbac_group, "clusterroles", "escalate"), {["deny_escalate", "rules[0]"]}],
	[named(rbac_group, "roles", "escalate", "a"), {["deny_escalate", "rules[0]"]}],
	[rule(rbac_group, "clusterroles", "get"), set()],
	[rule(rbac_group, "clusterroles", "bind"), {["deny_bind", "rules[0]"]}],
	[named(rbac_group, "clusterroles", "bind", "view"), set()],
	[named(rbac_group, "clusterroles", "bind", "cluster-admin"), {["deny_bind", "rules[0]"]}],
	[rule("example.com", "clusterroles", "bind"), set()],
	[rule("", "users", "impersonate"), {["deny_impersonate", "rules[0]"]}],
	[named("", "groups", "impersonate", "developers"), set()],
	[named("", "groups", "impersonate", "system:masters"), {["deny_impersonate", "rules[0]"]}],
	[rule("authentication.k8s.io", "userextras/scopes", "impersonate"), {["deny_impersonate", "rules[0]"]}],
	[rule("authentication.k8s.io", "users", "impersonate:user-info"), {["deny_impersonate", "rules[0]"]}],
	[rule("", "users", "*"), {["deny_impersonate", "rules[0]"], ["deny_wildcard_verbs", "rules[0].verbs"]}],
	[rule("example.com", "users", "impersonate"), set()],
	[object.union(rule("", "secrets", "create"), {"resourceNames": null}), set()],
	[rule("", "secrets", "list"), {["deny_read_secrets", "rules[0]"]}],
	[named("", "secrets", "get", "a"), set()],
	[rule("", "secrets", "create"), set()],
	[rule("", "Secrets", "get"), set()],
	[rule("", "pods/exec", "create"), {["deny_pod_exec", "rules[0]"]}],
	[rule("", "pods/exec", "get"), {["deny_pod_exec", "rules[0]"]}],
	[rule("", "*/exec", "create"), {["deny_pod_exec", "rules[0]"], ["deny_wildcard_resources", "rules[0].resources"]}],
	[rule("", "pods/log", "get"), set()],
	[rule("", "nodes/proxy", "get"), {["deny_nodes_proxy", "rules[0]"]}],
	[rule("", "serviceaccounts/token", "create"), {["deny_create_tokens", "rules[0]"]}],
	[named("", "serviceaccounts/token", "create", "a"), set()],
	[rule("certificates.k8s.io", "certificatesigningrequests/approval", "update"), {["deny_approve_certificates", "rules[0]"]}],
	[rule("certificates.k8s.io", "signers", "sign"), {["deny_approve_certificates", "rules[0]"]}],
	[named("certificates.k8s.io", "signers", "sign", "example.com/a"), set()],
	[rule(admission, "validatingwebhookconfigurations", "delete"), {["deny_write_admission", "rules[0]"]}],
	[named(admission, "mutatingwebhookconfigurations", "patch", "a"), set()],
	[rule("apiregistration.k8s.io", "apiservices", "update"), {["deny_write_api_extension", "rules[0]"]}],
	[rule("", "persistentvolumes", "create"), {["deny_create_volumes", "rules[0]"]}],
	[rule("", "persistentvolumes", "get"), set()],
	[rule(rbac_group, "rolebindings", "create"), {["deny_write_rbac", "rules[0]"]}],
	[rule("", "namespaces", "patch"), {["deny_write_namespaces", "rules[0]"]}],
	[named("", "namespaces", "patch", "a"), set()],
	[rule("", "nodes", "patch"), {["deny_write_nodes", "rules[0]"]}],
	[rule("apps", "deployments", "create"), {["warn_workloads_everywhere", "rules[0]"]}],
	[{}, set()],
	# shapes
	["a", {["deny_malformed", "rules[0]"]}],
	[{"apiGroups": [""], "resources": "secrets", "verbs": ["get"]}, {["deny_malformed", "rules[0].resources"]}],
	[{"apiGroups": [""], "resources": [1, "users"], "verbs": [1]}, {["deny_malformed", "rules[0].resources"], ["deny_malformed", "rules[0].verbs"]}],
]

test_powers if {
	every case in powers {
		got := findings(role("ClusterRole", [case[0]]), {})
		print(case, "found", got)
		got == case[1]
	}
}

test_path_of_rule if {
	got := findings(role("Role", [rule("", "configmaps", "get"), rule("", "secrets", "get")]), {})
	got == {["deny_read_secrets", "rules[1]"]}
}

test_everything if {
	got := {name | some [name, _] in findings(role("ClusterRole", [rule("*", "*", "*")]), {})}
	got == {
		"deny_approve_certificates", "deny_bind", "deny_create_tokens", "deny_create_volumes", "deny_escalate", "deny_impersonate",
		"deny_nodes_proxy", "deny_pod_exec", "deny_read_secrets", "deny_wildcard_groups", "deny_wildcard_resources",
		"deny_wildcard_verbs", "deny_write_admission", "deny_write_api_extension", "deny_write_namespaces", "deny_write_nodes",
		"deny_write_rbac", "warn_workloads_everywhere",
	}
}

test_roles if {
	create := [rule("apps", "deployments", "create")]
	system := json.patch(role("Role", create), [{"op": "add", "path": "/metadata/namespace", "value": "kube-system"}])
	every case in [
		[role("Role", create), {}, set()],
		[system, {}, {["deny_workloads_in_system_namespace", "rules[0]"]}],
		[system, {"protectedNamespaces": ["b"]}, set()],
		[role("Role", create), {"protectedNamespaces": ["b"]}, {["deny_workloads_in_system_namespace", "rules[0]"]}],
		[role("ClusterRole", null), {}, set()],
		[role("ClusterRole", {}), {}, {["deny_malformed", "rules"]}],
		[object.union(role("ClusterRole", []), {"apiVersion": "example.com/v1", "rules": [rule("*", "*", "*")]}), {}, set()],
		[object.union(role("ClusterRole", []), {"metadata": {"name": "view"}}), {}, {["deny_builtin_role", "metadata.name"]}],
		[object.union(role("Role", []), {"metadata": {"name": "view"}}), {}, set()],
		[object.union(role("Role", []), {"metadata": {"name": "system:a"}}), {}, {["deny_builtin_role", "metadata.name"]}],
		[object.union(role("ClusterRole", []), {"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}}), {}, {["warn_extends_builtin_role", "metadata.labels[rbac.authorization.k8s.io/aggregate-to-view]"]}],
		[object.union(role("ClusterRole", []), {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}, {"matchExpressions": [{"key": "a"}]}]}}), {}, set()],
		[object.union(role("ClusterRole", []), {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {}}]}}), {}, {["deny_aggregates_everything", "aggregationRule.clusterRoleSelectors[0]"]}],
		[{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleList", "items": []}, {}, {["deny_list", "items"]}],
		[{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleList", "items": null}, {}, set()],
		[role("Role", []), {"protectedNamespaces": "kube-system"}, {["deny_wrong_parameters", ""]}],
	] {
		got := findings(case[0], case[1])
		print(case, "found", got)
		got == case[2]
	}
}

binding(kind, ref, subjects) := {
	"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "a", "namespace": "b"},
	"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ref}, "subjects": subjects,
}

account(namespace, name) := {"kind": "ServiceAccount", "namespace": namespace, "name": name}

user(name) := {"kind": "User", "name": name}

group(name) := {"kind": "Group", "name": name}

as_role(of) := json.patch(of, [{"op": "add", "path": "/roleRef/kind", "value": "Role"}])

foreign(of) := object.union(of, {"apiVersion": "example.com/v1"})

test_bindings if {
	system := [{"op": "add", "path": "/metadata/namespace", "value": "kube-system"}]
	every case in [
		[binding("RoleBinding", "view", [account("b", "web"), {"kind": "ServiceAccount", "name": "api"}, user("ann")]), {}, set()],
		[binding("RoleBinding", "view", null), {}, set()],
		[binding("ClusterRoleBinding", "cluster-admin", [user("ann")]), {}, {["deny_cluster_admin", "subjects[0]"]}],
		[binding("RoleBinding", "cluster-admin", [account("b", "web")]), {}, {["deny_cluster_admin", "subjects[0]"]}],
		[binding("ClusterRoleBinding", "cluster-admin", [user("ann"), account("flux", "kustomize"), group("ops")]), {"clusterAdmins": ["User:ann", "ServiceAccount:flux/kustomize", "Group:ops"]}, set()],
		[binding("ClusterRoleBinding", "cluster-admin", [user("ops")]), {"clusterAdmins": ["Group:ops"]}, {["deny_cluster_admin", "subjects[0]"]}],
		[json.patch(binding("RoleBinding", "cluster-admin", [user("ann")]), [{"op": "add", "path": "/roleRef/kind", "value": "Role"}]), {}, set()],
		[binding("ClusterRoleBinding", "view", [group("system:masters")]), {}, {["deny_masters", "subjects[0]"]}],
		[binding("ClusterRoleBinding", "view", [user("system:anonymous")]), {}, {["deny_anonymous", "subjects[0]"]}],
		[binding("ClusterRoleBinding", "view", [group("system:unauthenticated")]), {}, {["deny_anonymous", "subjects[0]"]}],
		[binding("ClusterRoleBinding", "system:public-info-viewer", [group("system:unauthenticated"), group("system:authenticated")]), {}, set()],
		[binding("ClusterRoleBinding", "view", [group("system:authenticated")]), {}, {["deny_everybody", "subjects[0]"]}],
		[binding("ClusterRoleBinding", "view", [group("system:serviceaccounts")]), {}, {["deny_everybody", "subjects[0]"]}],
		[binding("ClusterRoleBinding", "view", [group("system:authenticated")]), {"rolesForEverybody": ["view"]}, set()],
		[binding("RoleBinding", "view", [account("b", "default")]), {}, {["deny_default_service_account", "subjects[0]"]}],
		[binding("RoleBinding", "view", [account("c", "web")]), {}, {["warn_foreign_service_account", "subjects[0].namespace"]}],
		[json.patch(binding("RoleBinding", "edit", [user("ann")]), system), {}, {["deny_binding_in_system_namespace", "roleRef.name"]}],
		[json.patch(binding("RoleBinding", "view", [user("ann")]), system), {}, set()],
		[as_role(binding("RoleBinding", "system:discovery", [group("system:authenticated")])), {}, {["deny_everybody", "subjects[0]"]}],
		[binding("RoleBinding", "view", [user("default"), object.union(user("ann"), {"namespace": "c"})]), {}, set()],
		[as_role(json.patch(binding("RoleBinding", "edit", [user("ann")]), system)), {}, set()],
		[foreign(json.patch(binding("RoleBinding", "cluster-admin", [account("c", "default"), "ann"]), system)), {}, set()],
		[foreign(binding("RoleBinding", "", null)), {}, set()],
		[json.remove(binding("RoleBinding", "view", [user("ann")]), ["roleRef"]), {}, {["deny_malformed", "roleRef.name"]}],
		[binding("RoleBinding", "view", [{"kind": "User"}]), {}, {["deny_malformed", "subjects[0].name"]}],
		[binding("RoleBinding", "", [user("ann")]), {}, {["deny_malformed", "roleRef.name"]}],
		[binding("RoleBinding", "view", ["ann"]), {}, {["deny_malformed", "subjects[0]"]}],
		[binding("RoleBinding", "view", [{"kind": "User", "name": 1}]), {}, {["deny_malformed", "subjects[0].name"]}],
		[binding("RoleBinding", "view", "ann"), {}, {["deny_malformed", "subjects"]}],
	] {
		got := findings(case[0], case[1])
		print(case, "found", got)
		got == case[2]
	}
}

test_deletion_passes if {
	{name |
		some name, results in data.rbac with input as {"operation": "DELETE", "oldObject": role("ClusterRole", [rule("*", "*", "*")])}
		regex.match(`^(deny|warn)_`, name)
		count(results) > 0
	} == set()
}
