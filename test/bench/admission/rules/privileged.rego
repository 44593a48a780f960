package privileged

import data.lib.workload

violation contains {"msg": msg} if {
	some container in workload.containers
	container.securityContext.privileged
	msg := sprintf("container %v is privileged: remove securityContext.privileged", [container.name])
}
