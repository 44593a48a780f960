package workloads_test

import data.workloads

container := {
	"name": "web", "image": "ghcr.io/acme/web:1.2",
	"resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
	"readinessProbe": {"httpGet": {"path": "/ready", "port": 80}},
	"livenessProbe": {"httpGet": {"path": "/live", "port": 80}},
	"securityContext": {"readOnlyRootFilesystem": true},
}

once := json.remove(container, ["readinessProbe", "livenessProbe"])

pod_spec := {"serviceAccountName": "web", "automountServiceAccountToken": false, "containers": [container], "initContainers": [once]}

good := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
	"spec": {"replicas": 3, "template": {"spec": object.union(pod_spec, {"topologySpreadConstraints": [{"maxSkew": 1}]})}},
}

job := {
	"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"},
	"spec": {"activeDeadlineSeconds": 60, "template": {"spec": object.union(pod_spec, {"containers": [once]})}},
}

cron_job := {
	"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "a"},
	"spec": {"concurrencyPolicy": "Forbid", "jobTemplate": {"spec": job.spec}},
}

owned_pod := {
	"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "ownerReferences": [{"kind": "ReplicaSet"}]},
	"spec": object.union(pod_spec, {"nodeName": "n1"}),
}

budget := {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"}, "spec": {"maxUnavailable": 1}}

account := {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}, "automountServiceAccountToken": false}

findings(object, parameters) := {[rule, result.field] |
	some rule, results in data.workloads with input as {"object": object, "parameters": parameters}
	regex.match(`^(deny|warn)_`, rule)
	some result in results
}

# Rule and field of what is found when the patches are made.
found(object, patches) := findings(json.patch(object, patches), {})

at(path, value) := {"op": "add", "path": path, "value": value}

without(path) := {"op": "remove", "path": path}

test_good_ones_pass if {
	every object in [good, job, cron_job, owned_pod, budget, account] {
		findings(object, {}) == set()
	}
}

template := "/spec/template/spec"

first := "/spec/template/spec/containers/0"

