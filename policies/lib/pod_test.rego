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
		["malformed", null, "spec"],
		["malformed", [], "spec"],
		["malformed", {"containers": {}}, "spec.containers"],
		["malformed", {"initContainers": "a"}, "spec.initContainers"],
		["malformed", {"ephemeralContainers": 1}, "spec.ephemeralContainers"],
		["malformed", {"volumes": {"a": {}}}, "spec.volumes"],
		["malformed", {"volumes": ["a"]}, "spec.volumes[0]"],
		["malformed", {"containers": ["a"]}, "spec.containers[0]"],
		["malformed_security", {"securityContext": []}, "spec.securityContext"],
		["malformed_security", {"containers": [{"securityContext": "a"}]}, "spec.containers[0].securityContext"],
		["malformed_security", {"containers": [{"securityContext": {"capabilities": []}}]}, "spec.containers[0].securityContext.capabilities"],
		["malformed_security", {"containers": [{"securityContext": {"capabilities": {"add": "ALL"}}}]}, "spec.containers[0].securityContext.capabilities.add"],
		["malformed_security", {"securityContext": {"seLinuxOptions": "a"}}, "spec.securityContext.seLinuxOptions"],
		["malformed_handlers", {"containers": [{"livenessProbe": [{"httpGet": {"host": "a"}}]}]}, "spec.containers[0].livenessProbe"],
		["malformed_handlers", {"containers": [{"livenessProbe": {"httpGet": []}}]}, "spec.containers[0].livenessProbe.httpGet"],
		["malformed_handlers", {"containers": [{"lifecycle": {"preStop": "a"}}]}, "spec.containers[0].lifecycle.preStop"],
		["malformed_handlers", {"containers": [{"lifecycle": {"preStop": {"httpGet": "a"}}}]}, "spec.containers[0].lifecycle.preStop.httpGet"],
	]
	every case in cases {
		found := data.lib.pod[case[0]][case[2]] with input.object as {"apiVersion": "v1", "kind": "Pod", "spec": case[1]}
		print(case, " found ", found)
		startswith(found, case[2])
	}
}

test_wrong_list if {
	pod.wrong_list("a", "b") == {"a": "a is a string and must be a list: correct it"}
	pod.wrong_list("a", {}) == {"a": "a is a object and must be a list: correct it"}
	pod.wrong_list("a", [{}, 7]) == {"a[1]": "a[1] is a number and must be an object: correct it"}
	every list in [null, [], [{}]] {
		not pod.wrong_list("a", list)
	}
}

test_missing_spec_is_malformed if {
	object.keys(pod.malformed) == {"spec.template.spec"} with input.object as {"apiVersion": "apps/v1", "kind": "Deployment"}
}

test_malformed_annotations if {
	thing := {"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": "a"}, "spec": {}}
	pod.malformed_annotations["metadata.annotations"] with input.object as thing
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
