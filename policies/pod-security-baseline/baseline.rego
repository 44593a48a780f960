# METADATA
# title: Pod Security Standards, baseline
# description: Prevents known privilege escalations, as the baseline profile of Kubernetes 1.37 does.
# related_resources:
# - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
package pod_security.baseline

import data.lib.pod

# METADATA
# title: Malformed pod
# description: A pod must have the shape that the API gives it, or the other rules could look past it.
# custom:
#   severity: high
#   remediation: Correct the field; `kubectl explain` shows its type.
deny_malformed_pod contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, msg in pod.malformed
}

deny_malformed_pod contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, msg in pod.malformed_security
}

deny_malformed_pod contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, msg in pod.malformed_handlers
}

deny_malformed_pod contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, msg in pod.malformed_annotations
}

deny_malformed_pod contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some of, container in pod.containers
	some path, msg in pod.wrong_list(concat(".", [of, "ports"]), container.ports)
}

deny_malformed_pod contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, msg in pod.wrong_list(pod.at("spec.securityContext.sysctls"), pod.spec.securityContext.sysctls)
}

# METADATA
# title: HostProcess
# description: HostProcess containers of Windows have the privileges of the node.
# custom:
#   severity: critical
#   remediation: Remove hostProcess.
#   references:
#   - "PSS baseline: HostProcess"
#   - CIS 5.2.11
deny_host_process contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, context in pod.security_contexts
	value := context.windowsOptions.hostProcess
	not value in {false, null}
	field := concat(".", [path, "windowsOptions.hostProcess"])
	msg := sprintf("%s is %v, which gives a container the privileges of the node: set it to false or remove it", [field, value])
}

# METADATA
# title: Host namespaces
# description: Sharing the network, process or IPC namespace of the node opens its processes and traffic to the pod.
# custom:
#   severity: critical
#   remediation: Remove hostNetwork, hostPID and hostIPC.
#   references:
#   - "PSS baseline: Host Namespaces"
#   - CIS 5.2.3
#   - CIS 5.2.4
#   - CIS 5.2.5
deny_host_namespaces contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some name in {"hostNetwork", "hostPID", "hostIPC"}
	value := pod.spec[name]
	not value in {false, null}
	field := pod.at(concat(".", ["spec", name]))
	msg := sprintf("%s is %v, which shares a namespace of the node: set it to false or remove it", [field, value])
}

# METADATA
# title: Privileged containers
# description: A privileged container is not contained.
# custom:
#   severity: critical
#   remediation: Remove privileged, and add the one capability that is needed.
#   references:
#   - "PSS baseline: Privileged Containers"
#   - CIS 5.2.2
deny_privileged contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, container in pod.containers
	value := container.securityContext.privileged
	not value in {false, null}
	field := concat(".", [path, "securityContext.privileged"])
	msg := sprintf("%s is %v, which turns isolation off: set it to false or remove it", [field, value])
}

capabilities := {
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
	"NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

# METADATA
# title: Capabilities
# description: No capability may be added beyond those that a container runtime gives by default.
# custom:
#   severity: high
#   remediation: Remove the capability from securityContext.capabilities.add.
#   references:
#   - "PSS baseline: Capabilities"
#   - CIS 5.2.8
#   - CIS 5.2.9
deny_capabilities contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, container in pod.containers
	some value in container.securityContext.capabilities.add
	not value in capabilities
	field := concat(".", [path, "securityContext.capabilities.add"])
	msg := sprintf("%s holds %v, which is not a default capability: remove it", [field, value])
}

# METADATA
# title: HostPath volumes
# description: A hostPath volume reads and writes the files of the node.
# custom:
#   severity: critical
#   remediation: Use a persistentVolumeClaim, a configMap or an emptyDir.
#   references:
#   - "PSS baseline: HostPath Volumes"
#   - CIS 5.2.12
deny_host_path contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, volume in pod.volumes
	volume.hostPath != null
	field := concat(".", [path, "hostPath"])
	msg := sprintf("%s gives the pod the files of the node: use another type of volume", [field])
}

# METADATA
# title: Host ports
# description: A host port bypasses network policies and takes the port of the node.
# custom:
#   severity: high
#   remediation: Remove hostPort and use a Service.
#   references:
#   - "PSS baseline: Host Ports"
#   - CIS 5.2.13
deny_host_ports contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, container in pod.containers
	some i, port in container.ports
	value := port.hostPort
	not value in {0, null}
	field := sprintf("%s.ports[%v].hostPort", [path, i])
	msg := sprintf("%s is %v: remove it and use a Service", [field, value])
}

# METADATA
# title: Probe and lifecycle hosts
# description: A host in a probe or a lifecycle handler lets the kubelet be used to reach other addresses.
# custom:
#   severity: medium
#   remediation: Remove host; the kubelet then asks the pod itself.
#   references:
#   - "PSS baseline: Host Probes / Lifecycle Hooks"
deny_probe_hosts contains probe_host(field, host) if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, container in pod.containers
	some probe in {"livenessProbe", "readinessProbe", "startupProbe"}
	some handler in {"httpGet", "tcpSocket"}
	host := container[probe][handler].host
	not host in {"", null}
	field := sprintf("%s.%s.%s.host", [path, probe, handler])
}

