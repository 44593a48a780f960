package image_tags

import data.lib.workload

violation contains {"msg": msg} if {
	some container in workload.containers
	floats(container.image)
	msg := sprintf("container %v runs %v, which is another image tomorrow: name a version or a digest", [container.name, container.image])
}

floats(image) if endswith(image, ":latest")

floats(image) if {
	not contains(image, "@")
	parts := split(image, "/")
	not contains(parts[count(parts) - 1], ":")
}
