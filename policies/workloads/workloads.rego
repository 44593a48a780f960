# METADATA
# title: Workloads
# description: Pods and what makes them run in a way that others can rely on - resources, probes, service accounts, placement.
# related_resources:
# - ref: https://kubernetes.io/docs/concepts/configuration/overview/
package workloads

import data.lib.parameters
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
	some of, container in pod.containers
	some path, msg in pod.wrong_list(concat(".", [of, "volumeMounts"]), container.volumeMounts)
}

deny_malformed_pod contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some field in {"tolerations", "topologySpreadConstraints"}
	some path, msg in pod.wrong_list(pod.at(concat(".", ["spec", field])), pod.spec[field])
}

deny_malformed_pod contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, msg in malformed
}

malformed[path] := pod.needs(path, value, "an object") if {
	some of, container in lasting
	value := container.resources
	not pod.object_or_null(value)
	path := concat(".", [of, "resources"])
}

malformed[path] := pod.needs(path, value, "an object") if {
	some of, container in lasting
	some part in {"limits", "requests"}
	value := container.resources[part]
	not pod.object_or_null(value)
	path := sprintf("%s.resources.%s", [of, part])
}

malformed[path] := pod.needs(path, value, "an object") if {
	some of, volume in pod.volumes
	some source in {"emptyDir", "hostPath"}
	value := volume[source]
	not pod.object_or_null(value)
	path := concat(".", [of, source])
}

malformed[path] := pod.needs(path, value, "an object") if {
	value := pod.spec.affinity
	not pod.object_or_null(value)
	path := pod.at("spec.affinity")
}

# METADATA
# title: List of objects
# description: The rules judge one object at a time, and would look past the items of a list.
# custom:
#   severity: high
#   remediation: Write the items as documents of their own.
deny_list contains {"field": "items", "msg": msg} if {
	input.object.kind in {"List", "CronJobList", "DaemonSetList", "DeploymentList", "JobList", "PodList", "PodTemplateList", "ReplicaSetList", "ReplicationControllerList", "ServiceAccountList", "StatefulSetList", "PodDisruptionBudgetList"}
	input.object.items != null
	msg := sprintf("items of a %s are not judged: write them as documents of their own", [input.object.kind])
}

parameter_types := {
	"requiredRequests": "strings",
	"requiredLimits": "strings",
	"maxLimits": "texts",
	"allowedCapabilities": "strings",
	"allowedHostPaths": "strings",
	"serviceAccountsWithToken": "strings",
	"mutableTags": "strings",
	"minReplicas": "count",
}

# METADATA
# title: Wrong parameters
# description: A parameter of the wrong type would make rules look past what they are to find.
# custom:
#   severity: high
#   remediation: Correct the parameter; parameters.jsonschema of the pack says what it must be.
deny_wrong_parameters contains {"msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some msg in parameters.problems(parameter_types)
}

# The containers that serve: neither init containers nor those for debugging.
serving[path] := container if {
	some path, container in pod.containers
	startswith(path, pod.at("spec.containers["))
}

# Containers that can have resources and probes: an ephemeral container cannot.
lasting[path] := container if {
	some path, container in pod.containers
	not startswith(path, pod.at("spec.ephemeralContainers["))
}
