package pod_security.baseline_test

import data.pod_security.baseline

minimal := {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "web", "image": "web"}]}}

# The rules that speak, with the fields at fault.
findings(object) := {[rule, result.field] |
	some rule, results in data.pod_security.baseline with input.object as object
	startswith(rule, "deny_")
	some result in results
}

patched(path, value) := json.patch(minimal, [{"op": "add", "path": path, "value": value}])

test_minimal_passes if findings(minimal) == set()

forbidden := [
	["deny_malformed_pod", "spec.containers", "/spec/containers", {}],
	["deny_malformed_pod", "spec.securityContext", "/spec/securityContext", []],
	["deny_malformed_pod", "spec.containers[0].livenessProbe.httpGet", "/spec/containers/0/livenessProbe", {"httpGet": "a"}],
	["deny_malformed_pod", "spec.containers[0].ports", "/spec/containers/0/ports", "80"],
	["deny_malformed_pod", "spec.containers[0].ports[0]", "/spec/containers/0/ports", [80]],
	["deny_malformed_pod", "spec.securityContext.sysctls", "/spec/securityContext", {"sysctls": 1}],
	["deny_malformed_pod", "metadata.annotations", "/metadata/annotations", "a"],
	["deny_host_process", "spec.securityContext.windowsOptions.hostProcess", "/spec/securityContext", {"windowsOptions": {"hostProcess": true}}],
	["deny_host_process", "spec.containers[0].securityContext.windowsOptions.hostProcess", "/spec/containers/0/securityContext", {"windowsOptions": {"hostProcess": true}}],
	["deny_host_namespaces", "spec.hostNetwork", "/spec/hostNetwork", true],
	["deny_host_namespaces", "spec.hostPID", "/spec/hostPID", true],
	["deny_host_namespaces", "spec.hostIPC", "/spec/hostIPC", "true"],
	["deny_privileged", "spec.containers[0].securityContext.privileged", "/spec/containers/0/securityContext", {"privileged": true}],
	["deny_privileged", "spec.initContainers[0].securityContext.privileged", "/spec/initContainers", [{"securityContext": {"privileged": true}}]],
	["deny_privileged", "spec.ephemeralContainers[0].securityContext.privileged", "/spec/ephemeralContainers", [{"securityContext": {"privileged": true}}]],
	["deny_capabilities", "spec.containers[0].securityContext.capabilities.add", "/spec/containers/0/securityContext", {"capabilities": {"add": ["CHOWN", "NET_RAW"]}}],
	["deny_capabilities", "spec.containers[0].securityContext.capabilities.add", "/spec/containers/0/securityContext", {"capabilities": {"add": ["ALL"]}}],
	["deny_host_path", "spec.volumes[0].hostPath", "/spec/volumes", [{"name": "a", "hostPath": {"path": "/"}}]],
	["deny_host_ports", "spec.containers[0].ports[0].hostPort", "/spec/containers/0/ports", [{"containerPort": 80, "hostPort": 80}]],
	["deny_probe_hosts", "spec.containers[0].livenessProbe.httpGet.host", "/spec/containers/0/livenessProbe", {"httpGet": {"host": "127.0.0.1"}}],
	["deny_probe_hosts", "spec.containers[0].readinessProbe.tcpSocket.host", "/spec/containers/0/readinessProbe", {"tcpSocket": {"host": "::1"}}],
	["deny_probe_hosts", "spec.containers[0].startupProbe.httpGet.host", "/spec/containers/0/startupProbe", {"httpGet": {"host": "a"}}],
	["deny_probe_hosts", "spec.containers[0].lifecycle.postStart.httpGet.host", "/spec/containers/0/lifecycle", {"postStart": {"httpGet": {"host": "a"}}}],
	["deny_probe_hosts", "spec.containers[0].lifecycle.preStop.tcpSocket.host", "/spec/containers/0/lifecycle", {"preStop": {"tcpSocket": {"host": "a"}}}],
	["deny_app_armor", "spec.securityContext.appArmorProfile.type", "/spec/securityContext", {"appArmorProfile": {"type": "Unconfined"}}],
	["deny_app_armor", "spec.containers[0].securityContext.appArmorProfile.type", "/spec/containers/0/securityContext", {"appArmorProfile": {}}],
	["deny_app_armor", "metadata.annotations[container.apparmor.security.beta.kubernetes.io/web]", "/metadata/annotations", {"container.apparmor.security.beta.kubernetes.io/web": "unconfined"}],
	["deny_selinux", "spec.securityContext.seLinuxOptions.type", "/spec/securityContext", {"seLinuxOptions": {"type": "spc_t"}}],
	["deny_selinux", "spec.containers[0].securityContext.seLinuxOptions.user", "/spec/containers/0/securityContext", {"seLinuxOptions": {"user": "a"}}],
	["deny_selinux", "spec.containers[0].securityContext.seLinuxOptions.role", "/spec/containers/0/securityContext", {"seLinuxOptions": {"role": "a"}}],
	["deny_proc_mount", "spec.containers[0].securityContext.procMount", "/spec/containers/0/securityContext", {"procMount": "Unmasked"}],
	["deny_seccomp", "spec.securityContext.seccompProfile.type", "/spec/securityContext", {"seccompProfile": {"type": "Unconfined"}}],
	["deny_seccomp", "spec.containers[0].securityContext.seccompProfile.type", "/spec/containers/0/securityContext", {"seccompProfile": {"type": "Unconfined"}}],
	["deny_sysctls", "spec.securityContext.sysctls[0].name", "/spec/securityContext", {"sysctls": [{}]}],
	["deny_sysctls", "spec.securityContext.sysctls[1].name", "/spec/securityContext", {"sysctls": [{"name": "net.ipv4.tcp_wmem"}, {"name": "kernel.msgmax"}]}],
]

