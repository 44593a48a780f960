# METADATA
# title: Pod Security Standards, restricted
# description: Best practice of hardening pods, as the restricted profile of Kubernetes 1.37 has it. It includes the baseline.
# related_resources:
# - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
package pod_security.restricted

import data.lib.pod

volume_types := {
	"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image",
	"persistentVolumeClaim", "projected", "secret",
}

# METADATA
# title: Volume types
# description: Volumes come from the cluster and not from the node or a server of the pod's choice.
# custom:
#   severity: medium
#   remediation: Use a persistentVolumeClaim.
#   references:
#   - "PSS restricted: Volume Types"
deny_volume_types contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, volume in pod.volumes
	is_object(volume)
	some type, source in volume
	not type in volume_types | {"name"}
	source != null
	field := concat(".", [path, type])
	msg := sprintf("%s is a type of volume that is not allowed: use a persistentVolumeClaim, or one of configMap, csi, downwardAPI, emptyDir, ephemeral, image, projected, secret", [field])
}

# METADATA
# title: Privilege escalation
# description: A process must not gain more privileges than its parent, as through a set-user-ID file.
# custom:
#   severity: high
#   remediation: Set securityContext.allowPrivilegeEscalation to false in every container.
#   references:
#   - "PSS restricted: Privilege Escalation"
#   - CIS 5.2.6
deny_privilege_escalation contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	not pod.is_windows
	some path, container in pod.containers
	not container.securityContext.allowPrivilegeEscalation == false
	field := concat(".", [path, "securityContext.allowPrivilegeEscalation"])
	msg := sprintf("%s is not false: set it to false", [field])
}

# METADATA
# title: Running as non-root
# description: Containers must be made to run as another user than root, unless the pod has a user namespace of its own.
# custom:
#   severity: high
#   remediation: Set spec.securityContext.runAsNonRoot to true.
#   references:
#   - "PSS restricted: Running as Non-root"
#   - CIS 5.2.7
deny_run_as_root contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	not pod.in_user_namespace
	value := pod.spec.securityContext.runAsNonRoot
	not value in {true, null}
	field := pod.at("spec.securityContext.runAsNonRoot")
	msg := sprintf("%s is %v: set it to true", [field, value])
}

deny_run_as_root contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	not pod.in_user_namespace
	some path, container in pod.containers
	not runs_as_non_root(container)
	field := concat(".", [path, "securityContext.runAsNonRoot"])
	msg := sprintf("%s is not true, nor is it inherited: set %s to true", [field, pod.at("spec.securityContext.runAsNonRoot")])
}

runs_as_non_root(container) if container.securityContext.runAsNonRoot == true

runs_as_non_root(container) if {
	not says_who(container)
	pod.spec.securityContext.runAsNonRoot == true
}

says_who(container) if container.securityContext.runAsNonRoot != null

# METADATA
# title: Running as user 0
# description: User 0 is root, unless the pod has a user namespace of its own.
# custom:
#   severity: high
#   remediation: Remove runAsUser, or set it to a user that the image knows.
#   references:
#   - "PSS restricted: Running as Non-root user"
#   - CIS 5.2.7
deny_run_as_user_zero contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	not pod.in_user_namespace
	some path, context in pod.security_contexts
	context.runAsUser == 0
	field := concat(".", [path, "runAsUser"])
	msg := sprintf("%s is 0, which is root: set it to another user or remove it", [field])
}

# METADATA
# title: Seccomp required
# description: Every container needs the seccomp profile of the runtime, or one of the node.
# custom:
#   severity: high
#   remediation: Set spec.securityContext.seccompProfile.type to RuntimeDefault.
#   references:
#   - "PSS restricted: Seccomp"
#   - CIS 5.7.2
deny_seccomp_missing contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	not pod.is_windows
	some path, container in pod.containers
	not has_seccomp(container)
	not seccomp_inherited
	field := concat(".", [path, "securityContext.seccompProfile"])
	msg := sprintf("%s is missing, nor is it inherited: set %s to RuntimeDefault", [field, pod.at("spec.securityContext.seccompProfile.type")])
}

has_seccomp(container) if container.securityContext.seccompProfile != null

seccomp_inherited if pod.spec.securityContext.seccompProfile.type in {"RuntimeDefault", "Localhost"}

# METADATA
# title: Capabilities dropped
# description: Containers drop every capability and may add NET_BIND_SERVICE.
# custom:
#   severity: high
#   remediation: Set securityContext.capabilities.drop to [ALL] in every container.
#   references:
#   - "PSS restricted: Capabilities"
#   - CIS 5.2.8
#   - CIS 5.2.10
deny_capabilities_kept contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	not pod.is_windows
	some path, container in pod.containers
	not drops_all(container)
	field := concat(".", [path, "securityContext.capabilities.drop"])
	msg := sprintf("%s does not hold ALL: set it to [ALL]", [field])
}

deny_capabilities_kept contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	not pod.is_windows
	some path, container in pod.containers
	some value in container.securityContext.capabilities.add
	value != "NET_BIND_SERVICE"
	field := concat(".", [path, "securityContext.capabilities.add"])
	msg := sprintf("%s holds %v: remove it; only NET_BIND_SERVICE may be added", [field, value])
}

drops_all(container) if "ALL" in container.securityContext.capabilities.drop

# METADATA
# title: /proc masked
# description: The masks over /proc stay, even in a user namespace.
# custom:
#   severity: high
#   remediation: Remove procMount.
#   references:
#   - "PSS restricted: /proc Mount Type"
deny_proc_unmasked contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	pod.in_user_namespace # elsewhere the baseline speaks
	some path, container in pod.containers
	value := container.securityContext.procMount
	not value in {"Default", null}
	field := concat(".", [path, "securityContext.procMount"])
	msg := sprintf("%s is %v: remove it", [field, value])
}
