package rbac

import data.lib.parameters

# The subjects as Kind:name, or Kind:namespace/name, as parameters name them.
subjects[path] := text if {
	is_binding
	some i, subject in input.object.subjects
	text := sprintf("%v:%s", [subject.kind, full_name(subject)])
	path := sprintf("subjects[%v]", [i])
}

full_name(subject) := sprintf("%v", [subject.name]) if subject.kind != "ServiceAccount"

full_name(subject) := sprintf("%v/%v", [home(subject), subject.name]) if subject.kind == "ServiceAccount"

# A subject without a namespace is in that of the binding.
home(subject) := subject.namespace if has_home(subject)

home(subject) := "" if not has_home(subject)

has_home(subject) if {
	namespace := subject.namespace
	not namespace in {"", null}
}

gives_cluster_admin if {
	input.object.roleRef.name == "cluster-admin"
	not input.object.roleRef.kind == "Role"
}

# METADATA
# title: cluster-admin
# description: The role cluster-admin may do everything; only subjects in the parameter clusterAdmins get it.
# custom:
#   severity: critical
#   remediation: Bind a role that gives what is needed.
#   references:
#   - CIS 5.1.1
#   - NSA Role-based access control
deny_cluster_admin contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRoleBinding", "RoleBinding"}
	gives_cluster_admin
	some field, subject in subjects
	not subject in parameters.get("clusterAdmins", [])
	msg := sprintf("%s, %s, becomes cluster-admin: bind a role that gives what is needed", [field, subject])
}

# METADATA
# title: system:masters
# description: The group system:masters passes by RBAC and cannot be taken away from anybody.
# custom:
#   severity: critical
#   remediation: Use a group of your own.
#   references:
#   - CIS 5.1.7
deny_masters contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRoleBinding", "RoleBinding"}
	some field, subject in subjects
	subject == "Group:system:masters"
	msg := sprintf("%s is the group system:masters: use a group of your own", [field])
}

# METADATA
# title: Anonymous users
# description: A right of anonymous users is a right of everybody who reaches the API server.
# custom:
#   severity: critical
#   remediation: Remove the subject.
#   references:
#   - NSA Role-based access control
deny_anonymous contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRoleBinding", "RoleBinding"}
	some field, subject in subjects
	subject in {"Group:system:unauthenticated", "User:system:anonymous"}
	not role_for_everybody
	msg := sprintf("%s is everybody who reaches the API server: remove it", [field])
}

# METADATA
# title: Everybody
# description: The groups of all users and of all service accounts hold every pod and every guest; they get only the roles in the parameter rolesForEverybody.
# custom:
#   severity: high
#   remediation: Name the users, groups or service accounts.
#   references:
#   - NSA Role-based access control
deny_everybody contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRoleBinding", "RoleBinding"}
	some field, subject in subjects
	subject in {"Group:system:authenticated", "Group:system:serviceaccounts"}
	not role_for_everybody
	msg := sprintf("%s is everybody: name the users, groups or service accounts", [field])
}

role_for_everybody if {
	not input.object.roleRef.kind == "Role"
	input.object.roleRef.name in parameters.get("rolesForEverybody", ["system:basic-user", "system:discovery", "system:public-info-viewer"])
}

# METADATA
# title: Default service accounts
# description: A right of a default service account is one of every pod that names none.
# custom:
#   severity: medium
#   remediation: Make a service account for the workload.
#   references:
#   - CIS 5.1.5
deny_default_service_account contains {"field": field, "msg": msg} if {
	input.object.kind in {"ClusterRoleBinding", "RoleBinding"}
	is_binding
	some i, subject in input.object.subjects
	subject.kind == "ServiceAccount"
	subject.name == "default"
	field := sprintf("subjects[%v]", [i])
	msg := sprintf("%s is a default service account: make one for the workload", [field])
}

# METADATA
# title: Service accounts of other namespaces
# description: Who rules another namespace rules this one through its service account.
# custom:
#   severity: medium
#   remediation: Use a service account of this namespace, or make sure that the other is yours.
warn_foreign_service_account contains {"field": field, "msg": msg} if {
	input.object.kind == "RoleBinding"
	is_binding
	some i, subject in input.object.subjects
	subject.kind == "ServiceAccount"
	has_home(subject)
	subject.namespace != input.object.metadata.namespace
	field := sprintf("subjects[%v].namespace", [i])
	msg := sprintf("%s is %v: who rules that namespace rules this one too", [field, subject.namespace])
}

# METADATA
# title: Bindings in system namespaces
# description: Who gets a role that writes in a namespace of the system gets its service accounts.
# custom:
#   severity: high
#   remediation: Use a Role that gives what is needed.
#   references:
#   - NSA Role-based access control
deny_binding_in_system_namespace contains {"field": "roleRef.name", "msg": msg} if {
	input.object.kind == "RoleBinding"
	is_binding
	input.object.metadata.namespace in protected_namespaces
	input.object.roleRef.kind == "ClusterRole"
	input.object.roleRef.name in {"admin", "cluster-admin", "edit"}
	msg := sprintf("roleRef.name is %s in %s: use a Role that gives what is needed", [input.object.roleRef.name, input.object.metadata.namespace])
}
