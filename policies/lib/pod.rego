# METADATA
# title: Pods and their templates
# description: Finds the pod, or the pod template, of every built-in kind that has one, with the path at which it stands.
package lib.pod

# Where in the object the pod stands: the text in front of metadata and spec. It is
# undefined for kinds without a pod.
prefix := "" if {
	input.object.kind == "Pod"
	input.object.apiVersion == "v1"
}

prefix := "template." if {
	input.object.kind == "PodTemplate"
	input.object.apiVersion == "v1"
}

prefix := "spec.template." if {
	input.object.kind == "ReplicationController"
	input.object.apiVersion == "v1"
}

prefix := "spec.template." if {
	input.object.kind in {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"}
	startswith(input.object.apiVersion, "apps/")
}

prefix := "spec.template." if {
	input.object.kind == "Job"
	startswith(input.object.apiVersion, "batch/")
}

prefix := "spec.jobTemplate.spec.template." if {
	input.object.kind == "CronJob"
	startswith(input.object.apiVersion, "batch/")
}

spec := input.object.spec if prefix == ""

spec := input.object.template.spec if prefix == "template."

spec := input.object.spec.template.spec if prefix == "spec.template."

spec := input.object.spec.jobTemplate.spec.template.spec if prefix == "spec.jobTemplate.spec.template."

annotations := input.object.metadata.annotations if prefix == ""

annotations := input.object.template.metadata.annotations if prefix == "template."

annotations := input.object.spec.template.metadata.annotations if prefix == "spec.template."

annotations := input.object.spec.jobTemplate.spec.template.metadata.annotations if prefix == "spec.jobTemplate.spec.template."

# The path of a field of the pod.
at(field) := concat("", [prefix, field])

container_fields := {"containers", "initContainers", "ephemeralContainers"}

# Every container by its path: ordinary, init and ephemeral ones.
containers[path] := container if {
	some field in container_fields
	some i, container in spec[field]
	path := sprintf("%sspec.%s[%v]", [prefix, field, i])
}

# Every security context by its path: of the pod and of the containers.
security_contexts[path] := context if {
	context := spec.securityContext
	path := at("spec.securityContext")
}

security_contexts[path] := context if {
	some of, container in containers
	context := container.securityContext
	path := concat(".", [of, "securityContext"])
}

volumes[path] := volume if {
	some i, volume in spec.volumes
	path := sprintf("%sspec.volumes[%v]", [prefix, i])
}

# The image of every container and of every volume that is one, by its path; null
# where there is none.
images[path] := image if {
	some of, container in containers
	image := image_of(container)
	path := concat(".", [of, "image"])
}

images[path] := image if {
	some of, volume in volumes
	volume.image != null
	image := reference_of(volume)
	path := concat(".", [of, "image.reference"])
}

image_of(container) := container.image

image_of(container) := null if not has_image(container)

has_image(container) if container.image != null

reference_of(volume) := volume.image.reference

reference_of(volume) := null if not has_reference(volume)

has_reference(volume) if volume.image.reference != null

is_windows if spec.os.name == "windows"

# With hostUsers false, root in the container is nobody on the node.
in_user_namespace if spec.hostUsers == false

has_spec if is_object(spec)

# What of a pod is not of the type that it has in the API. An API server refuses
# such a pod; here it must not slip through a rule that looks for another type.
malformed[path] := sprintf("%s is missing or not an object", [path]) if {
	path := at("spec")
	not has_spec
}

malformed[path] := needs(path, list, "a list") if {
	some field in container_fields | {"volumes", "tolerations", "topologySpreadConstraints", "imagePullSecrets"}
	list := spec[field]
	not list_or_null(list)
	path := sprintf("%sspec.%s", [prefix, field])
}

malformed[path] := needs(path, value, "an object") if {
	value := spec.affinity
	not object_or_null(value)
	path := at("spec.affinity")
}

malformed[path] := needs(path, item, "an object") if {
	some field in {"tolerations", "topologySpreadConstraints"}
	some i, item in spec[field]
	not is_object(item)
	path := sprintf("%sspec.%s[%v]", [prefix, field, i])
}

malformed[path] := needs(path, item, "an object") if {
	some items in [containers, volumes]
	some path, item in items
	not is_object(item)
}

malformed[path] := needs(path, source, "an object") if {
	some of, volume in volumes
	some field, source in volume
	field != "name"
	not object_or_null(source)
	path := concat(".", [of, field])
}

malformed[path] := needs(path, list, "a list") if {
	some of, volume in volumes
	list := volume.projected.sources
	not list_or_null(list)
	path := concat(".", [of, "projected.sources"])
}

malformed[path] := needs(path, context, "an object") if {
	some path, context in security_contexts
	not object_or_null(context)
}

malformed[path] := needs(path, value, "an object") if {
	some of, context in security_contexts
	some field in {"capabilities", "seLinuxOptions", "seccompProfile", "appArmorProfile", "windowsOptions"}
	value := context[field]
	not object_or_null(value)
	path := concat(".", [of, field])
}

malformed[path] := needs(path, list, "a list") if {
	some of, context in security_contexts
	some field in {"add", "drop"}
	list := context.capabilities[field]
	not list_or_null(list)
	path := sprintf("%s.capabilities.%s", [of, field])
}

malformed[path] := needs(path, list, "a list") if {
	list := spec.securityContext.sysctls
	not list_or_null(list)
	path := at("spec.securityContext.sysctls")
}

malformed[path] := needs(path, item, "an object") if {
	some i, item in spec.securityContext.sysctls
	not is_object(item)
	path := at(sprintf("spec.securityContext.sysctls[%v]", [i]))
}

container_lists := {"ports", "env", "envFrom", "volumeMounts"}

malformed[path] := needs(path, list, "a list") if {
	some of, container in containers
	some field in container_lists | {"command", "args"}
	list := container[field]
	not list_or_null(list)
	path := concat(".", [of, field])
}

malformed[path] := needs(path, item, "an object") if {
	some of, container in containers
	some field in container_lists
	some i, item in container[field]
	is_number(i) # of a list
	not is_object(item)
	path := sprintf("%s.%s[%v]", [of, field, i])
}

malformed[path] := needs(path, value, "an object") if {
	some of, container in containers
	some field in {"resources", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe"}
	value := container[field]
	not object_or_null(value)
	path := concat(".", [of, field])
}

malformed[path] := needs(path, value, "an object") if {
	some of, container in containers
	some field in {"resources", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe"}
	some part, value in container[field]
	part in {"limits", "requests", "postStart", "preStop", "httpGet", "tcpSocket"}
	not object_or_null(value)
	path := sprintf("%s.%s.%s", [of, field, part])
}

malformed[path] := needs(path, value, "an object") if {
	some of, container in containers
	some hook in {"postStart", "preStop"}
	some handler in {"httpGet", "tcpSocket"}
	value := container.lifecycle[hook][handler]
	not object_or_null(value)
	path := sprintf("%s.lifecycle.%s.%s", [of, hook, handler])
}

malformed[path] := needs(path, value, "an object") if {
	path := at("metadata.annotations")
	value := annotations
	not object_or_null(value)
}

needs(path, value, want) := sprintf("%s is a %s and must be %s", [path, type_name(value), want])

object_or_null(value) if type_name(value) in {"object", "null"}

list_or_null(value) if type_name(value) in {"array", "null"}