forbidden := [
	["deny_malformed_pod", "spec.template.spec.containers", [at(concat("/", [template, "containers"]), {})]],
	["deny_malformed_pod", "spec.template.spec.securityContext", [at(concat("/", [template, "securityContext"]), [])]],
	["deny_malformed_pod", "spec.template.spec.containers[0].startupProbe", [at(concat("/", [first, "startupProbe"]), 7)]],
	["deny_malformed_pod", "spec.template.spec.containers[0].volumeMounts[0]", [at(concat("/", [first, "volumeMounts"]), ["a"])]],
	["deny_malformed_pod", "spec.template.spec.tolerations", [at(concat("/", [template, "tolerations"]), 7)]],
	["deny_malformed_pod", "spec.template.spec.affinity", [at(concat("/", [template, "affinity"]), [])]],
	["deny_malformed_pod", "spec.template.spec.volumes[0].emptyDir", [at(concat("/", [template, "volumes"]), [{"name": "a", "emptyDir": "Memory"}])]],
	["deny_malformed_pod", "spec.template.spec.containers[0].resources.requests", [at(concat("/", [first, "resources"]), {"requests": [], "limits": {"cpu": 1, "memory": 1}})]],
	["deny_requests_missing", "spec.template.spec.containers[0].resources.requests.cpu", [without(concat("/", [first, "resources/requests/cpu"]))]],
	["deny_requests_missing", "spec.template.spec.containers[0].resources.requests.cpu", [at(concat("/", [first, "resources/requests/cpu"]), null)]],
	["deny_requests_missing", "spec.template.spec.initContainers[0].resources.requests.cpu", [without(concat("/", [template, "initContainers/0/resources/requests/cpu"]))]],
	["deny_limits_missing", "spec.template.spec.containers[0].resources.limits.memory", [without(concat("/", [first, "resources/limits"]))]],
	["deny_limits_missing", "spec.template.spec.containers[0].resources.limits.memory", [at(concat("/", [first, "resources/limits/memory"]), "0")]],
	["deny_limits_missing", "spec.template.spec.containers[0].resources.limits.memory", [at(concat("/", [first, "resources/limits/memory"]), {})]],
	["deny_memory_volume_unbounded", "spec.template.spec.volumes[0].emptyDir.sizeLimit", [at(concat("/", [template, "volumes"]), [{"name": "a", "emptyDir": {"medium": "Memory"}}])]],
	["deny_memory_volume_unbounded", "spec.template.spec.volumes[0].emptyDir.sizeLimit", [at(concat("/", [template, "volumes"]), [{"name": "a", "emptyDir": {"medium": "Memory", "sizeLimit": null}}])]],
	["deny_readiness_probe_missing", "spec.template.spec.containers[0].readinessProbe", [without(concat("/", [first, "readinessProbe"]))]],
	["deny_readiness_probe_missing", "spec.template.spec.containers[0].readinessProbe", [at(concat("/", [first, "readinessProbe"]), {})]],
	["warn_liveness_probe_missing", "spec.template.spec.containers[0].livenessProbe", [without(concat("/", [first, "livenessProbe"]))]],
	["warn_probes_equal", "spec.template.spec.containers[0].livenessProbe", [at(concat("/", [first, "livenessProbe"]), container.readinessProbe)]],
	["deny_replicas_not_spread", "spec.template.spec.topologySpreadConstraints", [without(concat("/", [template, "topologySpreadConstraints"]))]],
	["deny_replicas_not_spread", "spec.template.spec.topologySpreadConstraints", [at(concat("/", [template, "topologySpreadConstraints"]), null)]],
	["deny_replicas_not_spread", "spec.template.spec.topologySpreadConstraints", [at(concat("/", [template, "topologySpreadConstraints"]), [])]],
	["warn_few_replicas", "spec.replicas", [at("/spec/replicas", 1)]],
	["deny_rollout_stops_all", "spec.strategy", [at("/spec/strategy", {"type": "Recreate"})]],
	["deny_rollout_stops_all", "spec.strategy", [at("/spec/strategy", {"rollingUpdate": {"maxUnavailable": "100%"}})]],
	["deny_rollout_stops_all", "spec.strategy", [at("/spec/strategy", {"rollingUpdate": {"maxUnavailable": 3}})]],
	["deny_no_grace", "spec.template.spec.terminationGracePeriodSeconds", [at(concat("/", [template, "terminationGracePeriodSeconds"]), 0)]],
	["deny_writable_root", "spec.template.spec.containers[0].securityContext.readOnlyRootFilesystem", [without(concat("/", [first, "securityContext"]))]],
	["deny_writable_root", "spec.template.spec.containers[0].securityContext.readOnlyRootFilesystem", [at(concat("/", [first, "securityContext/readOnlyRootFilesystem"]), "true")]],
	["deny_added_capabilities", "spec.template.spec.containers[0].securityContext.capabilities.add", [at(concat("/", [first, "securityContext/capabilities"]), {"add": ["NET_BIND_SERVICE", "SYS_ADMIN"]})]],
	["deny_added_capabilities", "spec.template.spec.containers[0].securityContext.capabilities.add", [at(concat("/", [first, "securityContext/capabilities"]), {"add": [1]})]],
	["deny_shared_processes", "spec.template.spec.shareProcessNamespace", [at(concat("/", [template, "shareProcessNamespace"]), true)]],
	["deny_shared_processes", "spec.template.spec.shareProcessNamespace", [at(concat("/", [template, "shareProcessNamespace"]), "yes")]],
	["deny_token_mounted", "spec.template.spec.automountServiceAccountToken", [without(concat("/", [template, "automountServiceAccountToken"]))]],
	["deny_token_mounted", "spec.template.spec.automountServiceAccountToken", [at(concat("/", [template, "automountServiceAccountToken"]), null)]],
	["deny_mutable_tag", "spec.template.spec.containers[0].image", [at(concat("/", [first, "image"]), "ghcr.io/acme/web")]],
	["deny_mutable_tag", "spec.template.spec.containers[0].image", [at(concat("/", [first, "image"]), "ghcr.io:5000/acme/web")]],
	["deny_mutable_tag", "spec.template.spec.containers[0].image", [at(concat("/", [first, "image"]), "ghcr.io/acme/web:latest")]],
	["deny_mutable_tag", "spec.template.spec.containers[0].image", [at(concat("/", [first, "image"]), "ghcr.io/acme/web@sha256:ab")]],
	["deny_mutable_tag", "spec.template.spec.containers[0].image", [without(concat("/", [first, "image"]))]],
	["deny_mutable_tag", "spec.template.spec.containers[0].image", [at(concat("/", [first, "image"]), 1)]],
	["deny_default_namespace", "metadata.namespace", [at("/metadata/namespace", "default")]],
	["deny_tolerates_everything", "spec.template.spec.tolerations[0].key", [at(concat("/", [template, "tolerations"]), [{"operator": "Exists"}])]],
	["deny_tolerates_everything", "spec.template.spec.tolerations[0].key", [at(concat("/", [template, "tolerations"]), [{"key": ""}])]],
	["deny_tolerates_everything", "spec.template.spec.tolerations[0].key", [at(concat("/", [template, "tolerations"]), [{"key": 7}])]],
	["deny_on_control_plane", "spec.template.spec.tolerations[0].key", [at(concat("/", [template, "tolerations"]), [{"key": "node-role.kubernetes.io/control-plane"}])]],
	["deny_on_control_plane", "spec.template.spec.tolerations[0].key", [without("/metadata/namespace"), at(concat("/", [template, "tolerations"]), [{"key": "node-role.kubernetes.io/master"}])]],
	["deny_node_name", "spec.template.spec.nodeName", [at(concat("/", [template, "nodeName"]), "n1")]],
	["deny_system_priority", "spec.template.spec.priorityClassName", [at(concat("/", [template, "priorityClassName"]), "system-node-critical")]],
]

