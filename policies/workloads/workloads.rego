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
deny_malformed_pod contains {"field": path, "msg": concat("", [msg, ": correct it"])} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, msg in pod.malformed
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
