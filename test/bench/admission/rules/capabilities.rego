package capabilities

import data.lib.workload

violation contains {"msg": msg} if {
	some container in workload.containers
	not drops_all(container)
	msg := sprintf("container %v keeps capabilities: set securityContext.capabilities.drop to [ALL]", [container.name])
}

violation contains {"msg": msg} if {
	some container in workload.containers
	some capability in container.securityContext.capabilities.add
	not capability in input.parameters.allowed
	msg := sprintf("container %v adds capability %v, which is none of %v", [container.name, capability, input.parameters.allowed])
}

drops_all(container) if "ALL" in container.securityContext.capabilities.drop
