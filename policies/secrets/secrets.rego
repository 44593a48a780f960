# METADATA
# title: Secrets
# description: Secrets that are where everybody reads them, and those that last for ever.
# related_resources:
# - ref: https://kubernetes.io/docs/concepts/security/secrets-good-practices/
package secrets

import data.lib.parameters
import data.lib.pod

# METADATA
# title: Malformed pod
# description: A pod must have the shape that the API gives it, or the other rules could look past it.
# custom:
#   severity: high
#   remediation: Correct the field; `kubectl explain` shows its type.
deny_malformed_pod contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, msg in pod.malformed
}

deny_malformed_pod contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, msg in pod.malformed_annotations
}

deny_malformed_pod contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some of, container in pod.containers
	some field in {"env", "envFrom"}
	some path, msg in pod.wrong_list(concat(".", [of, field]), container[field])
}

deny_malformed_pod contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some of, volume in pod.volumes
	some path, msg in pod.wrong_list(concat(".", [of, "projected.sources"]), volume.projected.sources)
}

deny_malformed_pod contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, msg in malformed
}

malformed[path] := pod.needs(path, list, "a list") if {
	some of, container in pod.containers
	some field in {"args", "command"}
	list := container[field]
	not pod.list_or_null(list)
	path := concat(".", [of, field])
}

# METADATA
# title: List of objects
# description: The rules judge one object at a time, and would look past the items of a list.
# custom:
#   severity: high
#   remediation: Write the items as documents of their own.
deny_list contains {"field": "items", "msg": msg} if {
	input.object.kind in {"ConfigMapList", "CronJobList", "DaemonSetList", "DeploymentList", "JobList", "List", "PodList", "PodTemplateList", "ReplicaSetList", "ReplicationControllerList", "SecretList", "StatefulSetList"}
	input.object.items != null
	msg := sprintf("items of a %s are not judged: write them as documents of their own", [input.object.kind])
}

parameter_types := {
	"secretNamePattern": "pattern",
	"harmlessNamePattern": "pattern",
	"keyPattern": "pattern",
	"maxTokenSeconds": "count",
}

# METADATA
# title: Wrong parameters
# description: A parameter of the wrong type would make rules look past what they are to find.
# custom:
#   severity: high
#   remediation: Correct the parameter; parameters.jsonschema of the pack says what it must be.
deny_wrong_parameters contains {"msg": msg} if {
	input.object.kind in {"ConfigMap", "CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "Secret", "StatefulSet"}
	some msg in parameters.problems(parameter_types)
}

secret_name := parameters.get("secretNamePattern", "(?i)(passw(or)?d|passphrase|secret|token|api_?key|private_?key|access_?key|credential)")

harmless_name := parameters.get("harmlessNamePattern", "(?i)_(file|path|dir|name|url|uri|host|port|ttl|timeout|expiry|expiration|seconds|length|enabled|type|algorithm|issuer|audience)$")

# What looks like a key, whatever it is called: private keys, the tokens of clouds
# and forges, signed tokens, and passwords in URLs.
key := parameters.get("keyPattern", `-----BEGIN [A-Z ]*PRIVATE KEY|AGE-SECRET-KEY-1|\b(A3T[A-Z0-9]|AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[opsur]_[A-Za-z0-9]{36}|\bgithub_pat_[A-Za-z0-9_]{22}|\bglpat-[A-Za-z0-9_-]{20}|\bxox[abeoprs]-[A-Za-z0-9-]{10}|\b[rs]k_live_[A-Za-z0-9]{16}|\bAIza[A-Za-z0-9_-]{35}|\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16}|://[^/\s:@$]*:[^/\s:@$]{3,}@`)

named_secret(name) if {
	is_string(name)
	regex.match(secret_name, name)
	not regex.match(harmless_name, name)
}

# Only texts can hold a key; the API has no other values where this is asked.
holds_key(text) if {
	is_string(text)
	regex.match(key, text)
}

holds_key(text) if {
	is_string(text)
	base64.is_valid(text)
	regex.match(key, base64.decode(text))
}

# The environment variables of every container that are written in place, by path.
variables[path] := variable if {
	some of, container in pod.containers
	some i, variable in container.env
	value := variable.value
	not value in {"", null}
	path := sprintf("%s.env[%v]", [of, i])
}

# "$(NAME)" stands for another variable.
is_reference(variable) if {
	is_string(variable.value)
	regex.match(`^\$\([A-Za-z_.-][A-Za-z0-9_.-]*\)$`, variable.value)
}

# METADATA
# title: Secrets in environment variables
# description: A value in a manifest is read by everybody who reads the repository or the object.
# custom:
#   severity: high
#   remediation: Put it into a Secret, and refer to it with valueFrom or a volume.
#   references:
#   - CIS 5.4.1
#   - NSA Secrets
deny_literal_secret contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, variable in variables
	named_secret(variable.name)
	not is_reference(variable)
	field := concat(".", [path, "value"])
	msg := sprintf("%s gives %s in the open: put it into a Secret and change what it was", [field, variable.name])
}

