# METADATA
# title: RBAC
# description: Rights that lead to more rights than they seem to give, and those who get them.
# related_resources:
# - ref: https://kubernetes.io/docs/concepts/security/rbac-good-practices/
package rbac

import data.lib.parameters

is_role if {
	input.object.kind in {"ClusterRole", "Role"}
	startswith(input.object.apiVersion, "rbac.authorization.k8s.io/")
}

is_binding if {
	input.object.kind in {"ClusterRoleBinding", "RoleBinding"}
	startswith(input.object.apiVersion, "rbac.authorization.k8s.io/")
}

# METADATA
# title: List of objects
# description: The rules judge one object at a time, and would look past the items of a list.
# custom:
#   severity: high
#   remediation: Write the items as documents of their own.
deny_list contains {"field": "items", "msg": msg} if {
	input.object.kind in {"ClusterRoleBindingList", "ClusterRoleList", "List", "RoleBindingList", "RoleList"}
	input.object.items != null
	msg := sprintf("items of a %s are not judged: write them as documents of their own", [input.object.kind])
}

parameter_types := {
	"clusterAdmins": "strings",
	"rolesForEverybody": "strings",
	"protectedNamespaces": "strings",
}

# METADATA
# title: Wrong parameters
# description: A parameter of the wrong type would make rules look past what they are to find.
# custom:
#   severity: high
#   remediation: Correct the parameter; parameters.jsonschema of the pack says what it must be.
deny_wrong_parameters contains {"msg": msg} if {
	input.object.kind in {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
	some msg in parameters.problems(parameter_types)
}

malformed[path] := "a list" if {
	some path in {"rules", "subjects"}
	value := input.object[path]
	not type_name(value) in {"array", "null"}
}

malformed[path] := "an object" if {
	some list in {"rules", "subjects"}
	some i, item in input.object[list]
	not is_object(item)
	path := sprintf("%s[%v]", [list, i])
}

malformed[path] := "a list of texts" if {
	some i, rule in input.object.rules
	some field in {"apiGroups", "nonResourceURLs", "resourceNames", "resources", "verbs"}
	value := rule[field]
	value != null
	not texts(value)
	path := sprintf("rules[%v].%s", [i, field])
}

malformed[path] := "a text" if {
	some i, subject in input.object.subjects
	is_object(subject)
	some field in {"kind", "name"}
	not has_text(subject, field)
	path := sprintf("subjects[%v].%s", [i, field])
}

malformed[path] := "a text" if {
	path := "roleRef.name"
	is_binding
	not has_role
}

texts(value) if {
	is_array(value)
	every item in value {
		is_string(item)
	}
}

has_text(subject, field) if {
	is_string(subject[field])
	subject[field] != ""
}

has_role if {
	is_string(input.object.roleRef.name)
	input.object.roleRef.name != ""
}

# METADATA
# title: Malformed object
# description: An object must have the shape that the API gives it, or the other rules could look past it.
# custom:
#   severity: high
#   remediation: Correct the field; `kubectl explain` shows its type.
deny_malformed contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
	startswith(input.object.apiVersion, "rbac.authorization.k8s.io/")
	some field, want in malformed
	msg := sprintf("%s must be %s: correct it", [field, want])
}

protected_namespaces := parameters.get("protectedNamespaces", ["kube-node-lease", "kube-public", "kube-system"])

# The rules that give one of the verbs on one of the resources, by their paths.
# Resources are named as a request does, with the subresource.
given(groups, resources, verbs) := {path |
	is_role
	matching := resources | {"*"} | {any_parent(r) | some r in resources; contains(r, "/")}
	some i, rule in input.object.rules
	some group in rule.apiGroups
	group in groups | {"*"}
	some resource in rule.resources
	resource in matching
	some verb in rule.verbs
	verb in verbs | {"*"}
	path := sprintf("rules[%v]", [i])
}

# "*/exec" stands for the subresource of every resource.
any_parent(resource) := concat("/", ["*", split(resource, "/")[1]])

# The rules that are confined to objects that they name.
confined := {path |
	some i, rule in input.object.rules
	some _ in rule.resourceNames
	path := sprintf("rules[%v]", [i])
}

writes := {"create", "update", "patch", "delete", "deletecollection"}

changes := {"create", "update", "patch"}
