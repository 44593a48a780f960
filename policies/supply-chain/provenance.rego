package supply_chain

import data.lib.parameters

# What provenances of both versions say, in one form. A field that one does not have
# is missing; what is not a text counts as missing.
provenances(image) := [build |
	some attestation in attested(image)
	build := build_of(attestation)
]

build_of(attestation) := {"builder": builder, "type": type, "sources": sources, "finished": finished} if {
	attestation.predicateType == "https://slsa.dev/provenance/v1"
	builder := text_at(predicate_of(attestation), ["runDetails", "builder", "id"])
	type := text_at(predicate_of(attestation), ["buildDefinition", "buildType"])
	finished := text_at(predicate_of(attestation), ["runDetails", "metadata", "finishedOn"])
	sources := sources_v1(predicate_of(attestation))
}

build_of(attestation) := {"builder": builder, "type": type, "sources": sources, "finished": finished} if {
	attestation.predicateType == "https://slsa.dev/provenance/v0.2"
	builder := text_at(predicate_of(attestation), ["builder", "id"])
	type := text_at(predicate_of(attestation), ["buildType"])
	finished := text_at(predicate_of(attestation), ["metadata", "buildFinishedOn"])
	sources := {source | source := text_at(predicate_of(attestation), ["invocation", "configSource", "uri"]); source != ""}
}

text_at(value, path) := text if {
	text := object.get(value, path, "")
	is_string(text)
}

text_at(value, path) := "" if not is_string(object.get(value, path, ""))

# Where the source is named depends on the build type: these are the fields of those in
# use. All that are there count; where there is none, it is the first dependency.
sources_v1(predicate) := named if {
	named := named_sources(predicate)
	named != set()
}

sources_v1(predicate) := {source | source := text_at(predicate, ["buildDefinition", "resolvedDependencies", 0, "uri"]); source != ""} if {
	named_sources(predicate) == set()
}

named_sources(predicate) := {source |
	some path in [["source"], ["source", "uri"], ["repository"], ["workflow", "repository"], ["buildConfigSource", "repository"], ["sourceToBuild", "repository"]]
	source := text_at(predicate, array.concat(["buildDefinition", "externalParameters"], path))
	source != ""
}

# Each step looks at what passed the one before, so that one provenance must satisfy
# all of them, and the first that none passes is told.
by_known_builder(image) := [build |
	some build in provenances(image)
	known_builder(build.builder)
]

of_known_type(image) := [build |
	some build in by_known_builder(image)
	known_type(build.type)
]

of_known_source(image) := [build |
	some build in of_known_type(image)
	known_sources(build.sources)
]

recent_builds(image) := [build |
	some build in of_known_source(image)
	finished_recently(build)
]

known_builder(_) if {
	parameters.get("builders", {}) == {}
	parameters.get("minimumBuildLevel", 0) == 0
}

known_builder(id) if {
	some builder, level in parameters.get("builders", {})
	is_builder(id, builder)
	level >= parameters.get("minimumBuildLevel", 0)
}

is_builder(id, builder) if id == builder

is_builder(id, builder) if startswith(id, concat("", [builder, "@"]))

known_type(_) if parameters.get("buildTypes", []) == []

known_type(type) if type in parameters.get("buildTypes", [])

known_sources(_) if parameters.get("sourceRepositories", []) == []

known_sources(sources) if {
	sources != set()
	every source in sources {
		known_source(source)
	}
}

known_source(source) if {
	not contains(source, "..")
	some allowed in parameters.get("sourceRepositories", [])
	of(repository(source), repository(allowed))
}

# A source without the ways of writing it: git+https://host/path.git@ref#commit.
repository(source) := trim_suffix(trim_suffix(bare, "/"), ".git") if {
	bare := regex.replace(trim_prefix(source, "git+"), `^([a-z]+://[^/@#?]+[^@#?]*)[@#?].*$`, "$1")
}