# METADATA
# title: Keys in environment variables
# description: What looks like a key is one, whatever its name.
# custom:
#   severity: critical
#   remediation: Put it into a Secret, and change it.
#   references:
#   - NSA Secrets
deny_key_in_env contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, variable in variables
	holds_key(variable.value)
	field := concat(".", [path, "value"])
	msg := sprintf("%s looks like a key: put it into a Secret and change it", [field])
}

# METADATA
# title: Keys in arguments
# description: The arguments of a process are read by everybody on the node.
# custom:
#   severity: critical
#   remediation: Pass the key in a file from a Secret, and change it.
#   references:
#   - NSA Secrets
deny_key_in_arguments contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, container in pod.containers
	some list in {"args", "command"}
	some i, text in container[list]
	holds_key(text)
	field := sprintf("%s.%s[%v]", [path, list, i])
	msg := sprintf("%s looks like a key: pass it in a file from a Secret and change it", [field])
}

# METADATA
# title: Keys in annotations
# description: Annotations are not encrypted, and tools show them.
# custom:
#   severity: critical
#   remediation: Remove the annotation, and change the key.
#   references:
#   - NSA Secrets
deny_key_in_annotation contains {"field": field, "msg": msg} if {
	input.object.kind in {"ConfigMap", "CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "Secret", "StatefulSet"}
	some name, text in input.object.metadata.annotations
	holds_key(text)
	field := sprintf("metadata.annotations[%s]", [name])
	msg := sprintf("%s looks like a key: remove it and change the key", [field])
}

deny_key_in_annotation contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some name, text in pod.annotations
	holds_key(text)
	field := pod.at(sprintf("metadata.annotations[%s]", [name]))
	msg := sprintf("%s looks like a key: remove it and change the key", [field])
}

is_config_map if {
	input.object.kind == "ConfigMap"
	input.object.apiVersion == "v1"
}

# METADATA
# title: Keys in ConfigMaps
# description: A ConfigMap is not encrypted and read by everybody who reads the namespace.
# custom:
#   severity: critical
#   remediation: Put it into a Secret, and change it.
#   references:
#   - NSA Secrets
deny_key_in_config_map contains {"field": field, "msg": msg} if {
	input.object.kind == "ConfigMap"
	is_config_map
	some part in {"binaryData", "data"}
	some name, text in input.object[part]
	holds_key(text)
	field := sprintf("%s[%s]", [part, name])
	msg := sprintf("%s looks like a key: put it into a Secret and change it", [field])
}

# METADATA
# title: Secrets by name in ConfigMaps
# description: What is called a password is one.
# custom:
#   severity: medium
#   remediation: Put it into a Secret.
#   references:
#   - NSA Secrets
deny_secret_in_config_map contains {"field": field, "msg": msg} if {
	input.object.kind == "ConfigMap"
	is_config_map
	some name, text in input.object.data
	named_secret(name)
	not text in {"", null}
	field := sprintf("data[%s]", [name])
	msg := sprintf("%s is called a secret: put it into a Secret", [field])
}

# METADATA
# title: Malformed ConfigMap
# description: An object must have the shape that the API gives it, or the other rules could look past it.
# custom:
#   severity: high
#   remediation: Correct the field; `kubectl explain` shows its type.
deny_malformed_config_map contains {"field": part, "msg": msg} if {
	input.object.kind == "ConfigMap"
	is_config_map
	some part in {"binaryData", "data"}
	value := input.object[part]
	not type_name(value) in {"object", "null"}
	msg := sprintf("%s is a %s and must be an object: correct it", [part, type_name(value)])
}

