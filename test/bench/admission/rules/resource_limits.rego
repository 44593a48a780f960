package resource_limits

import data.lib.workload

violation contains {"msg": msg} if {
	some container in workload.containers
	some resource in input.parameters.resources
	not container.resources.limits[resource]
	msg := sprintf("container %v has no limit of %v: set resources.limits.%v", [container.name, resource, resource])
}
