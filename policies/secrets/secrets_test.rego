package secrets_test

findings(object, parameters) := {[name, place(result)] |
	some name, results in data.secrets with input as {"object": object, "parameters": parameters}
	regex.match(`^(deny|warn)_`, name)
	some result in results
}

place(result) := result.field

place(result) := "" if not result.field

pod(container) := {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [container]}}

env(name, value) := pod({"env": [{"name": name, "value": value}]})

config(data_) := {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data_}

secret(more) := object.union({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "immutable": true}, more)

# Keys that nobody has, in parts: scanners of this repository need not see them.
keys := [
	concat("", ["AKIA", "IOSFODNN7EXAMPLE"]),
	concat("", ["-----BEGIN RSA ", "PRIVATE KEY-----\nMIIE"]),
	concat("", ["AGE-SECRET-", "KEY-1QQQQ"]),
	concat("", ["gh", "p_0123456789abcdefghijABCDEFGHIJ012345"]),
	concat("", ["github", "_pat_0123456789abcdefghijAB"]),
	concat("", ["gl", "pat-0123456789abcdefghij"]),
	concat("", ["xo", "xb-0123456789-abc"]),
	concat("", ["sk_", "live_0123456789abcdef"]),
	concat("", ["AI", "za0123456789abcdefghijABCDEFGHIJ01234"]),
	concat("", ["ey", "Jhbg0123456.eyJzdWI012345.0123456789abcdef"]),
	"postgres://app:hunter22@db/app",
]

harmless := ["", "https://example.com/a", "postgres://app@db/app", "postgres://app:$(PASSWORD)@db/app", "1.2.3", "aGVsbG8=", "-----BEGIN CERTIFICATE-----"]

test_keys_everywhere if {
	every value in keys {
		every case in [
			[env("A", value), ["deny_key_in_env", "spec.containers[0].env[0].value"]],
			[pod({"args": ["-a", value]}), ["deny_key_in_arguments", "spec.containers[0].args[1]"]],
			[pod({"command": [value]}), ["deny_key_in_arguments", "spec.containers[0].command[0]"]],
			[config({"a": value}), ["deny_key_in_config_map", "data[a]"]],
			[object.union(config({}), {"binaryData": {"a": base64.encode(value)}}), ["deny_key_in_config_map", "binaryData[a]"]],
			[object.union(config({}), {"metadata": {"annotations": {"a": value}}}), ["deny_key_in_annotation", "metadata.annotations[a]"]],
		] {
			got := findings(case[0], {})
			print(value, case, "found", got)
			got == {case[1]}
		}
	}
}

test_encoded_keys if {
	every value in keys {
		findings(env("A", base64.encode(value)), {}) == {["deny_key_in_env", "spec.containers[0].env[0].value"]}
		findings(config({"a": base64.encode(value)}), {}) == {["deny_key_in_config_map", "data[a]"]}
	}
}

test_harmless_values if {
	every value in harmless {
		got := findings(env("A", value), {}) | findings(config({"a": value}), {})
		print(value, got)
		got == set()
	}
}

test_template_annotation if {
	got := findings({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"metadata": {"annotations": {"a": keys[0]}}, "spec": {}}}}, {})
	got == {["deny_key_in_annotation", "spec.template.metadata.annotations[a]"]}
}

test_harmless_template_annotation if {
	findings({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"metadata": {"annotations": {"a": "b"}}, "spec": {}}}}, {}) == set()
}

# Kinds of the same name in other groups are others' business.
test_other_groups if {
	annotation := {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}}
	every thing in [
		config({"password": "a", "b": keys[0]}), config([]), config({"a": 1}), secret({"immutable": false}),
		secret({"type": "kubernetes.io/service-account-token"}), secret({"type": "bootstrap.kubernetes.io/token"}), secret(annotation),
	] {
		got := findings(object.union(thing, {"apiVersion": "example.com/v1"}), {})
		print(thing, " found ", got)
		got == set()
	}
}

# No text of a finding may hold what it is about.
test_values_are_not_told if {
	every value in keys {
		every thing in [env("PASSWORD", value), pod({"args": [value]}), config({"password": value}), object.union(secret({}), {"metadata": {"annotations": {"a": value}}})] {
			every text in {json.marshal(result) | some name, results in data.secrets with input.object as thing; startswith(name, "deny_"); some result in results} {
				not contains(text, value)
			}
		}
	}
}

literal := ["deny_literal_secret", "spec.containers[0].env[0].value"]

test_names if {
	every case in [
		["DB_PASSWORD", "hunter2", {literal}],
		["db_passwd", "hunter2", {literal}],
		["API_KEY", "a", {literal}],
		["APIKEY", "a", {literal}],
		["GITHUB_TOKEN", "a", {literal}],
		["CLIENT_SECRET", 7, {literal}],
		["PASSWORD", "$(OTHER)", set()],
		["PASSWORD", "$(OTHER)x", {literal}],
		["PASSWORD", "", set()],
		["PASSWORD", null, set()],
		["PASSWORD_FILE", "/run/a", set()],
		["TOKEN_URL", "https://example.com", set()],
		["SECRET_NAME", "a", set()],
		["LOG_LEVEL", "debug", set()],
	] {
		got := findings(env(case[0], case[1]), {})
		print(case, "found", got)
		got == case[2]
	}
}

