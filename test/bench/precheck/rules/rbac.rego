package main

deny contains say("cluster-admin is given to a service account") if {
	input.kind == "ClusterRoleBinding"
	input.roleRef.name == "cluster-admin"
	some subject in input.subjects
	subject.kind == "ServiceAccount"
}

deny contains say(sprintf("bound to %s", [subject.name])) if {
	input.kind in {"RoleBinding", "ClusterRoleBinding"}
	some subject in input.subjects
	subject.name in {"system:anonymous", "system:unauthenticated"}
}

deny contains say("everybody who is logged in gets a Role") if {
	input.kind == "RoleBinding"
	some subject in input.subjects
	subject.name == "system:authenticated"
}

deny contains say("masters need no binding") if {
	input.kind in {"RoleBinding", "ClusterRoleBinding"}
	some subject in input.subjects
	subject.name == "system:masters"
}

deny contains say("every Pod of a namespace is bound to it") if {
	input.kind in {"RoleBinding", "ClusterRoleBinding"}
	some subject in input.subjects
	subject.kind == "ServiceAccount"
	subject.name == "default"
	not subject.namespace
}

deny contains say("a Role that may do everything") if {
	input.kind in {"Role", "ClusterRole"}
	some rule in input.rules
	"*" in rule.verbs
	"*" in rule.resources
	"*" in rule.apiGroups
}

deny contains say(sprintf("verb %s lets its holder become somebody else", [verb])) if {
	input.kind in {"Role", "ClusterRole"}
	some rule in input.rules
	some verb in rule.verbs
	verb in {"impersonate", "escalate", "bind"}
}

deny contains say("may write secrets of every namespace") if {
	input.kind == "ClusterRole"
	some rule in input.rules
	"secrets" in rule.resources
	some verb in rule.verbs
	verb in {"create", "update", "patch", "delete", "*"}
}

deny contains say("may open a shell in every Pod") if {
	input.kind == "ClusterRole"
	some rule in input.rules
	some resource in rule.resources
	resource in {"pods/exec", "pods/attach"}
}

deny contains say("may change webhooks") if {
	input.kind in {"Role", "ClusterRole"}
	some rule in input.rules
	"admissionregistration.k8s.io" in rule.apiGroups
	some verb in rule.verbs
	verb in {"create", "update", "patch", "delete", "*"}
}

deny contains say("may sign certificates") if {
	input.kind in {"Role", "ClusterRole"}
	some rule in input.rules
	some resource in rule.resources
	startswith(resource, "certificatesigningrequests/")
	"update" in rule.verbs
}

deny contains say("a token is mounted by hand") if {
	input.kind == "ServiceAccount"
	some secret in input.secrets
	secret.name
}
