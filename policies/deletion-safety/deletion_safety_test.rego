package deletion_safety_test

thing(version, kind) := {"apiVersion": version, "kind": kind, "metadata": {"name": "a", "namespace": "b"}}

findings(document) := {[name, place(result)] |
	some name, results in data.deletion_safety with input as document
	regex.match(`^(deny|warn)_`, name)
	some result in results
}

place(result) := result.field

place(result) := "" if not result.field

deletions := [
	["v1", "Namespace", "deny_namespace", "b/Namespace/a"],
	["apiextensions.k8s.io/v1", "CustomResourceDefinition", "deny_custom_resource_definition", "b/CustomResourceDefinition.apiextensions.k8s.io/a"],
	["v1", "PersistentVolume", "deny_volume", "b/PersistentVolume/a"],
	["v1", "PersistentVolumeClaim", "deny_volume", "b/PersistentVolumeClaim/a"],
	["storage.k8s.io/v1", "StorageClass", "deny_storage", "b/StorageClass.storage.k8s.io/a"],
	["snapshot.storage.k8s.io/v1", "VolumeSnapshot", "deny_storage", "b/VolumeSnapshot.snapshot.storage.k8s.io/a"],
	["apps/v1", "StatefulSet", "deny_stateful_set", "b/StatefulSet.apps/a"],
	["v1", "Secret", "deny_secret", "b/Secret/a"],
	["gitgate.dev/v1alpha1", "TrustPolicy", "deny_guard", "b/TrustPolicy.gitgate.dev/a"],
	["admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "deny_guard", "b/ValidatingWebhookConfiguration.admissionregistration.k8s.io/a"],
	["networking.k8s.io/v1", "NetworkPolicy", "deny_network_policy", "b/NetworkPolicy.networking.k8s.io/a"],
	["v1", "ResourceQuota", "deny_quota", "b/ResourceQuota/a"],
	["policy/v1", "PodDisruptionBudget", "deny_quota", "b/PodDisruptionBudget.policy/a"],
]

test_deletions if {
	every case in deletions {
		old := thing(case[0], case[1])
		got := findings({"operation": "DELETE", "oldObject": old})
		print(case, " found ", got)
		got == {[case[2], ""]}
		findings({"operation": "UPDATE", "oldObject": old, "object": old}) - {["warn_volume_not_retained", "spec.persistentVolumeReclaimPolicy"], ["warn_volume_not_retained", "reclaimPolicy"]} == set()
		findings({"operation": "DELETE", "oldObject": object.union(old, {"apiVersion": "example.com/v1"})}) == set()
	}
}

test_approved_by_trailer if {
	every case in deletions {
		message := sprintf("Remove it\n\nGitgate-Approve-Deletion: %s", [case[3]])
		findings({"operation": "DELETE", "oldObject": thing(case[0], case[1]), "commit": {"message": message}}) == set()
	}
}

test_approval_names_the_object if {
	every message in [
		"Gitgate-Approve-Deletion: b/Namespace/a",
		"Remove it\n\nGitgate-Approve-Deletion: b/Namespace/aa",
		"Remove it\n\nGitgate-Approve-Deletion: Namespace/a",
		"Remove it\n\nGitgate-Approve-Deletion: b/namespace/a",
		"Remove it\n\nGitgate-Approve-Deletion: b/Namespace/a\n\nor not",
		"Remove it\n\nApprove-Deletion: b/Namespace/a",
		"",
	] {
		findings({"operation": "DELETE", "oldObject": thing("v1", "Namespace"), "commit": {"message": message}}) == {["deny_namespace", ""]}
	}
}

test_without_namespace if {
	old := {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
	findings({"operation": "DELETE", "oldObject": old, "commit": {"message": "Remove it\n\ngitgate-approve-deletion: Namespace/a"}}) == set()
}

annotated(value) := object.union(thing("v1", "Namespace"), {"metadata": {"annotations": {"gitgate.dev/allow-deletion": value}}})

test_approved_by_annotation if {
	findings({"operation": "DELETE", "oldObject": annotated("true")}) == set()
	findings({"operation": "DELETE", "oldObject": annotated("false")}) == {["deny_namespace", ""]}
	findings({"operation": "DELETE", "oldObject": annotated(true)}) == {["deny_namespace", ""]}

	# the annotation of the new object says nothing of the old one
	findings({"operation": "DELETE", "oldObject": thing("v1", "Namespace"), "object": annotated("true")}) == {["deny_namespace", ""]}
}

test_other_kinds_of_the_groups if {
	every id in [
		["v1", "ConfigMap"], ["apps/v1", "Deployment"], ["networking.k8s.io/v1", "Ingress"], ["storage.k8s.io/v1", "VolumeAttachment"],
		["apiextensions.k8s.io/v1", "Other"], ["policy/v1", "Other"], ["gitgate.dev/v1alpha1", "BreakGlass"],
	] {
		findings({"operation": "DELETE", "oldObject": thing(id[0], id[1])}) == set()
	}
}

approve(id) := {"message": sprintf("Change it\n\nGitgate-Approve-Deletion: %s", [id])}

# One trailer approves of whatever the rules find of the object.
test_everything_is_approved if {
	every case in [
		[{"operation": "DELETE", "oldObject": guarded("labels", "true")}, "b/ConfigMap/a"],
		[{"operation": "DELETE", "oldObject": object.union(config, {"metadata": {"namespace": "kube-system"}})}, "kube-system/ConfigMap/a"],
		[{"operation": "UPDATE", "oldObject": guarded("labels", "true"), "object": config}, "b/ConfigMap/a"],
		[{"operation": "UPDATE", "oldObject": scaled(3), "object": scaled(0)}, "b/StatefulSet.apps/a"],
		[{"operation": "UPDATE", "oldObject": definition({"v1": true}), "object": definition({"v2": true})}, "b/CustomResourceDefinition.apiextensions.k8s.io/a"],
	] {
		findings(case[0]) != set()
		findings(object.union(case[0], {"commit": approve(case[1])})) == set()
	}
}

test_created_without_replicas if findings({"operation": "CREATE", "object": scaled(0)}) == set()

test_other_groups if {
	every case in [claims("Delete"), thing("v1", "PersistentVolume"), thing("storage.k8s.io/v1", "StorageClass")] {
		findings({"operation": "CREATE", "object": object.union(case, {"apiVersion": "example.com/v1"})}) == set()
	}
}

config := thing("v1", "ConfigMap")

guarded(field, value) := object.union(config, {"metadata": {field: {"gitgate.dev/protected": value}}})

test_protection if {
	every case in [
		[config, set()],
		[guarded("labels", "true"), {["deny_protected", ""]}],
		[guarded("labels", "database"), {["deny_protected", ""]}],
		[guarded("annotations", "true"), {["deny_protected", ""]}],
		[guarded("annotations", "false"), set()],
		[guarded("labels", null), set()],
		[object.union(config, {"metadata": {"namespace": "kube-system"}}), {["deny_in_system_namespace", ""]}],
	] {
		got := findings({"operation": "DELETE", "oldObject": case[0]})
		print(case, " found ", got)
		got == case[1]
	}
}

test_protection_removed if {
	old := guarded("labels", "true")
	findings({"operation": "UPDATE", "oldObject": old, "object": config}) == {["deny_protection_removed", "metadata.labels"]}
	findings({"operation": "UPDATE", "oldObject": old, "object": guarded("labels", "false")}) == {["deny_protection_removed", "metadata.labels"]}
	findings({"operation": "UPDATE", "oldObject": old, "object": guarded("annotations", "true")}) == set()
	findings({"operation": "UPDATE", "oldObject": config, "object": config}) == set()
	findings({"operation": "UPDATE", "oldObject": old, "object": config, "commit": {"message": "a\n\nGitgate-Approve-Deletion: b/ConfigMap/a"}}) == set()
}

scaled(n) := object.union(thing("apps/v1", "StatefulSet"), {"spec": {"replicas": n}})

definition(versions) := object.union(thing("apiextensions.k8s.io/v1", "CustomResourceDefinition"), {"spec": {"versions": [{"name": v, "served": s} | some v, s in versions]}})

claims(value) := object.union(scaled(1), {"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": value}}})

