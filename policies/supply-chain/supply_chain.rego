# METADATA
# title: Supply chain
# description: Where images come from, and who has vouched for them.
# related_resources:
# - ref: https://slsa.dev/spec/v1.0/threats-overview
package supply_chain

import data.lib.parameters
import data.lib.pod

# METADATA
# title: Malformed pod
# description: A pod must have the shape that the API gives it, or the other rules could look past it.
# custom:
#   severity: high
#   remediation: Correct the field; `kubectl explain` shows its type.
deny_malformed_pod contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, msg in pod.malformed
}

# METADATA
# title: List of objects
# description: The rules judge one object at a time, and would look past the items of a list.
# custom:
#   severity: high
#   remediation: Write the items as documents of their own.
deny_list contains {"field": "items", "msg": msg} if {
	input.object.kind in {"CronJobList", "DaemonSetList", "DeploymentList", "JobList", "List", "PodList", "PodTemplateList", "ReplicaSetList", "ReplicationControllerList", "StatefulSetList"}
	input.object.items != null
	msg := sprintf("items of a %s are not judged: write them as documents of their own", [input.object.kind])
}

parameter_types := {
	"allowedRegistries": "strings",
	"unverifiedRegistries": "strings",
	"requiredAuthorities": "lists",
	"provenanceRegistries": "strings",
	"builders": "counts",
	"minimumBuildLevel": "count",
	"buildTypes": "strings",
	"sourceRepositories": "strings",
	"maxBuildAgeDays": "count",
	"sbomRegistries": "strings",
	"scanRegistries": "strings",
	"refusedSeverity": "severity",
	"acceptedVulnerabilities": "strings",
	"maxScanAgeDays": "count",
}

# METADATA
# title: Wrong parameters
# description: A parameter of the wrong type would make rules look past what they are to find.
# custom:
#   severity: high
#   remediation: Correct the parameter; parameters.jsonschema of the pack says what it must be.
deny_wrong_parameters contains {"msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some msg in parameters.problems(parameter_types)
}

# A reference as the distribution specification has it: name, tag and digest.
reference := `^([A-Za-z0-9][A-Za-z0-9._:/-]*?)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$`

# The references that can be read, by path, with their parts.
images[path] := {"text": text, "name": full_name(name), "named": name, "digest": digest} if {
	some path, text in pod.images
	is_string(text)
	[[_, name, _, digest]] := regex.find_all_string_submatch_n(reference, text, 1)
}

# A name with its registry, as a container runtime would complete it.
full_name(name) := name if has_registry(name)

full_name(name) := concat("/", ["docker.io", name]) if {
	not has_registry(name)
	contains(name, "/")
}

full_name(name) := concat("/", ["docker.io/library", name]) if not contains(name, "/")

names_registry(image) if has_registry(image.named)

has_registry(name) if {
	contains(name, "/")
	regex.match(`^(?:localhost|[^/]*[.:][^/]*)/`, name)
}

# Whether a name is of a registry, or of a repository or folder of one.
of(name, prefix) if name == prefix

of(name, prefix) if startswith(name, concat("", [trim_suffix(prefix, "/"), "/"]))

# METADATA
# title: Unreadable reference
# description: An image that cannot be read as a reference cannot be judged.
# custom:
#   severity: high
#   remediation: Write registry/repository@sha256:digest.
deny_unreadable_image contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, text in pod.images
	not images[path]
	msg := sprintf("%s is %s, which is no reference to an image: write registry/repository@sha256:digest", [path, json.marshal(text)])
}

# METADATA
# title: Foreign registries
# description: Images come from the registries and repositories in the parameter allowedRegistries, if it is given.
# custom:
#   severity: high
#   remediation: Use an image of one of these.
#   references:
#   - CIS 5.5.1
#   - NSA Building secure container images
deny_foreign_registry contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	allowed := parameters.get("allowedRegistries", [])
	allowed != []
	some path, image in images
	not of_any(image, allowed)
	msg := sprintf("%s is %s, which is of none of %s: use an image of one of these", [path, image.text, concat(", ", allowed)])
}

