package network

import data.lib.net as hosts
import data.lib.parameters

is_network_policy if {
	input.object.kind == "NetworkPolicy"
	startswith(input.object.apiVersion, "networking.k8s.io/")
}

# METADATA
# title: Ingress open to all
# description: A rule that names nobody, or every address, lets everybody in.
# custom:
#   severity: medium
#   remediation: Name the pods and namespaces in from.
#   references:
#   - CIS 5.3.2
#   - NSA Network policies
deny_policy_open_ingress contains {"field": field, "msg": msg} if {
	input.object.kind == "NetworkPolicy"
	is_network_policy
	some i, rule in input.object.spec.ingress
	open_peers(rule, "from")
	field := sprintf("spec.ingress[%d].from", [i])
	msg := sprintf("%s lets everybody in: name the pods and namespaces", [field])
}

# METADATA
# title: Egress open to all
# description: A rule that names nobody, or every address, lets the pods reach everything, unless it is for DNS only.
# custom:
#   severity: medium
#   remediation: Name the pods, namespaces and addresses in to.
#   references:
#   - CIS 5.3.2
#   - NSA Network policies
deny_policy_open_egress contains {"field": field, "msg": msg} if {
	input.object.kind == "NetworkPolicy"
	is_network_policy
	some i, rule in input.object.spec.egress
	open_peers(rule, "to")
	not only_dns(rule)
	field := sprintf("spec.egress[%d].to", [i])
	msg := sprintf("%s lets the pods reach everything: name what they need", [field])
}

open_peers(rule, side) if not names_peers(rule, side)

open_peers(rule, side) if {
	some peer in rule[side]
	hosts.open_range(peer.ipBlock.cidr)
}

open_peers(rule, side) if {
	some peer in rule[side]
	peer.namespaceSelector == {}
	not narrows_pods(peer)
}

narrows_pods(peer) if {
	selector := peer.podSelector
	not selector in {{}, null}
}

names_peers(rule, side) if some _ in rule[side]

only_dns(rule) if {
	some _ in rule.ports
	every port in rule.ports {
		port.port in {53, "dns", "dns-tcp"}
		not wider(port)
	}
}

wider(port) if {
	last := port.endPort
	not last in {53, null}
}

# METADATA
# title: Policy types
# description: Without policyTypes, a policy says nothing of egress as long as it has no rule for it.
# custom:
#   severity: low
#   remediation: Name Ingress, Egress or both in policyTypes.
#   references:
#   - NSA Network policies
deny_policy_types_missing contains {"field": "spec.policyTypes", "msg": msg} if {
	input.object.kind == "NetworkPolicy"
	is_network_policy
	not has_policy_types
	msg := "spec.policyTypes is missing: name what the policy restricts"
}

has_policy_types if some _ in input.object.spec.policyTypes

# METADATA
# title: Default deny that does not
# description: A policy that is called a default deny, by the parameter defaultDenyNames, selects every pod and allows nothing.
# custom:
#   severity: high
#   remediation: Set podSelector to {}, policyTypes, and no rules.
#   references:
#   - CIS 5.3.2
#   - NSA Network policies
deny_default_deny_broken contains {"field": "spec", "msg": msg} if {
	input.object.kind == "NetworkPolicy"
	is_network_policy
	input.object.metadata.name in parameters.get("defaultDenyNames", ["default-deny", "default-deny-all", "default-deny-egress", "default-deny-ingress", "deny-all"])
	not denies_by_default
	msg := "spec does not deny by default, as the name says: set podSelector to {} and policyTypes, and remove the rules"
}

denies_by_default if {
	input.object.spec.podSelector == {}
	has_policy_types
	not allows_something
}

allows_something if {
	some side in {"ingress", "egress"}
	some _ in input.object.spec[side]
}
