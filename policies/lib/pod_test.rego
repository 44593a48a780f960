package lib.pod_test

import data.lib.pod

spec := {"containers": [{"name": "web"}]}

template := {"metadata": {"annotations": {"a": "b"}}, "spec": spec}

kinds := [
	["v1", "PodTemplate", {"template": template}, "template."],
	["v1", "ReplicationController", {"spec": {"template": template}}, "spec.template."],
	["apps/v1", "Deployment", {"spec": {"template": template}}, "spec.template."],
	["apps/v1", "ReplicaSet", {"spec": {"template": template}}, "spec.template."],
	["apps/v1", "StatefulSet", {"spec": {"template": template}}, "spec.template."],
	["apps/v1", "DaemonSet", {"spec": {"template": template}}, "spec.template."],
	["batch/v1", "Job", {"spec": {"template": template}}, "spec.template."],
	["batch/v1", "CronJob", {"spec": {"jobTemplate": {"spec": {"template": template}}}}, "spec.jobTemplate.spec.template."],
	["v1", "Pod", template, ""],
]

test_every_kind_with_a_pod if {
	every kind in kinds {
		thing := object.union({"apiVersion": kind[0], "kind": kind[1]}, kind[2])
		pod.prefix == kind[3] with input.object as thing
		pod.spec == spec with input.object as thing
		pod.annotations == {"a": "b"} with input.object as thing
		pod.containers == {concat("", [kind[3], "spec.containers[0]"]): {"name": "web"}} with input.object as thing
		pod.malformed == {} with input.object as thing
	}
}

test_other_kinds_have_none if {
	every id in [["v1", "ConfigMap"], ["example.com/v1", "Deployment"], ["example.com/v1", "Job"], ["example.com/v1", "Pod"]] {
		thing := {"apiVersion": id[0], "kind": id[1], "spec": {"template": template}}
		not pod.prefix with input.object as thing
		pod.containers == {} with input.object as thing
		pod.malformed == {} with input.object as thing
	}
}

test_malformed_is_found if {
	cases := [
		[null, "spec"],
		[[], "spec"],
		[{"containers": {}}, "spec.containers"],
		[{"initContainers": "a"}, "spec.initContainers"],
		[{"ephemeralContainers": 1}, "spec.ephemeralContainers"],
		[{"volumes": {"a": {}}}, "spec.volumes"],
		[{"volumes": ["a"]}, "spec.volumes[0]"],
		[{"containers": ["a"]}, "spec.containers[0]"],
		[{"securityContext": []}, "spec.securityContext"],
		[{"containers": [{"securityContext": "a"}]}, "spec.containers[0].securityContext"],
		[{"containers": [{"securityContext": {"capabilities": []}}]}, "spec.containers[0].securityContext.capabilities"],
		[{"containers": [{"securityContext": {"capabilities": {"add": "ALL"}}}]}, "spec.containers[0].securityContext.capabilities.add"],
		[{"containers": [{"ports": {}}]}, "spec.containers[0].ports"],
		[{"securityContext": {"sysctls": {}}}, "spec.securityContext.sysctls"],
		[{"securityContext": {"seLinuxOptions": "a"}}, "spec.securityContext.seLinuxOptions"],
		[{"securityContext": {"sysctls": ["a"]}}, "spec.securityContext.sysctls[0]"],
		[{"tolerations": {}}, "spec.tolerations"],
		[{"tolerations": [1]}, "spec.tolerations[0]"],
		[{"affinity": []}, "spec.affinity"],
		[{"volumes": [{"name": "a", "hostPath": "/"}]}, "spec.volumes[0].hostPath"],
		[{"volumes": [{"name": "a", "projected": {"sources": {}}}]}, "spec.volumes[0].projected.sources"],
		[{"containers": [{"env": {"A": "b"}}]}, "spec.containers[0].env"],
		[{"containers": [{"command": "sh"}]}, "spec.containers[0].command"],
		[{"containers": [{"ports": [80]}]}, "spec.containers[0].ports[0]"],
		[{"containers": [{"livenessProbe": [{"httpGet": {"host": "a"}}]}]}, "spec.containers[0].livenessProbe"],
		[{"containers": [{"livenessProbe": {"httpGet": []}}]}, "spec.containers[0].livenessProbe.httpGet"],
		[{"containers": [{"resources": {"limits": "1Gi"}}]}, "spec.containers[0].resources.limits"],
		[{"containers": [{"lifecycle": {"preStop": "a"}}]}, "spec.containers[0].lifecycle.preStop"],
		[{"containers": [{"lifecycle": {"preStop": {"httpGet": "a"}}}]}, "spec.containers[0].lifecycle.preStop.httpGet"],
	]
	every case in cases {
		found := pod.malformed with input.object as {"apiVersion": "v1", "kind": "Pod", "spec": case[0]}
		found[case[1]]
	}
}

test_missing_spec_is_malformed if {
	object.keys(pod.malformed) == {"spec.template.spec"} with input.object as {"apiVersion": "apps/v1", "kind": "Deployment"}
}

test_malformed_annotations if {
	thing := {"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": "a"}, "spec": {}}
	pod.malformed["metadata.annotations"] with input.object as thing
}

test_null_is_absent if {
	thing := {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": null, "securityContext": null, "volumes": null}}
	pod.malformed == {} with input.object as thing
}

test_images if {
	found := pod.images with input.object as {"apiVersion": "v1", "kind": "Pod", "spec": {
		"containers": [{"image": "a"}, {"name": "b"}, {"image": null}],
		"initContainers": [{"image": 1}],
		"ephemeralContainers": [{"image": "c"}],
		"volumes": [{"image": {"reference": "d"}}, {"image": {}}, {"image": null}, {"emptyDir": {}}],
	}}
	found == {
		"spec.containers[0].image": "a",
		"spec.containers[1].image": null,
		"spec.containers[2].image": null,
		"spec.initContainers[0].image": 1,
		"spec.ephemeralContainers[0].image": "c",
		"spec.volumes[0].image.reference": "d",
		"spec.volumes[1].image.reference": null,
	}
}