test_forbidden if {
	every case in forbidden {
		findings(patched(case[2], case[3])) == {[case[0], case[1]]}
	}
}

allowed := [
	["/spec/hostNetwork", false],
	["/spec/hostPID", null],
	["/spec/securityContext", {"windowsOptions": {"hostProcess": false}}],
	["/spec/containers/0/securityContext", {"privileged": false}],
	["/spec/containers/0/securityContext", {"capabilities": {"add": ["NET_BIND_SERVICE", "SYS_CHROOT"], "drop": ["ALL"]}}],
	["/spec/volumes", [{"name": "a", "hostPath": null}, {"name": "b", "nfs": {}}]],
	["/spec/containers/0/ports", [{"containerPort": 80, "hostPort": 0}]],
	["/spec/containers/0/livenessProbe", {"httpGet": {"host": "", "path": "/"}}],
	["/spec/containers/0/lifecycle", {"preStop": {"exec": {"command": ["true"]}}}],
	["/spec/securityContext", {"appArmorProfile": {"type": "RuntimeDefault"}}],
	["/metadata/annotations", {"container.apparmor.security.beta.kubernetes.io/web": "runtime/default"}],
	["/metadata/annotations", {"container.apparmor.security.beta.kubernetes.io/web": "localhost/web"}],
	["/metadata/annotations", {"example.com/a": "unconfined"}],
	["/spec/securityContext", {"seLinuxOptions": {"type": "container_engine_t", "level": "s0"}}],
	["/spec/containers/0/securityContext", {"procMount": "Default"}],
	["/spec/securityContext", {"seccompProfile": {"type": "Localhost", "localhostProfile": "a"}}],
	["/spec/securityContext", {"seccompProfile": null}],
	["/spec/securityContext", {"sysctls": [{"name": "net.ipv4.tcp_slow_start_after_idle"}]}],
]

test_allowed if {
	every case in allowed {
		findings(patched(case[0], case[1])) == set()
	}
}

test_proc_mount_in_user_namespace if {
	pod := json.patch(minimal, [
		{"op": "add", "path": "/spec/hostUsers", "value": false},
		{"op": "add", "path": "/spec/containers/0/securityContext", "value": {"procMount": "Unmasked"}},
	])
	findings(pod) == set()
}

test_deletion_passes if baseline.deny_privileged == set() with input as {"operation": "DELETE", "oldObject": minimal}
