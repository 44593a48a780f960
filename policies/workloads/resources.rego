package workloads

import data.lib.parameters
import data.lib.pod

has_quantity(holder, kind, resource) if {
	value := holder.resources[kind][resource]
	type_name(value) in {"string", "number"}
	not value in {"", "0", 0}
}

# METADATA
# title: Requests
# description: A container says what it needs, or the scheduler puts it where there is no room. A limit counts as a request, and so do the resources of the pod.
# custom:
#   severity: medium
#   remediation: Set resources.requests of the container.
#   references:
#   - NSA Resource policies
deny_requests_missing contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, container in lasting
	some resource in required_requests
	not requested(container, resource)
	not pod_requests(resource)
	field := sprintf("%s.resources.requests.%s", [path, resource])
	msg := sprintf("%s is missing: set it to what the container needs", [field])
}

required_requests := parameters.get("requiredRequests", ["cpu", "memory"])

requested(holder, resource) if has_quantity(holder, "requests", resource)

requested(holder, resource) if has_quantity(holder, "limits", resource)

pod_requests(resource) if requested(pod.spec, resource)

pod_limits(resource) if has_quantity(pod.spec, "limits", resource)

# METADATA
# title: Limits
# description: A container without a limit can take all of the node from its neighbours.
# custom:
#   severity: medium
#   remediation: Set resources.limits of the container.
#   references:
#   - NSA Resource policies
deny_limits_missing contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, container in lasting
	some resource in required_limits
	not has_quantity(container, "limits", resource)
	not pod_limits(resource)
	field := sprintf("%s.resources.limits.%s", [path, resource])
	msg := sprintf("%s is missing: set it to the most that the container may take", [field])
}

required_limits := parameters.get("requiredLimits", ["memory"])

# METADATA
# title: Limits too large
# description: No container may take more than the parameter maxLimits says. A quantity that cannot be read is too large.
# custom:
#   severity: medium
#   remediation: Lower the limit, or ask for a larger maxLimits.
#   references:
#   - NSA Resource policies
deny_limits_too_large contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, limits in limits_set
	some resource, most in parameters.get("maxLimits", {})
	limit := limits[resource]
	limit != null
	not at_most(limit, most)
	field := sprintf("%s.resources.limits.%s", [path, resource])
	msg := sprintf("%s is %v, more than the %s that are allowed: lower it", [field, limit, most])
}

# The limits by the path of what has them: containers, and the pod.
limits_set[path] := limits if {
	some path, container in lasting
	limits := container.resources.limits
}

limits_set[path] := limits if {
	limits := pod.spec.resources.limits
	path := pod.at("spec")
}

at_most(limit, most) if amount(limit) <= amount(most)

# A quantity of Kubernetes as a number. It is undefined for what is none.
amount(quantity) := quantity if is_number(quantity)

amount(quantity) := number * factors[suffix] if {
	is_string(quantity)
	[parts] := regex.find_all_string_submatch_n(`^([0-9]{1,18}(?:\.[0-9]{1,9})?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi|)$`, quantity, 1)
	number := to_number(parts[1])
	suffix := parts[2]
}

factors := {
	"m": 0.001, "": 1, "k": 1000, "M": 1000000, "G": 1000000000, "T": 1000000000000, "P": 1000000000000000,
	"Ki": 1024, "Mi": 1048576, "Gi": 1073741824, "Ti": 1099511627776, "Pi": 1125899906842624,
}

# METADATA
# title: Volumes in memory
# description: An emptyDir in memory without a size limit can take all memory that the pod has.
# custom:
#   severity: medium
#   remediation: Set emptyDir.sizeLimit.
deny_memory_volume_unbounded contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, volume in pod.volumes
	volume.emptyDir.medium == "Memory"
	not has_size_limit(volume)
	field := concat(".", [path, "emptyDir.sizeLimit"])
	msg := sprintf("%s is missing: set it, as the volume is kept in memory", [field])
}

has_size_limit(volume) if type_name(volume.emptyDir.sizeLimit) in {"string", "number"}