test_forbidden if {
	every case in forbidden {
		got := found(good, case[2])
		print(case, got)
		got == {[case[0], case[1]]}
	}
}

allowed := [
	[at(concat("/", [template, "resources"]), {"limits": {"cpu": 1, "memory": "1Gi"}}), without(concat("/", [first, "resources"]))],
	[at(concat("/", [first, "resources"]), {"limits": {"cpu": "1", "memory": 1000000}})],
	[at(concat("/", [template, "ephemeralContainers"]), [{"name": "a", "image": "a:1", "securityContext": {"readOnlyRootFilesystem": true}}])],
	[at(concat("/", [template, "volumes"]), [{"name": "a", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}, {"name": "b", "emptyDir": {}}, {"name": "c", "hostPath": null}])],
	[at("/spec/replicas", 1), at(concat("/", [template, "topologySpreadConstraints"]), [{}]), at("/spec/replicas", 0)],
	[without("/spec/replicas"), without(concat("/", [template, "topologySpreadConstraints"]))],
	[without(concat("/", [template, "topologySpreadConstraints"])), at(concat("/", [template, "affinity"]), {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{}]}})],
	[at("/spec/strategy", {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}})],
	[at(concat("/", [template, "os"]), {"name": "windows"}), without(concat("/", [first, "securityContext"]))],
	[at(concat("/", [first, "securityContext/capabilities"]), {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]})],
	[at(concat("/", [first, "image"]), "ghcr.io/acme/web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")],
	[at(concat("/", [template, "tolerations"]), [{"key": "gpu", "operator": "Exists"}])],
	[at("/metadata/namespace", "kube-system"), at(concat("/", [template, "tolerations"]), [{"key": "node-role.kubernetes.io/control-plane"}])],
	[at("/metadata/namespace", "kube-system"), at(concat("/", [template, "priorityClassName"]), "system-node-critical")],
	[without(concat("/", [template, "serviceAccountName"]))],
	[at(concat("/", [template, "nodeName"]), "")],
	[at(concat("/", [template, "priorityClassName"]), "high")],
]

test_allowed if {
	every patches in allowed {
		got := found(good, patches)
		print(patches, got)
		got == set()
	}
}

# Kinds of the same name in other groups are others' business.
test_other_groups if {
	every case in forbidden {
		got := found(object.union(good, {"apiVersion": "example.com/v1"}), case[2])
		print(case, " found ", got)
		got == set()
	}
}

test_probes_and_replicas if {
	readiness := ["deny_readiness_probe_missing", "spec.template.spec.containers[0].readinessProbe"]
	liveness := ["warn_liveness_probe_missing", "spec.template.spec.containers[0].livenessProbe"]
	every case in [
		[[at(concat("/", [first, "readinessProbe"]), "a")], {readiness, ["deny_malformed_pod", "spec.template.spec.containers[0].readinessProbe"]}],
		[[at(concat("/", [first, "livenessProbe"]), "a")], {liveness, ["deny_malformed_pod", "spec.template.spec.containers[0].livenessProbe"]}],
		[[at(concat("/", [first, "livenessProbe"]), {})], {liveness}],
		[[at(concat("/", [first, "livenessProbe"]), null), at(concat("/", [first, "readinessProbe"]), null)], {liveness, readiness}],
		[[at("/spec/replicas", 1), at("/spec/strategy", {"type": "Recreate"}), without(concat("/", [template, "topologySpreadConstraints"]))], {["warn_few_replicas", "spec.replicas"]}],
		[[at("/spec/replicas", "1")], set()],
		[[at("/spec/strategy", {"rollingUpdate": {"maxUnavailable": "25%"}})], set()],
		[[at(concat("/", [template, "shareProcessNamespace"]), false)], set()],
		[[at(concat("/", [template, "shareProcessNamespace"]), null)], set()],
		[[at(concat("/", [template, "serviceAccount"]), "")], set()],
	] {
		got := found(good, case[0])
		print(case, " found ", got)
		got == case[1]
	}
}

