# METADATA
# title: Network
# description: What is reachable from outside, in what way, and what a NetworkPolicy leaves open.
# related_resources:
# - ref: https://kubernetes.io/docs/concepts/services-networking/
package network

import data.lib.parameters

# METADATA
# title: List of objects
# description: The rules judge one object at a time, and would look past the items of a list.
# custom:
#   severity: high
#   remediation: Write the items as documents of their own.
deny_list contains {"field": "items", "msg": msg} if {
	input.object.kind in {"List", "EndpointSliceList", "EndpointsList", "GRPCRouteList", "GatewayList", "HTTPRouteList", "IngressList", "NetworkPolicyList", "ServiceList", "TLSRouteList"}
	input.object.items != null
	msg := sprintf("items of a %s are not judged: write them as documents of their own", [input.object.kind])
}

parameter_types := {
	"allowedDomains": "strings",
	"allowedWildcardHosts": "strings",
	"allowedIngressClasses": "strings",
	"allowedNodePortServices": "strings",
	"internalLoadBalancers": "texts",
	"allowedExternalIPs": "strings",
	"allowedExternalNames": "strings",
	"plainListeners": "strings",
	"defaultDenyNames": "strings",
}

# METADATA
# title: Wrong parameters
# description: A parameter of the wrong type would make rules look past what they are to find.
# custom:
#   severity: high
#   remediation: Correct the parameter; parameters.jsonschema of the pack says what it must be.
deny_wrong_parameters contains {"msg": msg} if {
	input.object.kind in {"GRPCRoute", "Gateway", "HTTPRoute", "Ingress", "NetworkPolicy", "Service", "TLSRoute"}
	some msg in parameters.problems(parameter_types)
}

# What has another shape than the API gives it, by its path.
malformed[path] := "a list" if {
	some field in {
		"egress", "externalIPs", "hostnames", "ingress", "listeners", "loadBalancerSourceRanges",
		"policyTypes", "rules", "tls",
	}
	value := input.object.spec[field]
	not type_name(value) in {"array", "null"}
	path := concat(".", ["spec", field])
}

malformed[path] := "an object" if {
	some field in {"egress", "ingress", "listeners", "rules", "tls"}
	some i, item in input.object.spec[field]
	path := sprintf("spec.%s[%v]", [field, i])
	not is_object(item)
}

malformed[path] := "a list" if {
	some field in {"egress", "ingress", "tls"}
	some i, item in input.object.spec[field]
	some inner in {"from", "hosts", "ports", "to"}
	value := item[inner]
	not type_name(value) in {"array", "null"}
	path := sprintf("spec.%s[%v].%s", [field, i, inner])
}

malformed[path] := "an object" if {
	path := "spec"
	value := input.object.spec
	not type_name(value) in {"object", "null"}
}

malformed[path] := "an object" if {
	path := "metadata.annotations"
	value := input.object.metadata.annotations
	not type_name(value) in {"object", "null"}
}

# METADATA
# title: Malformed object
# description: An object must have the shape that the API gives it, or the other rules could look past it.
# custom:
#   severity: high
#   remediation: Correct the field; `kubectl explain` shows its type.
deny_malformed contains {"field": field, "msg": msg} if {
	input.object.kind in {"GRPCRoute", "Gateway", "HTTPRoute", "Ingress", "NetworkPolicy", "Service", "TLSRoute"}
	in_known_group
	some field, want in malformed
	msg := sprintf("%s must be %s: correct it", [field, want])
}

in_known_group if input.object.apiVersion == "v1"

in_known_group if startswith(input.object.apiVersion, "networking.k8s.io/")

in_known_group if startswith(input.object.apiVersion, "gateway.networking.k8s.io/")
