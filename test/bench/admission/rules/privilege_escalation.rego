package privilege_escalation

import data.lib.workload

violation contains {"msg": msg} if {
	some container in workload.containers
	not container.securityContext.allowPrivilegeEscalation == false
	msg := sprintf("container %v may gain privileges: set securityContext.allowPrivilegeEscalation to false", [container.name])
}
