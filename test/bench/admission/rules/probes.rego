package probes

import data.lib.workload

violation contains {"msg": msg} if {
	some container in workload.spec.containers
	some probe in ["readinessProbe", "livenessProbe"]
	not container[probe]
	msg := sprintf("container %v has no %v: add one", [container.name, probe])
}
