package network_test

import data.network

# The reference is written so that OPA 1.21, which conftest 0.71 has, can tell its
# type.
findings(object, parameters) := {[name, place(result)] |
	data.network[name][result] with input as {"object": object, "parameters": parameters}
	startswith(name, "deny_")
}

place(result) := result.field

place(result) := "" if not result.field

add(path, value) := {"op": "add", "path": path, "value": value}

without(path) := {"op": "remove", "path": path}

ingress := {
	"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "a", "annotations": {}},
	"spec": {"ingressClassName": "nginx", "tls": [{"hosts": ["a.example.com"]}], "rules": [{"host": "a.example.com"}]},
}

service := {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "b"}, "spec": {"ports": [{"port": 80}]}}

balancer := json.patch(service, [add("/spec/type", "LoadBalancer"), add("/spec/loadBalancerSourceRanges", ["192.0.2.0/24"])])

gateway := {
	"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "a"},
	"spec": {"listeners": [{"name": "web", "protocol": "HTTPS", "allowedRoutes": {"namespaces": {"from": "Same"}}}]},
}

route := {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "a"}, "spec": {"hostnames": ["a.example.com"]}}

default_deny := {
	"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "default-deny"},
	"spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}

rules := {
	"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "web"},
	"spec": {
		"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress", "Egress"],
		"ingress": [{"from": [{"podSelector": {}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}, {"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}]}],
		"egress": [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": "dns", "endPort": 53}]}, {"to": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]}],
	},
}

slice := {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]}

endpoints := {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "a"}, "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "notReadyAddresses": [{"ip": "2001:db8::1"}]}]}

test_good_ones_pass if {
	every object in [ingress, service, balancer, gateway, route, default_deny, rules, slice, endpoints] {
		print(object, findings(object, {}))
		findings(object, {}) == set()
	}
}

cases := [
	# Ingress
	[ingress, [without("/spec/tls")], {}, {["deny_ingress_without_tls", "spec.rules[0].host"]}],
	[ingress, [add("/spec/tls", [])], {}, {["deny_ingress_without_tls", "spec.rules[0].host"]}],
	[ingress, [add("/spec/tls", [{"hosts": ["b.example.com"]}])], {}, {["deny_ingress_without_tls", "spec.rules[0].host"]}],
	[ingress, [add("/spec/tls", [{"hosts": ["*.example.com"]}])], {}, set()],
	[ingress, [add("/spec/tls", [{"secretName": "a"}])], {}, set()],
	[ingress, [add("/spec/rules/-", {"host": "b.example.com"})], {}, {["deny_ingress_without_tls", "spec.rules[1].host"]}],
	[ingress, [add("/spec/rules", null)], {}, {["deny_ingress_without_tls", "spec.rules[0].host"], ["deny_wildcard_host", "spec.rules[0].host"]}],
	[ingress, [add("/spec/rules", [{"host": "*.example.com"}]), add("/spec/tls/0/hosts", ["*.example.com"])], {}, {["deny_wildcard_host", "spec.rules[0].host"]}],
	[ingress, [add("/spec/rules", [{"host": "*.example.com"}]), add("/spec/tls/0/hosts", ["*.example.com"])], {"allowedWildcardHosts": ["*.example.com"]}, set()],
	[ingress, [add("/spec/rules/0/host", 1)], {}, {["deny_ingress_without_tls", "spec.rules[0].host"], ["deny_wildcard_host", "spec.rules[0].host"]}],
	[ingress, [], {"allowedDomains": ["example.com"]}, set()],
	[ingress, [], {"allowedDomains": ["ample.com", "example.org"]}, {["deny_foreign_domain", "spec.rules[0].host"]}],
	[ingress, [without("/spec/ingressClassName")], {}, {["deny_ingress_class", "spec.ingressClassName"]}],
	[ingress, [add("/spec/ingressClassName", "")], {}, {["deny_ingress_class", "spec.ingressClassName"]}],
	[ingress, [without("/spec/ingressClassName"), add("/metadata/annotations/kubernetes.io~1ingress.class", "nginx")], {}, set()],
	[ingress, [], {"allowedIngressClasses": ["nginx"]}, set()],
	[ingress, [], {"allowedIngressClasses": ["internal"]}, {["deny_ingress_class", "spec.ingressClassName"]}],
	[ingress, [add("/metadata/annotations/nginx.ingress.kubernetes.io~1configuration-snippet", "a")], {}, {["deny_ingress_snippet", "metadata.annotations[nginx.ingress.kubernetes.io/configuration-snippet]"]}],
	[ingress, [add("/metadata/annotations/nginx.org~1server-snippets", "a")], {}, {["deny_ingress_snippet", "metadata.annotations[nginx.org/server-snippets]"]}],
	[ingress, [add("/metadata/annotations/nginx.ingress.kubernetes.io~1ssl-redirect", "False")], {}, {["deny_ingress_plain_http", "metadata.annotations[nginx.ingress.kubernetes.io/ssl-redirect]"]}],
	[ingress, [add("/metadata/annotations/nginx.ingress.kubernetes.io~1ssl-redirect", "true")], {}, set()],
	[ingress, [add("/apiVersion", "example.com/v1"), without("/spec")], {}, set()],
	# routes and gateways
	[route, [add("/spec/hostnames", [])], {}, {["deny_wildcard_host", "spec.hostnames"]}],
	[route, [add("/spec/hostnames", ["*.example.com"])], {}, {["deny_wildcard_host", "spec.hostnames[0]"]}],
	[route, [add("/spec/hostnames", ["*.example.com"])], {"allowedWildcardHosts": ["*.example.com"], "allowedDomains": ["example.com"]}, set()],
	[gateway, [add("/spec/listeners/0/protocol", "HTTP")], {}, {["deny_gateway_without_tls", "spec.listeners[0].protocol"]}],
	[gateway, [without("/spec/listeners/0/protocol")], {}, {["deny_gateway_without_tls", "spec.listeners[0].protocol"]}],
	[gateway, [add("/spec/listeners/0/protocol", "HTTP")], {"plainListeners": ["web"]}, set()],
	[gateway, [add("/spec/listeners/0/allowedRoutes/namespaces/from", "All")], {}, {["deny_gateway_open_to_all", "spec.listeners[0].allowedRoutes.namespaces"]}],
	[gateway, [add("/spec/listeners/0/allowedRoutes/namespaces", {"from": "Selector", "selector": {}})], {}, {["deny_gateway_open_to_all", "spec.listeners[0].allowedRoutes.namespaces"]}],
	[gateway, [add("/spec/listeners/0/allowedRoutes/namespaces", {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}})], {}, set()],
	# services
	[service, [add("/spec/type", "NodePort")], {}, {["deny_node_port", "spec.type"]}],
	[service, [add("/spec/type", "NodePort")], {"allowedNodePortServices": ["b/a"]}, set()],
	[service, [add("/spec/type", "NodePort"), without("/metadata/namespace")], {"allowedNodePortServices": ["b/a"]}, {["deny_node_port", "spec.type"]}],
	[balancer, [without("/spec/loadBalancerSourceRanges")], {}, {["deny_load_balancer_open", "spec.loadBalancerSourceRanges"]}],
	[balancer, [add("/spec/loadBalancerSourceRanges", [])], {}, {["deny_load_balancer_open", "spec.loadBalancerSourceRanges"]}],
	[balancer, [add("/spec/loadBalancerSourceRanges", ["10.0.0.0/8", "0.0.0.0/1"])], {}, {["deny_load_balancer_open", "spec.loadBalancerSourceRanges[1]"]}],
	[balancer, [without("/spec/loadBalancerSourceRanges"), add("/metadata/annotations", {"networking.gke.io/load-balancer-type": "Internal"})], {}, set()],
	[balancer, [without("/spec/loadBalancerSourceRanges"), add("/metadata/annotations", {"networking.gke.io/load-balancer-type": "Internal"})], {"internalLoadBalancers": {}}, {["deny_load_balancer_open", "spec.loadBalancerSourceRanges"]}],
	[service, [add("/spec/externalIPs", ["192.0.2.1", "192.0.2.2"])], {"allowedExternalIPs": ["192.0.2.1"]}, {["deny_external_ip", "spec.externalIPs[1]"]}],
	[service, [add("/spec/externalIPs", null)], {}, set()],
	[service, [add("/spec/type", "ExternalName"), add("/spec/externalName", "example.com")], {}, {["deny_external_name", "spec.externalName"]}],
	[service, [add("/spec/type", "ExternalName"), add("/spec/externalName", "example.com")], {"allowedExternalNames": ["example.com"]}, set()],
	[service, [add("/spec/type", "ExternalName")], {"allowedExternalNames": ["example.com"]}, {["deny_external_name", "spec.externalName"]}],
	[slice, [add("/endpoints/0/addresses", ["10.0.0.1", "169.254.169.254"])], {}, {["deny_endpoint_on_node", "endpoints[0].addresses[1]"]}],
	[slice, [add("/endpoints/0/addresses", ["::ffff:127.0.0.1"])], {}, {["deny_endpoint_on_node", "endpoints[0].addresses[0]"]}],
	[slice, [add("/endpoints/0/addresses", ["fe80::1"])], {}, {["deny_endpoint_on_node", "endpoints[0].addresses[0]"]}],
	[slice, [add("/endpoints/0/addresses", [1])], {}, {["deny_endpoint_on_node", "endpoints[0].addresses[0]"]}],
	[slice, [add("/endpoints/0/addresses", ["a.example.com"]), add("/addressType", "FQDN")], {}, set()],
	[endpoints, [add("/subsets/0/addresses/0/ip", "127.0.0.1")], {}, {["deny_endpoint_on_node", "subsets[0].addresses[0].ip"]}],
	[endpoints, [add("/subsets", null)], {}, set()],
	[service, [add("/spec/loadBalancerSourceRanges", ["0.0.0.0/0"])], {}, set()],
	[balancer, [add("/spec/loadBalancerSourceRanges", ["0.0.0.0/0"]), add("/metadata/annotations", {"networking.gke.io/load-balancer-type": "Internal"})], {}, set()],
	[gateway, [add("/spec/listeners/0/allowedRoutes/namespaces", {"from": "Same", "selector": {}})], {}, set()],
	[ingress, [add("/spec/ingressClassName", 7)], {}, {["deny_ingress_class", "spec.ingressClassName"]}],
	[default_deny, [without("/spec/policyTypes")], {}, {["deny_default_deny_broken", "spec"], ["deny_policy_types_missing", "spec.policyTypes"]}],
	[slice, [add("/endpoints/0/addresses", ["10.0.0.300"])], {}, {["deny_endpoint_on_node", "endpoints[0].addresses[0]"]}],
	[{"apiVersion": "v1", "kind": "List", "items": null}, [], {}, set()],
	# network policies
	[rules, [add("/spec/ingress/0/from", [])], {}, {["deny_policy_open_ingress", "spec.ingress[0].from"]}],
	[rules, [add("/spec/ingress/0", {})], {}, {["deny_policy_open_ingress", "spec.ingress[0].from"]}],
	[rules, [add("/spec/ingress/0/from/-", {"ipBlock": {"cidr": "0.0.0.0/0"}})], {}, {["deny_policy_open_ingress", "spec.ingress[0].from"]}],
	[rules, [add("/spec/ingress/0/from/-", {"namespaceSelector": {}})], {}, {["deny_policy_open_ingress", "spec.ingress[0].from"]}],
	[rules, [add("/spec/ingress/0/from/-", {"namespaceSelector": {}, "podSelector": {}})], {}, {["deny_policy_open_ingress", "spec.ingress[0].from"]}],
	[rules, [add("/spec/egress/-", {})], {}, {["deny_policy_open_egress", "spec.egress[2].to"]}],
	[rules, [add("/spec/egress/0/ports/-", {"port": 443})], {}, {["deny_policy_open_egress", "spec.egress[0].to"]}],
	[rules, [add("/spec/egress/0/ports/0/endPort", 60000)], {}, {["deny_policy_open_egress", "spec.egress[0].to"]}],
	[rules, [add("/spec/egress/1/to/-", {"ipBlock": {"cidr": "::/0"}})], {}, {["deny_policy_open_egress", "spec.egress[1].to"]}],
	[rules, [without("/spec/policyTypes")], {}, {["deny_policy_types_missing", "spec.policyTypes"]}],
	[default_deny, [add("/spec/podSelector", {"matchLabels": {"a": "b"}})], {}, {["deny_default_deny_broken", "spec"]}],
	[default_deny, [add("/spec/egress", [{"to": [{"podSelector": {}}]}])], {}, {["deny_default_deny_broken", "spec"]}],
	[default_deny, [add("/spec/ingress", [])], {}, set()],
	[rules, [], {"defaultDenyNames": ["web"]}, {["deny_default_deny_broken", "spec"]}],
	# shapes
	[ingress, [add("/spec/rules", {})], {}, {["deny_malformed", "spec.rules"], ["deny_ingress_without_tls", "spec.rules[0].host"], ["deny_wildcard_host", "spec.rules[0].host"]}],
	[ingress, [add("/spec/tls", [7])], {}, {["deny_malformed", "spec.tls[0]"]}],
	[ingress, [add("/spec/tls/0/hosts", "a.example.com")], {}, {["deny_malformed", "spec.tls[0].hosts"]}],
	[service, [add("/spec", [])], {}, {["deny_malformed", "spec"]}],
	[service, [add("/metadata/annotations", "a")], {}, {["deny_malformed", "metadata.annotations"]}],
	[service, [add("/spec/externalIPs", "192.0.2.1")], {}, {["deny_malformed", "spec.externalIPs"]}],
	[gateway, [add("/spec/listeners/0", "web")], {}, {["deny_malformed", "spec.listeners[0]"], ["deny_gateway_without_tls", "spec.listeners[0].protocol"]}],
	[service, [], {"allowedExternalIPs": "192.0.2.1"}, {["deny_wrong_parameters", ""]}],
	[{"apiVersion": "v1", "kind": "List", "items": [service]}, [], {}, {["deny_list", "items"]}],
]

test_cases if {
	every case in cases {
		got := findings(json.patch(case[0], case[1]), case[2])
		print(case, "found", got)
		got == case[3]
	}
}

# Kinds of the same name in other groups are others' business.
test_other_groups if {
	every case in cases {
		other := object.union(json.patch(case[0], case[1]), {"apiVersion": "example.com/v1"})
		got := findings(other, {}) - {["deny_list", "items"]}
		print(case, " found ", got)
		got == set()
	}
}

test_deletion_passes if {
	every object in [ingress, service, gateway, route, rules, slice] {
		{name | data.network[name][_] with input as {"operation": "DELETE", "oldObject": object}; startswith(name, "deny_")} == set()
	}
}

test_no_parameters_at_all if network.deny_node_port with input as {"object": json.patch(service, [add("/spec/type", "NodePort")])}
