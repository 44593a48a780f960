package pod_security.restricted_test

import data.pod_security.restricted

good := {
	"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
	"spec": {
		"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
		"containers": [{
			"name": "web",
			"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
		}],
		"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "image": {"reference": "b"}}, {"name": "c", "nfs": null}],
	},
}

findings(object) := {[rule, result.field] |
	some rule, results in data.pod_security.restricted with input.object as object
	startswith(rule, "deny_")
	some result in results
}

after(patches) := json.patch(good, patches)

test_good_passes if findings(good) == set()

forbidden := [
	["deny_volume_types", "spec.volumes[0].nfs", [{"op": "replace", "path": "/spec/volumes/0", "value": {"name": "a", "nfs": {}}}]],
	["deny_volume_types", "spec.volumes[0].brandNew", [{"op": "replace", "path": "/spec/volumes/0", "value": {"name": "a", "brandNew": {}}}]],
	["deny_privilege_escalation", "spec.containers[0].securityContext.allowPrivilegeEscalation", [{"op": "remove", "path": "/spec/containers/0/securityContext/allowPrivilegeEscalation"}]],
	["deny_privilege_escalation", "spec.containers[0].securityContext.allowPrivilegeEscalation", [{"op": "replace", "path": "/spec/containers/0/securityContext/allowPrivilegeEscalation", "value": true}]],
	["deny_run_as_root", "spec.containers[0].securityContext.runAsNonRoot", [{"op": "remove", "path": "/spec/securityContext/runAsNonRoot"}]],
	["deny_run_as_root", "spec.containers[0].securityContext.runAsNonRoot", [{"op": "add", "path": "/spec/containers/0/securityContext/runAsNonRoot", "value": false}]],
	["deny_run_as_root", "spec.securityContext.runAsNonRoot", [
		{"op": "add", "path": "/spec/containers/0/securityContext/runAsNonRoot", "value": true},
		{"op": "replace", "path": "/spec/securityContext/runAsNonRoot", "value": false},
	]],
	["deny_run_as_user_zero", "spec.securityContext.runAsUser", [{"op": "add", "path": "/spec/securityContext/runAsUser", "value": 0}]],
	["deny_run_as_user_zero", "spec.containers[0].securityContext.runAsUser", [{"op": "add", "path": "/spec/containers/0/securityContext/runAsUser", "value": 0}]],
	["deny_seccomp_missing", "spec.containers[0].securityContext.seccompProfile", [{"op": "remove", "path": "/spec/securityContext/seccompProfile"}]],
	["deny_seccomp_missing", "spec.containers[0].securityContext.seccompProfile", [{"op": "replace", "path": "/spec/securityContext/seccompProfile/type", "value": "Unconfined"}]],
	["deny_capabilities_kept", "spec.containers[0].securityContext.capabilities.drop", [{"op": "remove", "path": "/spec/containers/0/securityContext/capabilities"}]],
	["deny_capabilities_kept", "spec.containers[0].securityContext.capabilities.drop", [{"op": "replace", "path": "/spec/containers/0/securityContext/capabilities/drop", "value": ["NET_RAW"]}]],
	["deny_capabilities_kept", "spec.containers[0].securityContext.capabilities.add", [{"op": "replace", "path": "/spec/containers/0/securityContext/capabilities/add", "value": ["CHOWN"]}]],
	["deny_proc_unmasked", "spec.containers[0].securityContext.procMount", [
		{"op": "add", "path": "/spec/hostUsers", "value": false},
		{"op": "add", "path": "/spec/containers/0/securityContext/procMount", "value": "Unmasked"},
	]],
]

test_forbidden if {
	every case in forbidden {
		findings(after(case[2])) == {[case[0], case[1]]}
	}
}

allowed := [
	[{"op": "add", "path": "/spec/securityContext/runAsUser", "value": 1000}],
	[
		{"op": "remove", "path": "/spec/securityContext/seccompProfile"},
		{"op": "add", "path": "/spec/containers/0/securityContext/seccompProfile", "value": {"type": "Localhost"}},
	],
	[
		{"op": "remove", "path": "/spec/securityContext/runAsNonRoot"},
		{"op": "add", "path": "/spec/containers/0/securityContext/runAsNonRoot", "value": true},
	],
	[
		{"op": "add", "path": "/spec/hostUsers", "value": false},
		{"op": "replace", "path": "/spec/securityContext/runAsNonRoot", "value": false},
		{"op": "add", "path": "/spec/securityContext/runAsUser", "value": 0},
	],
	[
		{"op": "add", "path": "/spec/os", "value": {"name": "windows"}},
		{"op": "remove", "path": "/spec/containers/0/securityContext"},
		{"op": "remove", "path": "/spec/securityContext/seccompProfile"},
	],
]

test_allowed if {
	every patches in allowed {
		findings(after(patches)) == set()
	}
}

test_linux_is_not_exempt if {
	pod := after([
		{"op": "add", "path": "/spec/os", "value": {"name": "linux"}},
		{"op": "remove", "path": "/spec/containers/0/securityContext"},
	])
	count(findings(pod)) == 2
}

test_deletion_passes if restricted.deny_privilege_escalation == set() with input as {"operation": "DELETE", "oldObject": good}