test_updates if {
	every case in [
		[scaled(3), scaled(0), {["deny_scaled_to_zero", "spec.replicas"]}],
		[scaled(null), scaled(0), {["deny_scaled_to_zero", "spec.replicas"]}],
		[scaled(0), scaled(0), set()],
		[scaled(3), scaled(1), set()],
		[definition({"v1": true, "v2": true}), definition({"v2": true}), {["deny_version_removed", "spec.versions"]}],
		[definition({"v1": true, "v2": true}), definition({"v1": false, "v2": true}), {["deny_version_removed", "spec.versions"]}],
		[definition({"v1": false, "v2": true}), definition({"v2": true}), set()],
		[claims("Retain"), claims("Delete"), {["deny_claims_not_retained", "spec.persistentVolumeClaimRetentionPolicy.whenDeleted"]}],
		[claims("Retain"), claims("Retain"), set()],
		[claims(null), claims(null), set()],
	] {
		got := findings({"operation": "UPDATE", "oldObject": case[0], "object": case[1]})
		print(case, " found ", got)
		got == case[2]
	}
}

test_reclaim_policies if {
	every case in [
		[thing("storage.k8s.io/v1", "StorageClass"), {["warn_volume_not_retained", "reclaimPolicy"]}],
		[object.union(thing("storage.k8s.io/v1", "StorageClass"), {"reclaimPolicy": "Retain"}), set()],
		[object.union(thing("v1", "PersistentVolume"), {"spec": {"persistentVolumeReclaimPolicy": "Delete"}}), {["warn_volume_not_retained", "spec.persistentVolumeReclaimPolicy"]}],
		[object.union(thing("v1", "PersistentVolume"), {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}), set()],
	] {
		findings({"operation": "CREATE", "object": case[0]}) == case[1]
	}
}

test_unknown if {
	every document in [
		{"operation": "DELETE"},
		{"operation": "DELETE", "oldObject": null},
		{"operation": "DELETE", "oldObject": {"apiVersion": "v1", "kind": "Secret"}},
		{"operation": "DELETE", "oldObject": {"apiVersion": 1, "kind": "Secret", "metadata": {"name": "a"}}},
	] {
		["deny_unknown_deletion", ""] in findings(document)
	}
	findings({"object": config}) == set()
}

test_parameters if {
	message := "Remove it\n\nApproved: b/Namespace/a"
	old := thing("v1", "Namespace")
	findings({"operation": "DELETE", "oldObject": old, "commit": {"message": message}, "parameters": {"approvalTrailer": "Approved"}}) == set()
	findings({"operation": "DELETE", "oldObject": annotated("true"), "parameters": {"approvalAnnotation": "a"}}) == {["deny_namespace", ""]}
	findings({"operation": "DELETE", "oldObject": guarded("labels", "true"), "parameters": {"protectionKey": "a"}}) == set()
	findings({"operation": "DELETE", "oldObject": config, "parameters": {"protectedNamespaces": ["b"]}}) == {["deny_in_system_namespace", ""]}
	findings({"operation": "DELETE", "oldObject": config, "parameters": {"protectedNamespaces": "b"}}) == {["deny_wrong_parameters", ""]}
	findings({"operation": "CREATE", "object": config, "parameters": {"protectedNamespaces": "b"}}) == set()
}
