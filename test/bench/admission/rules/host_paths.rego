package host_paths

import data.lib.workload

violation contains {"msg": msg} if {
	some volume in workload.spec.volumes
	volume.hostPath
	msg := sprintf("volume %v is the path %v of the node: use another type", [volume.name, volume.hostPath.path])
}
