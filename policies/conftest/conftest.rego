# METADATA
# title: The packs for conftest
# description: Judges bare documents, as conftest passes them, by all packs that are loaded beside this module.
# related_resources:
# - ref: https://www.conftest.dev
package main

# What conftest reads from --data at the key parameters.
parameters := data.parameters

default parameters := {}

# The rules of the packs see a document as an object that is created. There is no
# commit here and no operation other than that, so git-discipline and
# deletion-safety have nothing to judge.
judged contains results if results := data.network with input as wrapped

judged contains results if results := data.pod_security.baseline with input as wrapped

judged contains results if results := data.pod_security.restricted with input as wrapped

judged contains results if results := data.rbac with input as wrapped

judged contains results if results := data.secrets with input as wrapped

judged contains results if results := data.supply_chain with input as wrapped

judged contains results if results := data.workloads with input as wrapped

wrapped := {"object": input, "operation": "CREATE", "parameters": parameters}

# METADATA
# title: Denied by a pack
# description: What the deny rules of the packs say of the document.
# custom:
#   severity: high
#   remediation: Do what the message says.
deny contains result if {
	some rules in judged
	some name, results in rules
	startswith(name, "deny_")
	some result in results
}

# METADATA
# title: Warned of by a pack
# description: What the warn rules of the packs say of the document.
# custom:
#   severity: low
#   remediation: Do what the message says.
warn contains result if {
	some rules in judged
	some name, results in rules
	startswith(name, "warn_")
	some result in results
}
