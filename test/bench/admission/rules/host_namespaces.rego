package host_namespaces

import data.lib.workload

violation contains {"msg": msg} if {
	some namespace in ["hostPID", "hostIPC", "hostNetwork"]
	workload.spec[namespace]
	msg := sprintf("%v shares a namespace of the node: remove it", [namespace])
}
