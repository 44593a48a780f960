package main_test

import data.main

privileged := {
	"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
	"spec": {"containers": [{"image": "ghcr.io/acme/web:1", "securityContext": {"privileged": true}}]},
}

node_port := {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "b"}, "spec": {"type": "NodePort"}}

fields(results) := {result.field | some result in results}

test_deny if {
	"spec.containers[0].securityContext.privileged" in fields(main.deny) with input as privileged
	fields(main.deny) == {"spec.type"} with input as node_port
	main.deny == set() with input as {"apiVersion": "v1", "kind": "Service", "spec": {}}
}

test_warn if {
	"metadata.ownerReferences" in fields(main.warn) with input as privileged
}

test_parameters if {
	main.deny == set() with input as node_port with data.parameters as {"allowedNodePortServices": ["b/a"]}
}
