package supply_chain

# The attestations of an image: those that the trust policy asks for and that were
# verified, for its very digest.
attested(image) := [attestation |
	some evidence in input.images
	evidence_for(evidence, image)
	some attestation in evidence.attestations
]

# The images of some registries, by path. Where none is named there are none, and
# nothing else is looked at.
covered(prefixes) := {path: image |
	prefixes != []
	some path, image in images
	of_any(image, prefixes)
}

of_type(attestation, types) if attestation.predicateType in types

# What an attestation states. What is no object states nothing.
predicate_of(attestation) := attestation.predicate if is_object(attestation.predicate)

predicate_of(attestation) := {} if not is_object(attestation.predicate)

# A type may name its version behind the URI.
of_type(attestation, types) if {
	some type in types
	startswith(attestation.predicateType, concat("", [type, "/v"]))
}

sbom_types := {"https://cyclonedx.org/bom", "https://spdx.dev/Document"}

day_ns := ((24 * 60) * 60) * 1000000000

hour_ns := (60 * 60) * 1000000000

# Whether a time is no more than a number of days ago. A time in the future
# is the word of a clock that is wrong, or of somebody who wants to be recent for ever.
within(text, days) if {
	age := time.parse_rfc3339_ns(input.time) - time.parse_rfc3339_ns(text)
	age <= days * day_ns
	age >= 0 - hour_ns
}

is_time(text) if regex.match(`^(?:19|20|21)[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$`, text)