test_init_and_ephemeral_containers if {
	variable := [{"name": "PASSWORD", "value": "hunter2"}]
	got := findings({"apiVersion": "v1", "kind": "Pod", "spec": {"initContainers": [{"env": variable}], "ephemeralContainers": [{"env": variable}]}}, {})
	got == {["deny_literal_secret", "spec.initContainers[0].env[0].value"], ["deny_literal_secret", "spec.ephemeralContainers[0].env[0].value"]}
}

test_config_maps if {
	every case in [
		[config(null), set()],
		[config({"application.yaml": "a: b"}), set()],
		[config({"password": "hunter2"}), {["deny_secret_in_config_map", "data[password]"]}],
		[config({"password": ""}), set()],
		[config([]), {["deny_malformed_config_map", "data"]}],
		[config({"a": 1}), {["deny_malformed_config_map", "data[a]"]}],
		[object.union(config({"password": "a"}), {"apiVersion": "example.com/v1"}), set()],
		[{"apiVersion": "v1", "kind": "ConfigMapList", "items": []}, {["deny_list", "items"]}],
	] {
		got := findings(case[0], {})
		print(case, "found", got)
		got == case[1]
	}
}

test_secrets if {
	last_applied := "kubectl.kubernetes.io/last-applied-configuration"
	every case in [
		[secret({}), set()],
		[secret({"data": {"password": "(redacted)"}}), set()],
		[secret({"immutable": false}), {["warn_mutable_secret", "immutable"]}],
		[secret({"immutable": null}), {["warn_mutable_secret", "immutable"]}],
		[secret({"type": "kubernetes.io/service-account-token"}), {["deny_token_secret", "type"]}],
		[secret({"type": "bootstrap.kubernetes.io/token"}), {["deny_bootstrap_token", "type"]}],
		[secret({"metadata": {"annotations": {last_applied: "{}"}}}), {["deny_last_applied_secret", sprintf("metadata.annotations[%s]", [last_applied])]}],
		[secret({"metadata": {"annotations": {last_applied: ""}}}), set()],
		[object.union(secret({"immutable": false}), {"apiVersion": "example.com/v1"}), set()],
	] {
		got := findings(case[0], {})
		print(case, "found", got)
		got == case[1]
	}
}

token(seconds) := {"apiVersion": "v1", "kind": "Pod", "spec": {"volumes": [{"name": "a", "projected": {"sources": [{"serviceAccountToken": {"expirationSeconds": seconds}}]}}]}}

long := ["deny_long_token", "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds"]

test_pods if {
	every case in [
		[pod({"env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]}), {}, {["warn_secret_in_env", "spec.containers[0].env[0].valueFrom.secretKeyRef"]}],
		[pod({"env": [{"name": "A", "valueFrom": {"fieldRef": {}, "secretKeyRef": null}}]}), {}, set()],
		[pod({"envFrom": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "a"}}]}), {}, {["warn_secret_in_env", "spec.containers[0].envFrom[1].secretRef"]}],
		[pod({"env": [{"value": keys[0]}]}), {}, {["deny_key_in_env", "spec.containers[0].env[0].value"]}],
		[token(3600), {}, set()],
		[token(null), {}, set()],
		[token(604800), {}, {long}],
		[token("3600"), {}, {long}],
		[token(3600), {"maxTokenSeconds": 600}, {long}],
		[pod({"env": {"PASSWORD": "a"}}), {}, {["deny_malformed_pod", "spec.containers[0].env"]}],
		[pod({"env": ["PASSWORD=a"]}), {}, {["deny_malformed_pod", "spec.containers[0].env[0]"]}],
		[pod({"args": "-p a"}), {}, {["deny_malformed_pod", "spec.containers[0].args"]}],
		[{"apiVersion": "v1", "kind": "Pod", "spec": {"volumes": [{"projected": {"sources": "a"}}]}}, {}, {["deny_malformed_pod", "spec.volumes[0].projected.sources"]}],
		[{"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": "a"}, "spec": {}}, {}, {["deny_malformed_pod", "metadata.annotations"]}],
		[{"apiVersion": "v1", "kind": "Pod"}, {}, {["deny_malformed_pod", "spec"]}],
		[env("PIN", "1234"), {"secretNamePattern": "^PIN$"}, {literal}],
		[env("PASSWORD", "1234"), {"harmlessNamePattern": "^PASSWORD$"}, set()],
		[env("A", "acme-1234"), {"keyPattern": "^acme-"}, {["deny_key_in_env", "spec.containers[0].env[0].value"]}],
		[pod({}), {"maxTokenSeconds": -1}, {["deny_wrong_parameters", ""]}],
	] {
		got := findings(case[0], case[1])
		print(case, "found", got)
		got == case[2]
	}
}

test_deletion_passes if {
	{name |
		some name, results in data.secrets with input as {"operation": "DELETE", "oldObject": config({"password": "a"})}
		startswith(name, "deny_")
		count(results) > 0
	} == set()
}
