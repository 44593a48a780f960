package network

import data.lib.net as hosts
import data.lib.parameters

# METADATA
# title: Ingress without TLS
# description: What comes in without TLS can be read and changed on its way.
# custom:
#   severity: high
#   remediation: Add the host to spec.tls.
#   references:
#   - NSA Network separation and hardening
deny_ingress_without_tls contains {"field": field, "msg": msg} if {
	input.object.kind == "Ingress"
	startswith(input.object.apiVersion, "networking.k8s.io/")
	some i, rule in ingress_rules
	host := host_of(rule)
	not has_tls(host)
	field := sprintf("spec.rules[%d].host", [i])
	msg := sprintf("%s is %v, for which spec.tls has no entry: add one", [field, json.marshal(host)])
}

host_of(rule) := rule.host if names_host(rule)

host_of(rule) := "" if not names_host(rule)

names_host(rule) if rule.host != null

# An Ingress without rules serves any host by its default backend.
ingress_rules := input.object.spec.rules if some _ in input.object.spec.rules

ingress_rules := [{}] if not has_rules

has_rules if some _ in input.object.spec.rules

has_tls(_) if {
	some entry in input.object.spec.tls
	not names_hosts(entry)
}

has_tls(host) if {
	some entry in input.object.spec.tls
	hosts.covered(host, entry.hosts)
}

names_hosts(entry) if some _ in entry.hosts

# The hosts for which traffic is asked for, of an Ingress or a route, by path.
claimed[path] := host if {
	input.object.kind == "Ingress"
	startswith(input.object.apiVersion, "networking.k8s.io/")
	some i, rule in ingress_rules
	host := host_of(rule)
	path := sprintf("spec.rules[%d].host", [i])
}

claimed[path] := host if {
	is_route
	some i, host in input.object.spec.hostnames
	path := sprintf("spec.hostnames[%d]", [i])
}

claimed[path] := "" if {
	path := "spec.hostnames"
	is_route
	not has_hostnames
}

has_hostnames if some _ in input.object.spec.hostnames

is_route if {
	input.object.kind in {"GRPCRoute", "HTTPRoute", "TLSRoute"}
	startswith(input.object.apiVersion, "gateway.networking.k8s.io/")
}

# METADATA
# title: Wildcard hosts
# description: Who claims all hosts, or all below a domain, takes the traffic of others.
# custom:
#   severity: medium
#   remediation: Name the host, or ask for it in allowedWildcardHosts.
deny_wildcard_host contains {"field": path, "msg": msg} if {
	input.object.kind in {"GRPCRoute", "HTTPRoute", "Ingress", "TLSRoute"}
	some path, host in claimed
	not host_is_named(host)
	not host in parameters.get("allowedWildcardHosts", [])
	msg := sprintf("%s is %v and claims hosts of others: name the host", [path, json.marshal(host)])
}

host_is_named(host) if {
	is_string(host)
	not hosts.wildcard(host)
}

# METADATA
# title: Foreign domains
# description: Hosts are of the domains in the parameter allowedDomains, if it is given.
# custom:
#   severity: medium
#   remediation: Use a host below one of the domains.
deny_foreign_domain contains {"field": path, "msg": msg} if {
	input.object.kind in {"GRPCRoute", "HTTPRoute", "Ingress", "TLSRoute"}
	allowed := parameters.get("allowedDomains", [])
	allowed != []
	some path, host in claimed
	not in_domain(host, allowed)
	msg := sprintf("%s is %v, which is below none of %s: use a host of these domains", [path, json.marshal(host), concat(", ", allowed)])
}

in_domain(host, allowed) if {
	is_string(host)
	some domain in allowed
	hosts.within(trim_prefix(host, "*."), domain)
}

# METADATA
# title: Ingress class
# description: Without a class, any controller may serve an Ingress; with allowedIngressClasses only one of these.
# custom:
#   severity: low
#   remediation: Set spec.ingressClassName.
deny_ingress_class contains {"field": "spec.ingressClassName", "msg": msg} if {
	input.object.kind == "Ingress"
	startswith(input.object.apiVersion, "networking.k8s.io/")
	not class_allowed
	msg := "spec.ingressClassName is missing or not allowed: name the class that is to serve this Ingress"
}

