package rbac

# METADATA
# title: Wildcard in verbs
# description: An asterisk gives every verb, escalate, bind and impersonate and those of times to come among them.
# custom:
#   severity: high
#   remediation: Name the verbs.
#   references:
#   - CIS 5.1.3
#   - NSA Role-based access control
deny_wildcard_verbs contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	is_role
	some i, rule in input.object.rules
	"*" in rule.verbs
	field := sprintf("rules[%v].verbs", [i])
	msg := sprintf("%s holds *, which gives every verb: name those that are needed", [field])
}

# METADATA
# title: Wildcard in resources
# description: An asterisk gives every resource, Secrets and those of times to come among them.
# custom:
#   severity: high
#   remediation: Name the resources.
#   references:
#   - CIS 5.1.3
#   - NSA Role-based access control
deny_wildcard_resources contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	is_role
	some i, rule in input.object.rules
	some resource in rule.resources
	is_string(resource)
	startswith(resource, "*")
	field := sprintf("rules[%v].resources", [i])
	msg := sprintf("%s holds %s, which gives every resource: name those that are needed", [field, resource])
}

# METADATA
# title: Wildcard in API groups
# description: An asterisk gives the resource of that name in every group, those of times to come among them.
# custom:
#   severity: high
#   remediation: Name the groups; "" is the core group.
#   references:
#   - CIS 5.1.3
#   - NSA Role-based access control
deny_wildcard_groups contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	is_role
	some i, rule in input.object.rules
	"*" in rule.apiGroups
	field := sprintf("rules[%v].apiGroups", [i])
	msg := sprintf("%s holds *, which gives every group: name those that are needed", [field])
}

# METADATA
# title: Wildcard in URLs
# description: An asterisk opens every endpoint of the API server that is no resource, as those for profiles and logs.
# custom:
#   severity: medium
#   remediation: Name the URLs.
#   references:
#   - CIS 5.1.3
deny_wildcard_urls contains {"field": field, "msg": msg} if {
	input.object.kind == "ClusterRole"
	is_role
	some i, rule in input.object.rules
	some url in rule.nonResourceURLs
	url in {"*", "/*"}
	field := sprintf("rules[%v].nonResourceURLs", [i])
	msg := sprintf("%s holds %s, which opens every endpoint: name those that are needed", [field, url])
}

# METADATA
# title: Aggregation of everything
# description: A selector that is empty takes in the rules of every ClusterRole.
# custom:
#   severity: high
#   remediation: Select by a label.
deny_aggregates_everything contains {"field": field, "msg": msg} if {
	input.object.kind == "ClusterRole"
	is_role
	some i, selector in input.object.aggregationRule.clusterRoleSelectors
	not selects(selector)
	field := sprintf("aggregationRule.clusterRoleSelectors[%v]", [i])
	msg := sprintf("%s is empty and takes in the rules of every ClusterRole: select by a label", [field])
}

selects(selector) if some _ in selector.matchLabels

selects(selector) if some _ in selector.matchExpressions

# METADATA
# title: Rules for built-in roles
# description: A label that aggregates into admin, edit or view gives the rules to everybody who has these roles.
# custom:
#   severity: medium
#   remediation: Remove the label, or make sure that all of them may have this.
warn_extends_builtin_role contains {"field": field, "msg": msg} if {
	input.object.kind == "ClusterRole"
	is_role
	some role in {"admin", "edit", "view"}
	label := concat("", ["rbac.authorization.k8s.io/aggregate-to-", role])
	input.object.metadata.labels[label] == "true"
	field := sprintf("metadata.labels[%s]", [label])
	msg := sprintf("%s gives these rules to everybody who has the role %s: remove it if that is not meant", [field, role])
}

# METADATA
# title: Built-in roles
# description: The roles that come with Kubernetes are what components and other rules rely on.
# custom:
#   severity: critical
#   remediation: Make a role of your own.
deny_builtin_role contains {"field": "metadata.name", "msg": msg} if {
	input.object.kind in {"ClusterRole", "Role"}
	is_role
	builtin_role(input.object.metadata.name)
	msg := sprintf("metadata.name is %s, a role that comes with Kubernetes: make one of your own", [input.object.metadata.name])
}

builtin_role(name) if {
	input.object.kind == "ClusterRole"
	name in {"admin", "cluster-admin", "edit", "view"}
}

builtin_role(name) if {
	is_string(name)
	startswith(name, "system:")
}