deny_probe_hosts contains probe_host(field, host) if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, container in pod.containers
	some hook in {"postStart", "preStop"}
	some handler in {"httpGet", "tcpSocket"}
	host := container.lifecycle[hook][handler].host
	not host in {"", null}
	field := sprintf("%s.lifecycle.%s.%s.host", [path, hook, handler])
}

probe_host(field, host) := {"field": field, "msg": msg} if {
	msg := sprintf("%s is %v, which sends the kubelet to another address: remove it", [field, host])
}

# METADATA
# title: AppArmor
# description: The AppArmor profile of the runtime may be replaced by one of the node, and not turned off.
# custom:
#   severity: high
#   remediation: Set the type to RuntimeDefault or Localhost, or remove the profile.
#   references:
#   - "PSS baseline: AppArmor"
deny_app_armor contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, context in pod.security_contexts
	profile := context.appArmorProfile
	profile != null
	value := type_of(profile)
	not value in {"RuntimeDefault", "Localhost"}
	field := concat(".", [path, "appArmorProfile.type"])
	msg := sprintf("%s is %v: set it to RuntimeDefault or Localhost", [field, json.marshal(value)])
}

deny_app_armor contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some key, value in pod.annotations
	is_string(key)
	startswith(key, "container.apparmor.security.beta.kubernetes.io/")
	not app_armor_annotation(value)
	field := pod.at(sprintf("metadata.annotations[%s]", [key]))
	msg := sprintf("%s is %v: remove it, or use runtime/default or localhost/<profile>", [field, json.marshal(value)])
}

# The type of a profile; empty where there is none.
type_of(profile) := profile.type if has_type(profile)

type_of(profile) := "" if not has_type(profile)

has_type(profile) if profile.type != null

app_armor_annotation(value) if value in {"", "runtime/default"}

app_armor_annotation(value) if {
	is_string(value)
	startswith(value, "localhost/")
}

# METADATA
# title: SELinux
# description: The SELinux type is confined to those of containers; user and role may not be set.
# custom:
#   severity: high
#   remediation: Remove seLinuxOptions, or set its type to container_t.
#   references:
#   - "PSS baseline: SELinux"
deny_selinux contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, context in pod.security_contexts
	value := context.seLinuxOptions.type
	not value in {"", null, "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
	field := concat(".", [path, "seLinuxOptions.type"])
	msg := sprintf("%s is %v: use container_t, container_init_t, container_kvm_t or container_engine_t, or remove it", [field, value])
}

deny_selinux contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, context in pod.security_contexts
	some name in {"user", "role"}
	value := context.seLinuxOptions[name]
	not value in {"", null}
	field := sprintf("%s.seLinuxOptions.%s", [path, name])
	msg := sprintf("%s is %v: remove it", [field, value])
}

# METADATA
# title: /proc mount
# description: The masks over /proc may go only where the pod has a user namespace of its own.
# custom:
#   severity: high
#   remediation: Remove procMount, or set hostUsers to false.
#   references:
#   - "PSS baseline: /proc Mount Type"
deny_proc_mount contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	not pod.in_user_namespace
	some path, container in pod.containers
	value := container.securityContext.procMount
	not value in {"Default", null}
	field := concat(".", [path, "securityContext.procMount"])
	msg := sprintf("%s is %v: remove it, or give the pod a user namespace with hostUsers: false", [field, value])
}

# METADATA
# title: Seccomp
# description: Seccomp may not be turned off.
# custom:
#   severity: high
#   remediation: Set the type to RuntimeDefault or Localhost, or remove the profile.
#   references:
#   - "PSS baseline: Seccomp"
#   - CIS 5.7.2
deny_seccomp contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, context in pod.security_contexts
	profile := context.seccompProfile
	profile != null
	value := type_of(profile)
	not value in {"RuntimeDefault", "Localhost"}
	field := concat(".", [path, "seccompProfile.type"])
	msg := sprintf("%s is %v: set it to RuntimeDefault or Localhost", [field, json.marshal(value)])
}

sysctls := {
	"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
	"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_notsent_lowat", "net.ipv4.tcp_rmem", "net.ipv4.tcp_slow_start_after_idle",
	"net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem",
}

# METADATA
# title: Sysctls
# description: Only sysctls that are namespaced and isolated may be set.
# custom:
#   severity: high
#   remediation: Remove the sysctl, or set it on the node.
#   references:
#   - "PSS baseline: Sysctls"
deny_sysctls contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some i, sysctl in pod.spec.securityContext.sysctls
	name := name_of(sysctl)
	not name in sysctls
	field := pod.at(sprintf("spec.securityContext.sysctls[%v].name", [i]))
	msg := sprintf("%s is %v, which is not a safe sysctl: remove it", [field, name])
}

name_of(sysctl) := sysctl.name if has_name(sysctl)

name_of(sysctl) := "" if not has_name(sysctl)

has_name(sysctl) if sysctl.name != null