ingress_class := input.object.spec.ingressClassName if class_in_spec

ingress_class := input.object.metadata.annotations["kubernetes.io/ingress.class"] if not class_in_spec

class_in_spec if input.object.spec.ingressClassName != null

class_allowed if {
	is_string(ingress_class)
	ingress_class != ""
	parameters.get("allowedIngressClasses", []) == []
}

class_allowed if ingress_class in parameters.get("allowedIngressClasses", [])

# METADATA
# title: Snippets
# description: A snippet is configuration of the proxy that the author of the Ingress writes, and reads every Secret that the controller can.
# custom:
#   severity: critical
#   remediation: Remove the annotation.
#   references:
#   - CVE-2021-25742
deny_ingress_snippet contains {"field": field, "msg": msg} if {
	input.object.kind == "Ingress"
	startswith(input.object.apiVersion, "networking.k8s.io/")
	some key, _ in input.object.metadata.annotations
	is_string(key)
	regex.match(`^nginx\.(ingress\.kubernetes\.io|org)/.*-snippets?$`, key)
	field := sprintf("metadata.annotations[%s]", [key])
	msg := sprintf("%s writes the configuration of the proxy: remove it", [field])
}

# METADATA
# title: Plain HTTP allowed
# description: An annotation must not turn off what leads clients to TLS.
# custom:
#   severity: medium
#   remediation: Remove the annotation.
deny_ingress_plain_http contains {"field": field, "msg": msg} if {
	input.object.kind == "Ingress"
	startswith(input.object.apiVersion, "networking.k8s.io/")
	some key, bad in {
		"nginx.ingress.kubernetes.io/ssl-redirect": "false",
		"nginx.ingress.kubernetes.io/force-ssl-redirect": "false",
		"kubernetes.io/ingress.allow-http": "true",
	}
	value := input.object.metadata.annotations[key]
	is_string(value)
	lower(value) == bad
	field := sprintf("metadata.annotations[%s]", [key])
	msg := sprintf("%s is %s, which lets clients stay without TLS: remove it", [field, bad])
}

# METADATA
# title: Listeners without TLS
# description: A listener without TLS can be read and changed on its way; those that only redirect are in the parameter plainListeners.
# custom:
#   severity: high
#   remediation: Set protocol to HTTPS or TLS, or name the listener in plainListeners.
#   references:
#   - NSA Network separation and hardening
deny_gateway_without_tls contains {"field": field, "msg": msg} if {
	input.object.kind == "Gateway"
	startswith(input.object.apiVersion, "gateway.networking.k8s.io/")
	some i, listener in input.object.spec.listeners
	not has_tls_listener(listener)
	not plain_listener(listener)
	field := sprintf("spec.listeners[%d].protocol", [i])
	msg := sprintf("%s is not HTTPS or TLS: use one of these", [field])
}

has_tls_listener(listener) if listener.protocol in {"HTTPS", "TLS"}

plain_listener(listener) if listener.name in parameters.get("plainListeners", [])

# METADATA
# title: Gateways open to all
# description: Routes of every namespace may attach to a listener that says All, and take its hosts.
# custom:
#   severity: medium
#   remediation: Set allowedRoutes.namespaces.from to Same, or to Selector with a selector.
deny_gateway_open_to_all contains {"field": field, "msg": msg} if {
	input.object.kind == "Gateway"
	startswith(input.object.apiVersion, "gateway.networking.k8s.io/")
	some i, listener in input.object.spec.listeners
	opens_to_all(listener.allowedRoutes.namespaces)
	field := sprintf("spec.listeners[%d].allowedRoutes.namespaces", [i])
	msg := sprintf("%s lets routes of every namespace in: use Same, or Selector with a selector", [field])
}

opens_to_all(namespaces) if namespaces.from == "All"

opens_to_all(namespaces) if {
	namespaces.from == "Selector"
	namespaces.selector in {{}, null}
}
