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
# such a pod; here it must not slip through a rule that looks for another type. A
# pack that reads more than containers and volumes asks for more of these.
malformed[path] := sprintf("%s is missing or not an object: write it", [path]) if {
	path := at("spec")
	not has_spec
}

malformed[path] := needs(path, list, "a list") if {
	some field in container_fields | {"volumes"}
	list := spec[field]
	not list_or_null(list)
	path := sprintf("%sspec.%s", [prefix, field])
}

malformed[path] := needs(path, item, "an object") if {
	some items in [containers, volumes]
	some path, item in items
	not is_object(item)
}

# As malformed, of security contexts.
malformed_security[path] := needs(path, context, "an object") if {
	some path, context in security_contexts
	not object_or_null(context)
}

malformed_security[path] := needs(path, value, "an object") if {
	some of, context in security_contexts
	some field in {"capabilities", "seLinuxOptions", "seccompProfile", "appArmorProfile", "windowsOptions"}
	value := context[field]
	not object_or_null(value)
	path := concat(".", [of, field])
}

malformed_security[path] := needs(path, list, "a list") if {
	some of, context in security_contexts
	some field in {"add", "drop"}
	list := context.capabilities[field]
	not list_or_null(list)
	path := sprintf("%s.capabilities.%s", [of, field])
}

# As malformed, of what a kubelet asks a container.
malformed_handlers[path] := needs(path, value, "an object") if {
	some of, container in containers
	some field in {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"}
	value := container[field]
	not object_or_null(value)
	path := concat(".", [of, field])
}

malformed_handlers[path] := needs(path, value, "an object") if {
	some of, container in containers
	some field in {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"}
	some part in {"httpGet", "postStart", "preStop", "tcpSocket"}
	value := container[field][part]
	not object_or_null(value)
	path := sprintf("%s.%s.%s", [of, field, part])
}

malformed_handlers[path] := needs(path, value, "an object") if {
	some of, container in containers
	some hook in {"postStart", "preStop"}
	some handler in {"httpGet", "tcpSocket"}
	value := container.lifecycle[hook][handler]
	not object_or_null(value)
	path := sprintf("%s.lifecycle.%s.%s", [of, hook, handler])
}

malformed_annotations[path] := needs(path, value, "an object") if {
	path := at("metadata.annotations")
	value := annotations
	not object_or_null(value)
}

# What is wrong with a list of objects; undefined where nothing is.
wrong_list(path, list) := {path: needs(path, list, "a list")} if not list_or_null(list)

wrong_list(path, list) := found if {
	is_array(list)
	found := {at_item: needs(at_item, item, "an object") |
		some i, item in list
		not is_object(item)
		at_item := sprintf("%s[%d]", [path, i])
	}
	found != {}
}

needs(path, value, want) := sprintf("%s is a %s and must be %s: correct it", [path, type_name(value), want])

object_or_null(value) if type_name(value) in {"object", "null"}

list_or_null(value) if type_name(value) in {"array", "null"}