of_any(image, prefixes) if {
	some prefix in prefixes
	of(image.name, prefix)
}

# METADATA
# title: Short names
# description: A name without a registry is completed by each node as it is configured.
# custom:
#   severity: medium
#   remediation: Write the registry, as in docker.io/library/nginx.
deny_short_name contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, image in images
	not names_registry(image)
	msg := sprintf("%s is %s, which names no registry: write %s", [path, image.text, image.name])
}

# METADATA
# title: Registries by address
# description: A registry that is named by an address or as localhost has no certificate and no owner that can be known.
# custom:
#   severity: high
#   remediation: Use the name of the registry.
deny_registry_address contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, image in images
	regex.match(`^(?:localhost|[0-9.]+)(?::[0-9]+)?/`, image.name)
	msg := sprintf("%s is %s, which names a registry by its address: use its name", [path, image.text])
}

# METADATA
# title: Images without a digest
# description: A tag can be moved; only a digest says which image runs.
# custom:
#   severity: high
#   remediation: Pin the image by digest.
#   references:
#   - CIS 5.5.1
deny_no_digest contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, image in images
	image.digest == ""
	msg := sprintf("%s is %s and names no digest: pin it with @sha256:…", [path, image.text])
}

# METADATA
# title: Images that are not pulled
# description: With imagePullPolicy Never, whatever the node has by that name runs, whoever put it there and without a right to pull it.
# custom:
#   severity: high
#   remediation: Use IfNotPresent or Always.
deny_never_pulled contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, container in pod.containers
	container.imagePullPolicy == "Never"
	field := concat(".", [path, "imagePullPolicy"])
	msg := sprintf("%s is Never, so the image need not come from its registry: use IfNotPresent or Always", [field])
}

deny_never_pulled contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, volume in pod.volumes
	volume.image.pullPolicy == "Never"
	field := concat(".", [path, "image.pullPolicy"])
	msg := sprintf("%s is Never, so the image need not come from its registry: use IfNotPresent or Always", [field])
}

# METADATA
# title: Images that nobody vouches for
# description: Every image was verified, and an authority vouches for it. It needs to know what was verified, so a door that verifies no images cannot decide.
# custom:
#   severity: critical
#   remediation: Sign the image; a TrustPolicy names the authorities.
#   references:
#   - CIS 5.5.1
#   - NSA Building secure container images
deny_unverified_image contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, image in images
	not of_any(image, parameters.get("unverifiedRegistries", []))
	count(vouching(image)) == 0
	msg := sprintf("%s is %s, for which nobody vouches: sign it, or name its registry in unverifiedRegistries", [path, image.text])
}

# Who vouches for an image: for the very reference, or for its digest in the same
# repository.
vouching(image) := {authority |
	some evidence in input.images
	evidence_for(evidence, image)
	some authority in evidence.authorities
}

evidence_for(evidence, image) if {
	evidence.ref == image.text
	image.digest in {"", evidence.digest}
}

evidence_for(evidence, image) if {
	image.digest == evidence.digest
	[[_, name, _, _]] := regex.find_all_string_submatch_n(reference, evidence.ref, 1)
	full_name(name) == image.name
}

# METADATA
# title: Authorities of a registry
# description: Images of a registry in the parameter requiredAuthorities have the word of every authority that is named for it. It needs to know what was verified, so a door that verifies no images cannot decide.
# custom:
#   severity: critical
#   remediation: Have the image signed by the authorities.
#   references:
#   - CIS 5.5.1
deny_authority_missing contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, image in images
	some prefix, authorities in parameters.get("requiredAuthorities", {})
	of(image.name, prefix)
	some authority in authorities
	not authority in vouching(image)
	msg := sprintf("%s is %s, for which authority %s does not vouch: have it signed", [path, image.text, authority])
}