deny_malformed_config_map contains {"field": field, "msg": msg} if {
	input.object.kind == "ConfigMap"
	is_config_map
	some part in {"binaryData", "data"}
	some name, text in input.object[part]
	not is_string(text)
	field := sprintf("%s[%v]", [part, name])
	msg := sprintf("%s is a %s and must be a text: correct it", [field, type_name(text)])
}

# METADATA
# title: Secrets as environment variables
# description: Environment variables end up in crash reports, logs and child processes.
# custom:
#   severity: low
#   remediation: Mount the Secret as a volume.
#   references:
#   - CIS 5.4.1
#   - NSA Secrets
warn_secret_in_env contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, container in pod.containers
	some i, variable in container.env
	variable.valueFrom.secretKeyRef != null
	field := sprintf("%s.env[%v].valueFrom.secretKeyRef", [path, i])
	msg := sprintf("%s makes an environment variable of a Secret: mount it as a volume", [field])
}

warn_secret_in_env contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, container in pod.containers
	some i, source in container.envFrom
	source.secretRef != null
	field := sprintf("%s.envFrom[%v].secretRef", [path, i])
	msg := sprintf("%s makes environment variables of a Secret: mount it as a volume", [field])
}

is_secret if {
	input.object.kind == "Secret"
	input.object.apiVersion == "v1"
}

# METADATA
# title: Tokens that last for ever
# description: The token in a Secret of this type has no end and is bound to no pod.
# custom:
#   severity: high
#   remediation: Use a projected serviceAccountToken volume, or a TokenRequest.
#   references:
#   - CIS 5.1.6
#   - NSA Protecting Pod service account tokens
deny_token_secret contains {"field": "type", "msg": msg} if {
	input.object.kind == "Secret"
	is_secret
	input.object.type == "kubernetes.io/service-account-token"
	msg := "type makes a token without an end: use a projected serviceAccountToken volume"
}

# METADATA
# title: Bootstrap tokens
# description: A bootstrap token lets machines join the cluster as nodes.
# custom:
#   severity: high
#   remediation: Make it with kubeadm when it is needed; it does not belong into a manifest.
deny_bootstrap_token contains {"field": "type", "msg": msg} if {
	input.object.kind == "Secret"
	is_secret
	input.object.type == "bootstrap.kubernetes.io/token"
	msg := "type makes a token by which machines join the cluster: make it with kubeadm when it is needed"
}

# METADATA
# title: Copies of Secrets
# description: kubectl apply keeps a copy of the Secret in an annotation, where nothing hides it.
# custom:
#   severity: critical
#   remediation: Remove the annotation, and use server-side apply.
deny_last_applied_secret contains {"field": field, "msg": msg} if {
	input.object.kind == "Secret"
	is_secret
	name := "kubectl.kubernetes.io/last-applied-configuration"
	value := input.object.metadata.annotations[name]
	not value in {"", null}
	field := sprintf("metadata.annotations[%s]", [name])
	msg := sprintf("%s holds a copy of the Secret in the open: remove it and use server-side apply", [field])
}

# METADATA
# title: Secrets that change
# description: A Secret that is immutable cannot be changed by mistake, and costs the API server no watch.
# custom:
#   severity: low
#   remediation: Set immutable to true, and give a new Secret a new name.
warn_mutable_secret contains {"field": "immutable", "msg": msg} if {
	input.object.kind == "Secret"
	is_secret
	not input.object.immutable == true
	msg := "immutable is not true: set it, and give a new Secret a new name"
}

# METADATA
# title: Tokens that last long
# description: A projected token is as good as a password until it expires.
# custom:
#   severity: medium
#   remediation: Lower expirationSeconds; the kubelet renews tokens in time.
#   references:
#   - NSA Protecting Pod service account tokens
deny_long_token contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, volume in pod.volumes
	some i, source in volume.projected.sources
	seconds := source.serviceAccountToken.expirationSeconds
	seconds != null
	not short(seconds)
	field := sprintf("%s.projected.sources[%v].serviceAccountToken.expirationSeconds", [path, i])
	msg := sprintf("%s is %v, more than %v: lower it", [field, seconds, max_token_seconds])
}

max_token_seconds := parameters.get("maxTokenSeconds", 86400)

short(seconds) if {
	is_number(seconds)
	seconds <= max_token_seconds
}
