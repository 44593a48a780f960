# METADATA
# title: Deletion safety
# description: What cannot be brought back is deleted on purpose only. A deletion is approved by a trailer of the commit or by an annotation that an earlier commit has put on the object.
# related_resources:
# - ref: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#reclaiming
package deletion_safety

import data.lib.commit
import data.lib.parameters

parameter_types := {
	"approvalTrailer": "text",
	"approvalAnnotation": "text",
	"protectionKey": "text",
	"protectedNamespaces": "strings",
}

# METADATA
# title: Wrong parameters
# description: A parameter of the wrong type would make rules look past what they are to find.
# custom:
#   severity: high
#   remediation: Correct the parameter; parameters.jsonschema of the pack says what it must be.
deny_wrong_parameters contains {"msg": msg} if {
	input.operation in {"DELETE", "UPDATE"}
	some msg in parameters.problems(parameter_types)
}

approval_trailer := parameters.get("approvalTrailer", "Gitgate-Approve-Deletion")

approval_annotation := parameters.get("approvalAnnotation", "gitgate.dev/allow-deletion")

protection_key := parameters.get("protectionKey", "gitgate.dev/protected")

# The object as findings name it: namespace/Kind.group/name.
object_id := concat("/", [part |
	some part in [namespace, kind_with_group, input.oldObject.metadata.name]
	is_string(part)
	part != ""
])

namespace := input.oldObject.metadata.namespace if has_namespace

namespace := "" if not has_namespace

has_namespace if is_string(input.oldObject.metadata.namespace)

kind_with_group := concat(".", array.concat([input.oldObject.kind], groups))

groups := [group |
	is_string(input.oldObject.apiVersion)
	[group, _] := split(input.oldObject.apiVersion, "/")
]

approved if [lower(approval_trailer), object_id] in commit.trailers

approved if input.oldObject.metadata.annotations[approval_annotation] == "true"

how := sprintf("if that is meant, sign a commit with the trailer \"%s: %s\", or annotate the object with %s=true first", [approval_trailer, object_id, approval_annotation])

# The name of what is deleted, when it is not approved and of one of these groups.
doomed(wanted) := name if {
	input.operation == "DELETE"
	some group in wanted
	in_group(group)
	not approved
	name := sprintf("%v %v", [input.oldObject.kind, input.oldObject.metadata.name])
}

in_group("") if groups == []

in_group(group) if groups == [group]

# METADATA
# title: Deletion of what is not known
# description: A deletion is judged by what is deleted.
# custom:
#   severity: high
#   remediation: Report it; a door always knows the old object.
deny_unknown_deletion contains {"msg": msg} if {
	input.operation == "DELETE"
	not known
	msg := "the object to be deleted is not known, or has no kind, apiVersion and name: it cannot be judged"
}

known if {
	is_string(input.oldObject.kind)
	is_string(input.oldObject.apiVersion)
	is_string(input.oldObject.metadata.name)
}

# METADATA
# title: Namespaces
# description: With a Namespace goes all that is in it.
# custom:
#   severity: critical
#   remediation: Delete what is in it first; then approve the deletion.
deny_namespace contains {"msg": msg} if {
	input.operation == "DELETE"
	input.oldObject.kind == "Namespace"
	name := doomed({""})
	msg := sprintf("%s would be deleted with all that is in it: %s", [name, how])
}

# METADATA
# title: CustomResourceDefinitions
# description: With a CustomResourceDefinition go all objects of its kind, in every namespace.
# custom:
#   severity: critical
#   remediation: Move the objects; then approve the deletion.
deny_custom_resource_definition contains {"msg": msg} if {
	input.operation == "DELETE"
	input.oldObject.kind == "CustomResourceDefinition"
	name := doomed({"apiextensions.k8s.io"})
	msg := sprintf("%s would be deleted with all objects of its kind: %s", [name, how])
}

