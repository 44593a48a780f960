package supply_chain_test

digest := "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

other := "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

web := concat("@", ["ghcr.io/acme/web:1.2", digest])

evidence := [{"ref": "ghcr.io/acme/web:1.2", "digest": digest, "authorities": ["build"]}]

pod(image) := {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "web", "image": image}]}}

findings(document) := {[name, place(result)] |
	some name, results in data.supply_chain with input as document
	startswith(name, "deny_")
	some result in results
}

place(result) := result.field

place(result) := "" if not result.field

at := "spec.containers[0].image"

unsigned := ["deny_unverified_image", at]

undigested := ["deny_no_digest", at]

short := ["deny_short_name", at]

references := [
	[web, evidence, {}, set()],
	[concat("@", ["ghcr.io/acme/web", digest]), evidence, {}, set()],
	[concat("@", ["ghcr.io/acme/web:2", digest]), evidence, {}, set()],
	["ghcr.io/acme/web:1.2", evidence, {}, {undigested}],
	[web, [], {}, {unsigned}],
	[web, null, {}, {unsigned}],
	[web, [{"ref": web, "digest": digest, "authorities": []}], {}, {unsigned}],
	[web, [{"ref": web, "digest": digest}], {}, {unsigned}],
	[web, [{"ref": "ghcr.io/acme/web:1.2", "digest": other, "authorities": ["build"]}], {}, {unsigned}],
	[web, [{"ref": web, "digest": other, "authorities": ["build"]}], {}, {unsigned}],
	[web, [{"ref": "ghcr.io/acme/api:1.2", "digest": digest, "authorities": ["build"]}], {}, {unsigned}],
	[concat("@", ["nginx", digest]), [{"ref": "docker.io/library/nginx:1", "digest": digest, "authorities": ["a"]}], {}, {short}],
	[concat("@", ["acme/web", digest]), [{"ref": "docker.io/acme/web:1", "digest": digest, "authorities": ["a"]}], {}, {short}],
	[concat("@", ["127.0.0.1:5000/web", digest]), [], {"unverifiedRegistries": ["127.0.0.1:5000"]}, {["deny_registry_address", at]}],
	[concat("@", ["localhost/web", digest]), [], {"unverifiedRegistries": ["localhost"]}, {["deny_registry_address", at]}],
	[web, [], {"unverifiedRegistries": ["ghcr.io/acme"]}, set()],
	[web, [], {"unverifiedRegistries": ["ghcr.io/ac"]}, {unsigned}],
	[web, evidence, {"allowedRegistries": ["ghcr.io/acme/"]}, set()],
	[web, evidence, {"allowedRegistries": ["ghcr.io/acme/web"]}, set()],
	[web, evidence, {"allowedRegistries": ["ghcr.io/ac", "quay.io"]}, {["deny_foreign_registry", at]}],
	[web, evidence, {"requiredAuthorities": {"ghcr.io": ["build"], "quay.io": ["scan"]}}, set()],
	[web, evidence, {"requiredAuthorities": {"ghcr.io/acme": ["build", "scan"]}}, {["deny_authority_missing", at]}],
	[web, null, {"requiredAuthorities": {"ghcr.io/acme": ["build"]}, "unverifiedRegistries": ["ghcr.io"]}, {["deny_authority_missing", at]}],
	[web, evidence, {"unverifiedRegistries": "ghcr.io"}, {["deny_wrong_parameters", ""]}],
	["", evidence, {}, {["deny_unreadable_image", at]}],
	[null, evidence, {}, {["deny_unreadable_image", at]}],
	[7, evidence, {}, {["deny_unreadable_image", at]}],
	["ghcr.io/acme/web @sha256:ab", evidence, {}, {["deny_unreadable_image", at]}],
	["ghcr.io/acme/web@sha256:ab", evidence, {}, {["deny_unreadable_image", at]}],
	["-rf", evidence, {}, {["deny_unreadable_image", at]}],
]

test_references if {
	every case in references {
		got := findings({"object": pod(case[0]), "images": case[1], "parameters": case[2]})
		print(case, "found", got)
		got == case[3]
	}
}


test_images_everywhere if {
	spec := {
		"initContainers": [{"image": "nginx"}],
		"ephemeralContainers": [{"image": "nginx"}],
		"volumes": [{"name": "a", "image": {"reference": "nginx", "pullPolicy": "Never"}}],
		"containers": [{"image": web, "imagePullPolicy": "Never"}],
	}
	every object in [
		["spec.", {"apiVersion": "v1", "kind": "Pod", "spec": spec}],
		["spec.template.spec.", {"apiVersion": "apps/v1", "kind": "DaemonSet", "spec": {"template": {"spec": spec}}}],
		["spec.jobTemplate.spec.template.spec.", {"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}}],
	] {
		got := findings({"object": object[1], "images": evidence})
		print(got)
		got == {[rule, concat("", [object[0], path])] |
			some rule, paths in {
				"deny_no_digest": ["initContainers[0].image", "ephemeralContainers[0].image", "volumes[0].image.reference"],
				"deny_short_name": ["initContainers[0].image", "ephemeralContainers[0].image", "volumes[0].image.reference"],
				"deny_unverified_image": ["initContainers[0].image", "ephemeralContainers[0].image", "volumes[0].image.reference"],
				"deny_never_pulled": ["containers[0].imagePullPolicy", "volumes[0].image.pullPolicy"],
			}
			some path in paths
		}
	}
}

test_pulled if {
	object := {"apiVersion": "v1", "kind": "Pod", "spec": {
		"containers": [{"image": web, "imagePullPolicy": "IfNotPresent"}],
		"volumes": [{"name": "a", "image": {"reference": web, "pullPolicy": "Always"}}],
	}}
	findings({"object": object, "images": evidence}) == set()
}

test_shapes if {
	findings({"object": {"apiVersion": "v1", "kind": "PodList", "items": []}}) == {["deny_list", "items"]}
	findings({"object": {"apiVersion": "v1", "kind": "Pod"}}) == {["deny_malformed_pod", "spec"]}
	findings({"object": {"apiVersion": "example.com/v1", "kind": "Job", "spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}}}) == set()
	findings({"operation": "DELETE", "oldObject": pod("nginx")}) == set()
}
