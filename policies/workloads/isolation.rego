package workloads

import data.lib.parameters
import data.lib.pod

# METADATA
# title: Writable root filesystem
# description: Whoever gets into a container can replace its programs unless its root filesystem is read-only.
# custom:
#   severity: medium
#   remediation: Set securityContext.readOnlyRootFilesystem to true, and mount an emptyDir where files are written.
#   references:
#   - NSA Immutable container filesystems
deny_writable_root contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	not pod.is_windows
	some path, container in pod.containers
	not container.securityContext.readOnlyRootFilesystem == true
	field := concat(".", [path, "securityContext.readOnlyRootFilesystem"])
	msg := sprintf("%s is not true: set it to true", [field])
}

# METADATA
# title: Added capabilities
# description: Containers may add the capabilities in the parameter allowedCapabilities, and no other.
# custom:
#   severity: high
#   remediation: Remove the capability from securityContext.capabilities.add.
#   references:
#   - CIS 5.2.9
deny_added_capabilities contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, container in pod.containers
	some capability in container.securityContext.capabilities.add
	not capability in allowed_capabilities
	field := concat(".", [path, "securityContext.capabilities.add"])
	msg := sprintf("%s holds %v, which is not allowed: remove it", [field, capability])
}

allowed_capabilities := parameters.get("allowedCapabilities", ["NET_BIND_SERVICE"])

# Where container runtimes listen. Who can write there is root on the node.
sockets := {
	"/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/docker.sock", "/run/cri-dockerd.sock",
	"/var/run/containerd/containerd.sock", "/var/run/crio/crio.sock", "/var/run/docker.sock", "/var/run/cri-dockerd.sock",
}

host_paths[path] := file if {
	some of, volume in pod.volumes
	volume.hostPath != null
	file := host_file(volume)
	path := concat(".", [of, "hostPath.path"])
}

host_file(volume) := volume.hostPath.path if is_string(volume.hostPath.path)

# What is no path counts as all of the node.
host_file(volume) := "/" if not has_file(volume)

has_file(volume) if is_string(volume.hostPath.path)

# A path as the kernel reads it, without doubled and trailing slashes.
clean(file) := sprintf("/%s", [concat("/", [part | some part in split(file, "/"); not part in {"", "."}])])

covers(above, below) if above == below

covers(above, below) if startswith(below, concat("", [trim_suffix(above, "/"), "/"]))

# METADATA
# title: Socket of the container runtime
# description: Whoever reaches the socket of the container runtime is root on the node. No parameter allows it.
# custom:
#   severity: critical
#   remediation: Remove the volume.
#   references:
#   - CIS 5.2.12
deny_runtime_socket contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, file in host_paths
	some socket in sockets
	covers(clean(file), socket)
	msg := sprintf("%s is %s, which reaches the socket of the container runtime: remove the volume", [path, file])
}

# METADATA
# title: Host paths
# description: A hostPath volume reads and writes files of the node; only those in the parameter allowedHostPaths may be used.
# custom:
#   severity: high
#   remediation: Use a persistentVolumeClaim, a configMap or an emptyDir.
#   references:
#   - CIS 5.2.12
deny_host_path contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, file in host_paths
	not host_path_allowed(file)
	msg := sprintf("%s is %v, which is not allowed: use another type of volume", [path, file])
}

host_path_allowed(file) if {
	not ".." in split(file, "/")
	some allowed in parameters.get("allowedHostPaths", [])
	covers(clean(allowed), clean(file))
}

# METADATA
# title: Writable host paths
# description: Even a hostPath that is allowed must be mounted to be read only, or a container can change the node.
# custom:
#   severity: high
#   remediation: Set readOnly to true where the volume is mounted.
#   references:
#   - CIS 5.2.12
deny_host_path_writable contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, container in pod.containers
	some i, mount in container.volumeMounts
	some volume in pod.volumes
	volume.hostPath != null
	volume.name == mount.name
	not mount.readOnly == true
	field := sprintf("%s.volumeMounts[%v].readOnly", [path, i])
	msg := sprintf("%s is not true, and the volume %v is a path of the node: set it to true", [field, mount.name])
}

# METADATA
# title: Shared process namespace
# description: Containers that share processes can read each other's memory, environment and files.
# custom:
#   severity: low
#   remediation: Remove shareProcessNamespace.
deny_shared_processes contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	value := pod.spec.shareProcessNamespace
	not value in {false, null}
	field := pod.at("spec.shareProcessNamespace")
	msg := sprintf("%s shares processes between the containers: remove it", [field])
}

# The service account by both of its names; serviceAccount is the old one.
service_account := name if {
	names := {name |
		some key in {"serviceAccountName", "serviceAccount"}
		name := pod.spec[key]
		not name in {"", null}
	}
	count(names) == 1
	some name in names
	is_string(name)
}

# METADATA
# title: Service account tokens
# description: A token in a container is a key to the API server; only the service accounts in the parameter serviceAccountsWithToken need one.
# custom:
#   severity: medium
#   remediation: Set automountServiceAccountToken to false.
#   references:
#   - CIS 5.1.6
#   - NSA Protecting Pod service account tokens
deny_token_mounted contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	pod.has_spec
	not pod.spec.automountServiceAccountToken == false
	not needs_token
	field := pod.at("spec.automountServiceAccountToken")
	msg := sprintf("%s is not false, so the containers get a token for the API server: set it to false", [field])
}

needs_token if service_account in parameters.get("serviceAccountsWithToken", [])

# METADATA
# title: Default service account
# description: The rights of the default service account go to every pod that names none. A pod that uses the API has an account of its own.
# custom:
#   severity: medium
#   remediation: Set serviceAccountName, or automountServiceAccountToken to false.
#   references:
#   - CIS 5.1.5
deny_default_service_account contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	pod.has_spec
	not own_service_account
	not pod.spec.automountServiceAccountToken == false
	field := pod.at("spec.serviceAccountName")
	msg := sprintf("%s is not set, or default, or two accounts are named: name one of the pod's own", [field])
}

own_service_account if service_account != "default"

# METADATA
# title: Token of the default service account
# description: The default service account gives its token to every pod that does not refuse it.
# custom:
#   severity: medium
#   remediation: Set automountServiceAccountToken of the ServiceAccount default to false.
#   references:
#   - CIS 5.1.5
#   - CIS 5.1.6
deny_default_account_token contains {"field": "automountServiceAccountToken", "msg": msg} if {
	input.object.kind == "ServiceAccount"
	input.object.apiVersion == "v1"
	input.object.metadata.name == "default"
	not input.object.automountServiceAccountToken == false
	msg := "automountServiceAccountToken of the default service account is not false: set it to false"
}
