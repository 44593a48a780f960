package main

deny contains say("hostIPC shares the memory of the node") if {
	input.kind in workloads
	pod.hostIPC
}

deny contains say("hostPID shows the processes of the node") if {
	input.kind in {"Deployment", "StatefulSet", "ReplicaSet"}
	pod.hostPID
}

deny contains say("hostNetwork without a service account of its own") if {
	input.kind in {"Deployment", "StatefulSet", "ReplicaSet"}
	pod.hostNetwork
	not pod.serviceAccountName
}

deny contains say(sprintf("container %s of a Deployment is privileged", [container.name])) if {
	input.kind == "Deployment"
	some container in containers
	container.securityContext.privileged
}

deny contains say(sprintf("container %s adds the capability %s", [container.name, capability])) if {
	input.kind in workloads
	some container in containers
	some capability in container.securityContext.capabilities.add
	not capability in {"NET_BIND_SERVICE", "NET_ADMIN", "IPC_LOCK", "SYS_ADMIN"}
}

deny contains say(sprintf("container %s of a Deployment is built from latest", [container.name])) if {
	input.kind == "Deployment"
	some container in containers
	endswith(container.image, ":latest")
}

deny contains say(sprintf("image %s has no tag", [container.image])) if {
	input.kind in {"Deployment", "DaemonSet"}
	some container in containers
	name := regex.replace(container.image, `^.*/`, "")
	not contains(name, ":")
	not contains(name, "@")
}

deny contains say(sprintf("image %s comes from a registry of somebody else", [container.image])) if {
	input.kind in workloads
	some container in containers
	regex.match(`^(quay\.io/untrusted|docker\.io/library)/`, container.image)
}

deny contains say(sprintf("container %s may not have more than 16 GiB", [container.name])) if {
	input.kind in workloads
	some container in containers
	units.parse_bytes(container.resources.limits.memory) > 17179869184
}

deny contains say(sprintf("container %s asks for memory and has no limit", [container.name])) if {
	input.kind == "StatefulSet"
	some container in containers
	container.resources.requests.memory
	container.resources.limits.cpu
	not container.resources.limits.memory
}

deny contains say(sprintf("port %d of container %s is a port of the node", [port.hostPort, container.name])) if {
	input.kind in {"Deployment", "StatefulSet"}
	some container in containers
	some port in container.ports
	port.hostPort < 1024
}

deny contains say(sprintf("volume %s is the socket of the container runtime", [volume.name])) if {
	input.kind in workloads
	some volume in pod.volumes
	regex.match(`^/(var/)?run/(docker|containerd/containerd|crio/crio)\.sock$`, volume.hostPath.path)
}

deny contains say(sprintf("volume %s is the root of the node", [volume.name])) if {
	input.kind in workloads
	some volume in pod.volumes
	volume.hostPath.path == "/"
}

deny contains say(sprintf("variable %s of container %s holds a secret", [variable.name, container.name])) if {
	input.kind in workloads
	some container in containers
	some variable in container.env
	regex.match(`(?i)(password|secret|token)$`, variable.name)
	variable.value != ""
}

deny contains say("the selector does not match the labels of the template") if {
	input.kind in {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"}
	some key, value in input.spec.selector.matchLabels
	not input.spec.template.metadata.labels[key] == value
}

deny contains say(sprintf("%d replicas are too many", [input.spec.replicas])) if {
	input.kind in {"Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"}
	input.spec.replicas > 10
}

deny contains say(sprintf("container %s comes twice", [name])) if {
	input.kind in workloads
	some i, container in pod.containers
	some j, other in pod.containers
	i < j
	name := container.name
	name == other.name
}

deny contains say(sprintf("mount %s of container %s has no volume", [mount.name, container.name])) if {
	input.kind in {"Deployment", "DaemonSet"}
	some container in containers
	some mount in container.volumeMounts
	not mount.name in {volume.name | some volume in pod.volumes}
}

deny contains say(sprintf("the grace period of %d seconds is too long", [pod.terminationGracePeriodSeconds])) if {
	input.kind in workloads
	pod.terminationGracePeriodSeconds > 600
}

deny contains say(sprintf("service account %s is for the control plane", [pod.serviceAccountName])) if {
	input.kind in workloads
	pod.serviceAccountName in {"default-admin", "cluster-admin", "kube-controller-manager"}
}