# METADATA
# title: Volumes
# description: With a claim or a volume goes its data, as its reclaim policy says.
# custom:
#   severity: critical
#   remediation: Take a snapshot; then approve the deletion.
deny_volume contains {"msg": msg} if {
	input.operation == "DELETE"
	input.oldObject.kind in {"PersistentVolume", "PersistentVolumeClaim"}
	name := doomed({""})
	msg := sprintf("%s would be deleted, and its data with it: %s", [name, how])
}

# METADATA
# title: Snapshots and storage classes
# description: Snapshots are what is left when a volume is lost, and claims without their class stay pending.
# custom:
#   severity: high
#   remediation: Approve the deletion.
deny_storage contains {"msg": msg} if {
	input.operation == "DELETE"
	input.oldObject.kind in {"StorageClass", "VolumeSnapshot", "VolumeSnapshotClass", "VolumeSnapshotContent"}
	name := doomed({"snapshot.storage.k8s.io", "storage.k8s.io"})
	msg := sprintf("%s would be deleted: %s", [name, how])
}

# METADATA
# title: StatefulSets
# description: A StatefulSet is what holds its volumes together.
# custom:
#   severity: high
#   remediation: Scale it down; then approve the deletion.
deny_stateful_set contains {"msg": msg} if {
	input.operation == "DELETE"
	input.oldObject.kind == "StatefulSet"
	name := doomed({"apps"})
	msg := sprintf("%s would be deleted: %s", [name, how])
}

# METADATA
# title: Secrets
# description: A Secret that is deleted may be the only copy of a key.
# custom:
#   severity: medium
#   remediation: Make sure that there is another copy; then approve the deletion.
deny_secret contains {"msg": msg} if {
	input.operation == "DELETE"
	input.oldObject.kind == "Secret"
	name := doomed({""})
	msg := sprintf("%s would be deleted: %s", [name, how])
}

# METADATA
# title: Guards
# description: With a webhook, an admission policy or a trust goes what keeps the cluster as it is.
# custom:
#   severity: critical
#   remediation: Approve the deletion.
deny_guard contains {"msg": msg} if {
	input.operation == "DELETE"
	input.oldObject.kind in {
		"GitSync", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration", "PolicySet",
		"TrustPolicy", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration",
	}
	name := doomed({"admissionregistration.k8s.io", "gitgate.dev"})
	msg := sprintf("%s would be deleted, which guards the cluster: %s", [name, how])
}

# METADATA
# title: Network policies
# description: Without its NetworkPolicy a pod is open to all.
# custom:
#   severity: high
#   remediation: Replace it first; then approve the deletion.
#   references:
#   - NSA Network policies
deny_network_policy contains {"msg": msg} if {
	input.operation == "DELETE"
	input.oldObject.kind == "NetworkPolicy"
	name := doomed({"networking.k8s.io"})
	msg := sprintf("%s would be deleted, which opens what it closes: %s", [name, how])
}

# METADATA
# title: Quotas and budgets
# description: A quota, a limit range or a disruption budget protects the neighbours of its namespace.
# custom:
#   severity: medium
#   remediation: Approve the deletion.
deny_quota contains {"msg": msg} if {
	input.operation == "DELETE"
	input.oldObject.kind in {"LimitRange", "PodDisruptionBudget", "ResourceQuota"}
	name := doomed({"", "policy"})
	msg := sprintf("%s would be deleted: %s", [name, how])
}

# METADATA
# title: Namespaces of the system
# description: What is in a namespace of the system, as the parameter protectedNamespaces names them, runs the cluster.
# custom:
#   severity: high
#   remediation: Approve the deletion.
deny_in_system_namespace contains {"msg": msg} if {
	input.operation == "DELETE"
	input.oldObject.metadata.namespace in parameters.get("protectedNamespaces", ["kube-node-lease", "kube-public", "kube-system"])
	not approved
	msg := sprintf("%s is in a namespace of the system: %s", [object_id, how])
}

# Whether labels or annotations protect, by any value but false.
is_protection(marks) if {
	value := marks[protection_key]
	not value in {"", "false", null}
}

