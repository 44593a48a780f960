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

malformed[path] := sprintf("%s is a %s and must be a list", [path, type_name(list)]) if {
	some field in container_fields | {"volumes"}
	list := spec[field]
	not type_name(list) in {"array", "null"}
	path := sprintf("%sspec.%s", [prefix, field])
}

malformed[path] := sprintf("%s is a %s and must be an object", [path, type_name(item)]) if {
	some items in [containers, volumes]
	some path, item in items
	not is_object(item)
}

malformed[path] := sprintf("%s is a %s and must be an object", [path, type_name(context)]) if {
	some path, context in security_contexts
	not type_name(context) in {"object", "null"}
}

malformed[path] := sprintf("%s is a %s and must be an object", [path, type_name(value)]) if {
	some of, context in security_contexts
	some field in {"capabilities", "seLinuxOptions", "seccompProfile", "appArmorProfile", "windowsOptions"}
	value := context[field]
	not type_name(value) in {"object", "null"}
	path := concat(".", [of, field])
}

malformed[path] := sprintf("%s is a %s and must be a list", [path, type_name(list)]) if {
	some of, context in security_contexts
	some field in {"add", "drop"}
	list := context.capabilities[field]
	not type_name(list) in {"array", "null"}
	path := sprintf("%s.capabilities.%s", [of, field])
}

malformed[path] := sprintf("%s is a %s and must be a list", [path, type_name(list)]) if {
	list := spec.securityContext.sysctls
	not type_name(list) in {"array", "null"}
	path := at("spec.securityContext.sysctls")
}

malformed[path] := sprintf("%s is a %s and must be a list", [path, type_name(list)]) if {
	some of, container in containers
	list := container.ports
	not type_name(list) in {"array", "null"}
	path := concat(".", [of, "ports"])
}

malformed[path] := sprintf("%s is a %s and must be an object", [path, type_name(value)]) if {
	path := at("metadata.annotations")
	value := annotations
	not type_name(value) in {"object", "null"}
}