finished_recently(build) if {
	is_time(build.finished)
	within(build.finished, parameters.get("maxBuildAgeDays", 0))
}

# METADATA
# title: Images without a provenance
# description: Images of the registries in the parameter provenanceRegistries have a SLSA provenance, version 0.2 or 1, that an authority signed. It needs to know what was attested; a door that does not cannot decide.
# custom:
#   severity: high
#   remediation: Have the build attest its provenance, and have the TrustPolicy ask for it.
#   references:
#   - SLSA Provenance
#   - NSA Building secure container images
deny_provenance_missing contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, image in covered(parameters.get("provenanceRegistries", []))
	provenances(image) == []
	msg := sprintf("%s is %s, of which no provenance was verified: attest it, and have the TrustPolicy ask for slsaprovenance1", [path, image.text])
}

# METADATA
# title: Unknown builders
# description: The provenance is of a builder in the parameter builders, if it is given, whose SLSA build level is at least the parameter minimumBuildLevel. It needs to know what was attested; a door that does not cannot decide.
# custom:
#   severity: high
#   remediation: Build with one of these.
#   references:
#   - SLSA Security levels
#   - SLSA Verifying artifacts
deny_unknown_builder contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, image in covered(parameters.get("provenanceRegistries", []))
	builds := provenances(image)
	builds != []
	by_known_builder(image) == []
	msg := sprintf("%s is %s, built by %s: build it with a builder of level %d or above in the parameter builders", [path, image.text, listed({build.builder | some build in builds}), parameters.get("minimumBuildLevel", 0)])
}

# METADATA
# title: Unknown build types
# description: The build is of a type in the parameter buildTypes, if it is given. It needs to know what was attested; a door that does not cannot decide.
# custom:
#   severity: medium
#   remediation: Build it as one of these.
#   references:
#   - SLSA Verifying artifacts
deny_unknown_build_type contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, image in covered(parameters.get("provenanceRegistries", []))
	builds := by_known_builder(image)
	builds != []
	of_known_type(image) == []
	msg := sprintf("%s is %s, whose build is of type %s: build it as one of %s", [path, image.text, listed({build.type | some build in builds}), concat(", ", parameters.get("buildTypes", []))])
}

# METADATA
# title: Foreign sources
# description: The image was built from a repository in the parameter sourceRepositories, if it is given. It needs to know what was attested; a door that does not cannot decide.
# custom:
#   severity: high
#   remediation: Build it from one of these.
#   references:
#   - SLSA Verifying artifacts
deny_foreign_source contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, image in covered(parameters.get("provenanceRegistries", []))
	builds := of_known_type(image)
	builds != []
	of_known_source(image) == []
	msg := sprintf("%s is %s, built from %s: build it from one of %s", [path, image.text, listed({source | some build in builds; some source in build.sources}), concat(", ", parameters.get("sourceRepositories", []))])
}

# METADATA
# title: Old builds
# description: The build finished no more days ago than the parameter maxBuildAgeDays, if it is given. It is judged when the object is, and again when the object changes or is made anew. It needs to know what was attested and what time it is; a door that does not cannot decide.
# custom:
#   severity: medium
#   remediation: Build the image anew, with the patches of its base.
#   references:
#   - NSA Building secure container images
deny_old_build contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	parameters.get("maxBuildAgeDays", 0) > 0
	some path, image in covered(parameters.get("provenanceRegistries", []))
	builds := of_known_source(image)
	builds != []
	recent_builds(image) == []
	msg := sprintf("%s is %s, whose build finished at %s, not within the last %d days: build it anew", [path, image.text, listed({build.finished | some build in builds}), parameters.get("maxBuildAgeDays", 0)])
}

# A few of what was found, for a message.
listed(texts) := "nothing that it names" if texts - {""} == set()

listed(texts) := concat(" and ", array.slice(sort(texts - {""}), 0, 3)) if texts - {""} != set()