old_protected if {
	some field in {"annotations", "labels"}
	is_protection(input.oldObject.metadata[field])
}

new_protected if {
	some field in {"annotations", "labels"}
	is_protection(input.object.metadata[field])
}

# METADATA
# title: Protected objects
# description: What bears the label or annotation in the parameter protectionKey is not deleted.
# custom:
#   severity: high
#   remediation: Take the label off in a commit of its own, or approve the deletion.
deny_protected contains {"msg": msg} if {
	input.operation == "DELETE"
	old_protected
	not approved
	msg := sprintf("%s is protected by %s: %s", [object_id, protection_key, how])
}

# METADATA
# title: Protection taken off
# description: Taking the protection off is half of the deletion.
# custom:
#   severity: medium
#   remediation: Approve it.
deny_protection_removed contains {"field": "metadata.labels", "msg": msg} if {
	input.operation == "UPDATE"
	old_protected
	not new_protected
	not approved
	msg := sprintf("%s loses its protection %s: %s", [object_id, protection_key, how])
}

# METADATA
# title: Scaling to nothing
# description: No replicas is as gone as deleted.
# custom:
#   severity: high
#   remediation: Leave one, or approve it.
deny_scaled_to_zero contains {"field": "spec.replicas", "msg": msg} if {
	input.object.kind in {"Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"}
	input.operation == "UPDATE"
	input.object.spec.replicas == 0
	not was_zero
	not approved
	msg := sprintf("spec.replicas of %s becomes 0: %s", [object_id, how])
}

was_zero if input.oldObject.spec.replicas == 0

# METADATA
# title: Versions of custom resources
# description: Objects of a version that a CustomResourceDefinition serves no longer cannot be read by who uses it.
# custom:
#   severity: high
#   remediation: Keep the version, or approve it.
deny_version_removed contains {"field": "spec.versions", "msg": msg} if {
	input.object.kind == "CustomResourceDefinition"
	input.operation == "UPDATE"
	gone := served(input.oldObject) - served(input.object)
	gone != set()
	not approved
	msg := sprintf("%s would not be served any longer in version %s: %s", [object_id, concat(", ", gone), how])
}

served(definition) := {version.name |
	some version in definition.spec.versions
	version.served == true
}

# METADATA
# title: Claims deleted with their set
# description: A StatefulSet with this retention policy deletes the data of its pods.
# custom:
#   severity: high
#   remediation: Set persistentVolumeClaimRetentionPolicy to Retain.
deny_claims_not_retained contains {"field": field, "msg": msg} if {
	input.object.kind == "StatefulSet"
	startswith(input.object.apiVersion, "apps/")
	some when in {"whenDeleted", "whenScaled"}
	value := input.object.spec.persistentVolumeClaimRetentionPolicy[when]
	not value in {"Retain", "", null}
	field := sprintf("spec.persistentVolumeClaimRetentionPolicy.%s", [when])
	msg := sprintf("%s is %v, which deletes the data of the pods: set it to Retain", [field, value])
}

# METADATA
# title: Data deleted with its claim
# description: A volume whose reclaim policy is Delete is gone with its claim; for a StorageClass that is the default.
# custom:
#   severity: medium
#   remediation: Set the reclaim policy to Retain.
warn_volume_not_retained contains {"field": field, "msg": msg} if {
	input.object.kind == "PersistentVolume"
	input.object.apiVersion == "v1"
	not input.object.spec.persistentVolumeReclaimPolicy == "Retain"
	field := "spec.persistentVolumeReclaimPolicy"
	msg := sprintf("%s is not Retain, so data goes with its claim: set it to Retain", [field])
}

warn_volume_not_retained contains {"field": "reclaimPolicy", "msg": msg} if {
	input.object.kind == "StorageClass"
	startswith(input.object.apiVersion, "storage.k8s.io/")
	not input.object.reclaimPolicy == "Retain"
	msg := "reclaimPolicy is not Retain, so data goes with its claim: set it to Retain"
}