test_other_kinds if {
	found(job, [without("/spec/activeDeadlineSeconds")]) == {["warn_job_without_deadline", "spec.activeDeadlineSeconds"]}
	found(job, [without("/spec/activeDeadlineSeconds"), at("/spec/template/spec/activeDeadlineSeconds", 9)]) == set()
	found(cron_job, [without("/spec/jobTemplate/spec/activeDeadlineSeconds")]) == {["warn_job_without_deadline", "spec.jobTemplate.spec.activeDeadlineSeconds"]}
	found(cron_job, [without("/spec/concurrencyPolicy")]) == {["warn_cron_job_overlaps", "spec.concurrencyPolicy"]}
	found(cron_job, [at("/spec/concurrencyPolicy", "Allow")]) == {["warn_cron_job_overlaps", "spec.concurrencyPolicy"]}
	found(owned_pod, [without("/metadata/ownerReferences")]) == {["warn_bare_pod", "metadata.ownerReferences"]}
	found(owned_pod, [at("/metadata/ownerReferences", [])]) == {["warn_bare_pod", "metadata.ownerReferences"]}
	found(budget, [at("/spec/maxUnavailable", 0)]) == {["deny_budget_blocks_drains", "spec.maxUnavailable"]}
	found(budget, [at("/spec", {"minAvailable": "100%"})]) == {["deny_budget_blocks_drains", "spec.minAvailable"]}
	found(account, [without("/automountServiceAccountToken")]) == {["deny_default_account_token", "automountServiceAccountToken"]}
	found(account, [at("/metadata/name", "web"), without("/automountServiceAccountToken")]) == set()
	found(account, [at("/apiVersion", "example.com/v1"), without("/automountServiceAccountToken")]) == set()
	findings({"apiVersion": "v1", "kind": "List", "items": null}, {}) == set()
	findings({"apiVersion": "v1", "kind": "List", "items": [good]}, {}) == {["deny_list", "items"]}
	findings({"apiVersion": "example.com/v1", "kind": "Deployment", "spec": {"replicas": 2, "template": {}}}, {}) == set()
}

test_resources_of_another_type if {
	found(good, [at(concat("/", [first, "resources"]), "1Gi")]) == {
		["deny_malformed_pod", "spec.template.spec.containers[0].resources"],
		["deny_limits_missing", "spec.template.spec.containers[0].resources.limits.memory"],
		["deny_requests_missing", "spec.template.spec.containers[0].resources.requests.cpu"],
		["deny_requests_missing", "spec.template.spec.containers[0].resources.requests.memory"],
	}
}

test_no_spec if {
	found(good, [without("/spec/template")]) == {
		["deny_malformed_pod", "spec.template.spec"],
		["deny_replicas_not_spread", "spec.template.spec.topologySpreadConstraints"],
	}
}

test_service_accounts if {
	mount := at(concat("/", [template, "automountServiceAccountToken"]), true)
	token := ["deny_token_mounted", "spec.template.spec.automountServiceAccountToken"]
	own := ["deny_default_service_account", "spec.template.spec.serviceAccountName"]
	every case in [
		[[mount], {}, {token}],
		[[mount], {"serviceAccountsWithToken": ["web"]}, set()],
		[[mount, without(concat("/", [template, "serviceAccountName"]))], {"serviceAccountsWithToken": ["web"]}, {token, own}],
		[[mount, at(concat("/", [template, "serviceAccountName"]), "default")], {"serviceAccountsWithToken": ["default"]}, {own}],
		[[mount, at(concat("/", [template, "serviceAccount"]), "web")], {"serviceAccountsWithToken": ["web"]}, set()],
		[[mount, at(concat("/", [template, "serviceAccount"]), "other")], {"serviceAccountsWithToken": ["web"]}, {token, own}],
		[[mount, at(concat("/", [template, "serviceAccountName"]), 1)], {}, {token, own}],
	] {
		findings(json.patch(good, case[0]), case[1]) == case[2]
	}
}

