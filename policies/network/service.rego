package network

import data.lib.net as hosts
import data.lib.parameters

is_service if {
	input.object.kind == "Service"
	input.object.apiVersion == "v1"
}

# The Service as namespace/name, as parameters name it.
service_name := sprintf("%s/%s", [input.object.metadata.namespace, input.object.metadata.name])

# METADATA
# title: Node ports
# description: A node port is open on every node, beside every Ingress and load balancer.
# custom:
#   severity: medium
#   remediation: Use an Ingress, a Gateway, or type ClusterIP.
deny_node_port contains {"field": "spec.type", "msg": msg} if {
	input.object.kind == "Service"
	is_service
	input.object.spec.type == "NodePort"
	not may_have_node_port
	msg := "spec.type is NodePort, which opens a port on every node: use ClusterIP behind an Ingress or a Gateway"
}

may_have_node_port if service_name in parameters.get("allowedNodePortServices", [])

# METADATA
# title: Load balancers open to the world
# description: A load balancer that names no source ranges lets the whole world in. One that an annotation in the parameter internalLoadBalancers makes internal does not.
# custom:
#   severity: high
#   remediation: Set loadBalancerSourceRanges, or make it internal.
#   references:
#   - NSA Network separation and hardening
deny_load_balancer_open contains {"field": "spec.loadBalancerSourceRanges", "msg": msg} if {
	input.object.kind == "Service"
	is_service
	input.object.spec.type == "LoadBalancer"
	not is_internal
	not has_ranges
	msg := "spec.loadBalancerSourceRanges is missing: name who may come in, or make the load balancer internal"
}

deny_load_balancer_open contains {"field": field, "msg": msg} if {
	input.object.kind == "Service"
	is_service
	input.object.spec.type == "LoadBalancer"
	not is_internal
	some i, range in input.object.spec.loadBalancerSourceRanges
	hosts.open_range(range)
	field := sprintf("spec.loadBalancerSourceRanges[%d]", [i])
	msg := sprintf("%s is %v, which lets nearly everybody in or is no range: name a smaller one", [field, range])
}

has_ranges if some _ in input.object.spec.loadBalancerSourceRanges

is_internal if {
	some key, value in parameters.get("internalLoadBalancers", {
		"service.beta.kubernetes.io/aws-load-balancer-internal": "true",
		"service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
		"service.beta.kubernetes.io/azure-load-balancer-internal": "true",
		"networking.gke.io/load-balancer-type": "Internal",
	})
	input.object.metadata.annotations[key] == value
}

# METADATA
# title: External IPs
# description: Whoever may set externalIPs takes the traffic that pods send to these addresses.
# custom:
#   severity: high
#   remediation: Remove externalIPs.
#   references:
#   - CVE-2020-8554
deny_external_ip contains {"field": field, "msg": msg} if {
	input.object.kind == "Service"
	is_service
	some i, address in input.object.spec.externalIPs
	not address in parameters.get("allowedExternalIPs", [])
	field := sprintf("spec.externalIPs[%d]", [i])
	msg := sprintf("%s is %v, which takes the traffic to that address: remove it", [field, address])
}

# METADATA
# title: External names
# description: A Service of type ExternalName gives a name in the cluster to any host, as that of the metadata server.
# custom:
#   severity: medium
#   remediation: Use the name itself, or ask for it in allowedExternalNames.
deny_external_name contains {"field": "spec.externalName", "msg": msg} if {
	input.object.kind == "Service"
	is_service
	input.object.spec.type == "ExternalName"
	not external_name_allowed
	msg := "spec.externalName is not allowed: use the host itself, or ask for it in allowedExternalNames"
}

external_name_allowed if input.object.spec.externalName in parameters.get("allowedExternalNames", [])

# Every address of Endpoints or an EndpointSlice, by path.
endpoint_addresses[path] := address if {
	input.object.kind == "EndpointSlice"
	startswith(input.object.apiVersion, "discovery.k8s.io/")
	some i, endpoint in input.object.endpoints
	some j, address in endpoint.addresses
	path := sprintf("endpoints[%d].addresses[%d]", [i, j])
}

endpoint_addresses[path] := address if {
	input.object.kind == "Endpoints"
	input.object.apiVersion == "v1"
	some i, subset in input.object.subsets
	some field in {"addresses", "notReadyAddresses"}
	some j, entry in subset[field]
	address := entry.ip
	path := sprintf("subsets[%d].%s[%d].ip", [i, field, j])
}

# METADATA
# title: Endpoints on the node
# description: Endpoints on loopback or link-local addresses lead to services of the node and of the cloud that are not for pods.
# custom:
#   severity: high
#   remediation: Use the addresses of pods.
#   references:
#   - CVE-2021-25737
deny_endpoint_on_node contains {"field": path, "msg": msg} if {
	input.object.kind in {"EndpointSlice", "Endpoints"}
	some path, address in endpoint_addresses
	not ordinary(address)
	msg := sprintf("%s is %v, which is an address of the node or none: use the address of a pod", [path, address])
}

node_ranges := ["127.0.0.0/8", "169.254.0.0/16", "0.0.0.0/8", "::1/128", "::/128", "fe80::/10"]

# FQDN slices hold names, which are none of our business.
ordinary(_) if input.object.addressType == "FQDN"

ordinary(address) if {
	is_string(address)
	net.cidr_is_valid(concat("", [address, suffix(address)]))
	every range in node_ranges {
		not net.cidr_contains(range, address)
	}
}

suffix(address) := "/128" if contains(address, ":")

suffix(address) := "/32" if not contains(address, ":")
