package workloads

import data.lib.parameters
import data.lib.pod

# METADATA
# title: Mutable tags
# description: An image without a tag or digest, or with a tag that moves, is another one tomorrow.
# custom:
#   severity: medium
#   remediation: Name a version, and pin it by digest.
deny_mutable_tag contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some field, image in pod.images
	not pinned(image)
	not versioned(image)
	msg := sprintf("%s is %v, which can be another image tomorrow: name a version or a digest", [field, json.marshal(image)])
}

pinned(image) if {
	is_string(image)
	regex.match(`@sha256:[0-9a-f]{64}$`, image)
}

versioned(image) if {
	is_string(image)
	[parts] := regex.find_all_string_submatch_n(`^[^@]+:([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})$`, image, 1)
	not parts[1] in mutable_tags
}

mutable_tags := parameters.get("mutableTags", ["latest", "main", "master", "dev", "edge", "nightly"])

# METADATA
# title: Default namespace
# description: What is in the namespace default has no boundary of its own.
# custom:
#   severity: medium
#   remediation: Give the workload a namespace of its own.
#   references:
#   - CIS 5.7.4
deny_default_namespace contains {"field": "metadata.namespace", "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	pod.at("spec")
	input.object.metadata.namespace == "default"
	msg := "metadata.namespace is default: use a namespace of the workload's own"
}

# METADATA
# title: Tolerating everything
# description: A pod that tolerates every taint runs on control plane nodes and on nodes that are broken.
# custom:
#   severity: high
#   remediation: Name the key of the taint. A DaemonSet may tolerate everything.
deny_tolerates_everything contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some i, toleration in pod.spec.tolerations
	not keyed(toleration)
	field := pod.at(sprintf("spec.tolerations[%v].key", [i]))
	msg := sprintf("%s is missing, so every taint is tolerated: name the taint", [field])
}

keyed(toleration) if {
	is_string(toleration.key)
	toleration.key != ""
}

# METADATA
# title: Control plane nodes
# description: A workload on a control plane node is beside the keys of the cluster.
# custom:
#   severity: high
#   remediation: Remove the toleration.
#   references:
#   - NSA Control plane hardening
deny_on_control_plane contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	not of_the_system
	some i, toleration in pod.spec.tolerations
	toleration.key in {"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"}
	field := pod.at(sprintf("spec.tolerations[%v].key", [i]))
	msg := sprintf("%s is %s, which lets the pod run beside the control plane: remove the toleration", [field, toleration.key])
}

of_the_system if input.object.metadata.namespace == "kube-system"

# METADATA
# title: Named nodes
# description: A template that names its node passes by the scheduler and every taint. The nodeName of a Pod is the scheduler's and not looked at.
# custom:
#   severity: medium
#   remediation: Use a nodeSelector or an affinity.
deny_node_name contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	value := pod.spec.nodeName
	not value in {"", null}
	field := pod.at("spec.nodeName")
	msg := sprintf("%s passes by the scheduler: use a nodeSelector", [field])
}

# METADATA
# title: System priority
# description: A pod with the priority of the system drives others off the node.
# custom:
#   severity: high
#   remediation: Use a PriorityClass of your own.
deny_system_priority contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	not of_the_system
	pod.spec.priorityClassName in {"system-cluster-critical", "system-node-critical"}
	field := pod.at("spec.priorityClassName")
	msg := sprintf("%s is %s, which is for the cluster's own pods: use a PriorityClass of your own", [field, pod.spec.priorityClassName])
}
