package allowed_repositories

import data.lib.workload

violation contains {"msg": msg} if {
	some container in workload.containers
	not allowed(container.image)
	msg := sprintf("container %v runs %v, which is from none of the repositories %v", [container.name, container.image, input.parameters.repositories])
}

allowed(image) if {
	some repository in input.parameters.repositories
	startswith(image, repository)
}