host(file, read_only) := json.patch(good, [
	at(concat("/", [template, "volumes"]), [{"name": "a", "hostPath": {"path": file}}, {"name": "b", "emptyDir": {}}]),
	at(concat("/", [first, "volumeMounts"]), [{"name": "a", "readOnly": read_only}, {"name": "b"}]),
])

test_host_paths if {
	denied := ["deny_host_path", "spec.template.spec.volumes[0].hostPath.path"]
	socket := ["deny_runtime_socket", "spec.template.spec.volumes[0].hostPath.path"]
	writable := ["deny_host_path_writable", "spec.template.spec.containers[0].volumeMounts[0].readOnly"]
	every case in [
		["/var/log", true, {}, {denied}],
		["/var/log", true, {"allowedHostPaths": ["/var/log"]}, set()],
		["/var/log/pods/", true, {"allowedHostPaths": ["/var/log/"]}, set()],
		["//var/./log", true, {"allowedHostPaths": ["/var/log"]}, set()],
		["/var/logs", true, {"allowedHostPaths": ["/var/log"]}, {denied}],
		["/var/log/../lib", true, {"allowedHostPaths": ["/var/log"]}, {denied}],
		["/var/log", false, {"allowedHostPaths": ["/var/log"]}, {writable}],
		["/var/log", null, {"allowedHostPaths": ["/"]}, {writable}],
		["/", true, {"allowedHostPaths": ["/"]}, {socket}],
		["/var/run", true, {"allowedHostPaths": ["/var"]}, {socket}],
		["/run/containerd/containerd.sock", true, {"allowedHostPaths": ["/run"]}, {socket}],
		[7, true, {"allowedHostPaths": ["/var"]}, {denied, socket}],
	] {
		findings(host(case[0], case[1]), case[2]) == case[3]
	}
}

test_max_limits if {
	every case in [
		["2Gi", {"memory": "2Gi"}, true],
		["2G", {"memory": "2Gi"}, true],
		[1024, {"memory": "1Ki"}, true],
		["128Mi", {"cpu": "1"}, true],
		["500m", {"memory": "1"}, true],
		["2.5Gi", {"memory": "2Gi"}, false],
		["3Gi", {"memory": "2Gi"}, false],
		["1e9", {"memory": "2Gi"}, false],
		["lots", {"memory": "2Gi"}, false],
		["1Gi", {"memory": "lots"}, false],
		[null, {"memory": "1Gi"}, true],
		[{}, {"memory": "1Gi"}, false],
	] {
		object := json.patch(good, [at(concat("/", [first, "resources/limits/memory"]), case[0])])
		over := {field | some [rule, field] in findings(object, {"maxLimits": case[1]}); rule == "deny_limits_too_large"; startswith(field, "spec.template.spec.containers")}
		(over == set()) == case[2]
	}
}

test_max_limit_of_pod if {
	object := json.patch(good, [at(concat("/", [template, "resources"]), {"limits": {"memory": "9Gi"}})])
	findings(object, {"maxLimits": {"memory": "1Gi"}}) == {["deny_limits_too_large", "spec.template.spec.resources.limits.memory"]}
}

test_parameters if {
	found(good, []) == set()
	findings(good, {"mutableTags": ["1.2"]}) == {
		["deny_mutable_tag", "spec.template.spec.containers[0].image"],
		["deny_mutable_tag", "spec.template.spec.initContainers[0].image"],
	}
	findings(good, {"requiredLimits": ["cpu"], "requiredRequests": []}) == {
		["deny_limits_missing", "spec.template.spec.containers[0].resources.limits.cpu"],
		["deny_limits_missing", "spec.template.spec.initContainers[0].resources.limits.cpu"],
	}
	findings(good, {"minReplicas": 4}) == {["warn_few_replicas", "spec.replicas"]}
	findings(json.patch(good, [at(concat("/", [first, "securityContext/capabilities"]), {"add": ["CHOWN"]})]), {"allowedCapabilities": ["CHOWN"]}) == set()
}

test_wrong_parameters if {
	result := workloads.deny_wrong_parameters with input as {"object": good, "parameters": {"minReplicas": "2", "mutableTags": "latest"}}
	count(result) == 2
}

test_deletion_passes if {
	{rule | some rule, results in data.workloads with input as {"operation": "DELETE", "oldObject": good}; regex.match(`^(deny|warn)_`, rule); count(results) > 0} == set()
}
