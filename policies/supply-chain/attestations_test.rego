package supply_chain_test

slsa1 := "https://slsa.dev/provenance/v1"

slsa02 := "https://slsa.dev/provenance/v0.2"

vuln := "https://cosign.sigstore.dev/attestation/vuln/v1"

now := "2026-06-30T12:00:00Z"

attestation(type, predicate) := {"name": "a", "predicateType": type, "authority": "build", "predicate": predicate}

# What the rules about attestations say of an image about which these were verified.
judged(attestations, parameters) := judged_at(attestations, parameters, now)

judged_at(attestations, parameters, time) := {rule |
	some [rule, _] in findings({
		"object": pod(web), "parameters": parameters, "time": time,
		"images": [{"ref": web, "digest": digest, "authorities": ["build"], "attestations": attestations}],
	})
}

v1(builder, type, external, finished) := attestation(slsa1, {
	"buildDefinition": {"buildType": type, "externalParameters": external},
	"runDetails": {"builder": {"id": builder}, "metadata": {"finishedOn": finished}},
})

v02(builder, type, source, finished) := attestation(slsa02, {
	"builder": {"id": builder}, "buildType": type, "metadata": {"buildFinishedOn": finished},
	"invocation": {"configSource": {"uri": source}},
})

generator := "https://acme.dev/generator.yml"

workflow := "https://acme.dev/workflow/v1"

repository := "https://git.acme.dev/shop/web"

good_v1 := v1(generator, workflow, {"workflow": {"repository": repository}}, "2026-06-29T12:00:00Z")

good_v02 := v02(generator, workflow, "git+https://git.acme.dev/shop/web.git@refs/heads/main", "2026-06-29T12:00:00.5+02:00")

build_parameters := {
	"provenanceRegistries": ["ghcr.io/acme"],
	"builders": {generator: 3, "https://acme.dev/laptop": 1},
	"minimumBuildLevel": 2,
	"buildTypes": [workflow],
	"sourceRepositories": ["https://git.acme.dev/shop/"],
	"maxBuildAgeDays": 30,
}

provenances := [
	[[good_v1], set()],
	[[good_v02], set()],
	[[v1(concat("@", [generator, "refs/tags/v1"]), workflow, {"source": {"uri": repository}}, now)], set()],
	[[v1(generator, workflow, {"source": repository}, now)], set()],
	[[v1(generator, workflow, {"repository": repository}, now)], set()],
	[[v1(generator, workflow, {"buildConfigSource": {"repository": repository}, "sourceToBuild": {"repository": repository}}, now)], set()],
	[[attestation(slsa1, {
		"buildDefinition": {"buildType": workflow, "externalParameters": {}, "resolvedDependencies": [{"uri": concat("", ["git+", repository, "#main"])}]},
		"runDetails": {"builder": {"id": generator}, "metadata": {"finishedOn": now}},
	})], set()],
]

wrong_builds := [
	[[], {"deny_provenance_missing"}],
	[[attestation(vuln, {})], {"deny_provenance_missing"}],
	[[attestation("https://slsa.dev/provenance/v0.1", {})], {"deny_provenance_missing"}],
	[[attestation(slsa1, {})], {"deny_unknown_builder"}],
	[[attestation(slsa1, "text")], {"deny_unknown_builder"}],
	[[attestation(slsa1, {"runDetails": {"builder": {"id": 7}}})], {"deny_unknown_builder"}],
	[[v1("https://evil.dev", workflow, {"source": repository}, now)], {"deny_unknown_builder"}],
	[[v1(concat("", [generator, ".evil"]), workflow, {"source": repository}, now)], {"deny_unknown_builder"}],
	[[v1("https://acme.dev/laptop", workflow, {"source": repository}, now)], {"deny_unknown_builder"}],
	[[v1(generator, "https://acme.dev/other/v1", {"source": repository}, now)], {"deny_unknown_build_type"}],
]

wrong_sources := [
	[[v1(generator, workflow, {"source": "https://git.evil.dev/shop/web"}, now)], {"deny_foreign_source"}],
	[[v1(generator, workflow, {"source": "https://git.acme.dev/shopping/web"}, now)], {"deny_foreign_source"}],
	[[v1(generator, workflow, {"source": "https://git.acme.dev/shop/../evil/web"}, now)], {"deny_foreign_source"}],
	[[v1(generator, workflow, {"source": "https://git.acme.dev/shop@git.evil.dev/web", "repository": "https://git.evil.dev"}, now)], {"deny_foreign_source"}],
	[[v1(generator, workflow, {}, now)], {"deny_foreign_source"}],
	[[v02(generator, workflow, "", now)], {"deny_foreign_source"}],
	[[v1(generator, workflow, {"source": repository}, "2026-05-01T00:00:00Z")], {"deny_old_build"}],
	[[v1(generator, workflow, {"source": repository}, "2027-01-01T00:00:00Z")], {"deny_old_build"}],
	[[v1(generator, workflow, {"source": repository}, "yesterday")], {"deny_old_build"}],
	[[v1(generator, workflow, {"source": repository}, "")], {"deny_old_build"}],
	# What one provenance lacks, another one does not make up for.
	[[v1(generator, workflow, {"source": "https://git.evil.dev"}, now), v1("https://evil.dev", workflow, {"source": repository}, now)], {"deny_foreign_source"}],
	[[v1("https://evil.dev", workflow, {}, now), good_v1], set()],
]

test_provenances if every_build(provenances)

test_wrong_builds if every_build(wrong_builds)

test_wrong_sources if every_build(wrong_sources)

every_build(cases) if {
	every case in cases {
		got := judged(case[0], build_parameters)
		print(case, "found", got)
		got == case[1]
	}
}

# Without further parameters any provenance will do; without any, none is asked for.
test_any_provenance if {
	judged([v1("a", "b", {}, "")], {"provenanceRegistries": ["ghcr.io"]}) == set()
	judged([v1("a", "b", {}, "")], {"provenanceRegistries": ["ghcr.io"], "minimumBuildLevel": 1}) == {"deny_unknown_builder"}
	judged([], {"provenanceRegistries": ["quay.io"]}) == set()
	judged([], {}) == set()
	judged([], {"builders": {generator: 3}, "maxBuildAgeDays": 1, "sourceRepositories": ["a"], "buildTypes": ["a"]}) == set()
}

# The attestations of another digest are those of another image.
test_other_digest if {
	got := findings({
		"object": pod(web), "parameters": {"provenanceRegistries": ["ghcr.io"], "unverifiedRegistries": ["ghcr.io"]}, "time": now,
		"images": [{"ref": web, "digest": other, "authorities": ["build"], "attestations": [good_v1]}],
	})
	got == {["deny_provenance_missing", at]}
}

# Where nobody knows what time it is, nothing is recent.
test_no_time if {
	"deny_old_build" in {rule | some [rule, _] in findings({
		"object": pod(web), "parameters": build_parameters,
		"images": [{"ref": web, "digest": digest, "authorities": ["build"], "attestations": [good_v1]}],
	})}
}

test_sbom if {
	every case in [
		["https://spdx.dev/Document", set()],
		["https://spdx.dev/Document/v2.3", set()],
		["https://cyclonedx.org/bom", set()],
		["https://cyclonedx.org/bom/v1.6", set()],
		["https://cyclonedx.org/bomb", {"deny_sbom_missing"}],
		[vuln, {"deny_sbom_missing"}],
	] {
		judged([attestation(case[0], "text")], {"sbomRegistries": ["ghcr.io"]}) == case[1]
	}
	judged([], {"sbomRegistries": ["ghcr.io"]}) == {"deny_sbom_missing"}
	judged([], {"sbomRegistries": ["quay.io"]}) == set()
}

scan(authority, finished, report) := object.union(
	attestation(vuln, {"scanner": {"uri": "scanner", "result": report}, "metadata": {"scanFinishedOn": finished}}),
	{"authority": authority},
)

trivy(severities) := {"SchemaVersion": 2, "Results": [{"Target": "a", "Vulnerabilities": [{"VulnerabilityID": id, "Severity": severity} | some id, severity in severities]}, {"Target": "b"}, {"Target": "c", "Vulnerabilities": null}]}

grype(severities) := {"matches": [{"vulnerability": {"id": id, "severity": severity}} | some id, severity in severities], "source": {}}

scans := [
	[[], {}, {"deny_scan_missing"}],
	[[good_v1], {}, {"deny_scan_missing"}],
	[[scan("s", now, trivy({}))], {}, set()],
	[[scan("s", now, {"SchemaVersion": 2})], {}, set()],
	[[scan("s", now, {"SchemaVersion": 2, "Results": null})], {}, set()],
	[[scan("s", now, grype({}))], {}, set()],
	[[scan("s", now, trivy({"CVE-1": "HIGH"}))], {}, set()],
	[[scan("s", now, trivy({"CVE-1": "CRITICAL"}))], {}, {"deny_vulnerable"}],
	[[scan("s", now, grype({"CVE-1": "Critical"}))], {}, {"deny_vulnerable"}],
	[[scan("s", now, grype({"CVE-1": "Critical"}))], {"acceptedVulnerabilities": ["CVE-1"]}, set()],
	[[scan("s", now, grype({"CVE-1": "Critical", "CVE-2": "Critical"}))], {"acceptedVulnerabilities": ["CVE-1"]}, {"deny_vulnerable"}],
	[[scan("s", now, trivy({"CVE-1": "HIGH"}))], {"refusedSeverity": "high"}, {"deny_vulnerable"}],
	[[scan("s", now, trivy({"CVE-1": "MEDIUM"}))], {"refusedSeverity": "high"}, set()],
	[[scan("s", now, trivy({"CVE-1": "LOW"}))], {"refusedSeverity": "low"}, {"deny_vulnerable"}],
	[[scan("s", now, grype({"CVE-1": "Negligible", "CVE-2": "Unknown"}))], {"refusedSeverity": "low"}, set()],
	[[scan("s", now, grype({"CVE-1": "Important"}))], {}, {"deny_vulnerable"}],
	[[scan("s", now, grype({"CVE-1": null}))], {}, {"deny_vulnerable"}],
	[[scan("s", now, {"matches": [{"vulnerability": {"id": 7, "severity": "critical"}}]})], {"acceptedVulnerabilities": ["7"]}, {"deny_vulnerable"}],
]

# The last scan of each authority counts, and no other.
several_scans := [
	[[scan("s", "2026-06-01T00:00:00Z", trivy({"CVE-1": "CRITICAL"})), scan("s", now, trivy({}))], {}, set()],
	[[scan("s", "2026-06-01T00:00:00Z", trivy({})), scan("s", now, trivy({"CVE-1": "CRITICAL"}))], {}, {"deny_vulnerable"}],
	[[scan("t", "2026-06-01T00:00:00Z", trivy({"CVE-1": "CRITICAL"})), scan("s", now, trivy({}))], {}, {"deny_vulnerable"}],
	[[scan("s", now, trivy({"CVE-1": "CRITICAL"})), scan("s", now, trivy({}))], {}, {"deny_vulnerable"}],
	[[scan("s", now, trivy({})), scan("s", "later", trivy({"CVE-1": "CRITICAL"}))], {}, {"deny_unreadable_scan"}],
	[[scan("s", "", trivy({}))], {}, {"deny_unreadable_scan"}],
	[[scan("s", "9999-01-01T00:00:00Z", trivy({}))], {}, {"deny_unreadable_scan"}],
	[[attestation(vuln, "text")], {}, {"deny_unreadable_scan"}],
]

unreadable_scans := [
	[[scan("s", now, null)], {}, {"deny_unreadable_scan"}],
	[[scan("s", now, {})], {}, {"deny_unreadable_scan"}],
	[[scan("s", now, [{"id": "CVE-1"}])], {}, {"deny_unreadable_scan"}],
	[[scan("s", now, {"runs": []})], {}, {"deny_unreadable_scan"}],
	[[scan("s", now, {"SchemaVersion": 2, "Results": "none"})], {}, {"deny_unreadable_scan"}],
	[[scan("s", now, {"SchemaVersion": 2, "Results": ["none"]})], {}, {"deny_unreadable_scan"}],
	[[scan("s", now, {"SchemaVersion": 2, "Results": [{"Vulnerabilities": {"a": {}}}]})], {}, {"deny_unreadable_scan"}],
	[[scan("s", now, {"SchemaVersion": 2, "Results": [{"Vulnerabilities": ["CVE-1"]}]})], {}, {"deny_unreadable_scan"}],
	[[scan("s", now, {"SchemaVersion": "2", "matches": []})], {}, {"deny_unreadable_scan"}],
	[[scan("s", now, {"matches": {}})], {}, {"deny_unreadable_scan"}],
	[[scan("s", now, {"matches": [{}]})], {}, {"deny_unreadable_scan"}],
]

old_scans := [
	[[scan("s", "2026-06-29T12:00:00Z", trivy({}))], {"maxScanAgeDays": 1}, set()],
	[[scan("s", "2026-06-29T11:59:59Z", trivy({}))], {"maxScanAgeDays": 1}, {"deny_old_scan"}],
	[[scan("s", "2026-06-30T12:59:00Z", trivy({}))], {"maxScanAgeDays": 1}, set()],
	[[scan("s", "2026-06-30T13:01:00Z", trivy({}))], {"maxScanAgeDays": 1}, {"deny_old_scan"}],
	[[scan("s", "2020-01-01T00:00:00Z", trivy({}))], {"maxScanAgeDays": 0}, set()],
]

test_scans if every_scan(scans)

test_several_scans if every_scan(several_scans)

test_unreadable_scans if every_scan(unreadable_scans)

test_old_scans if every_scan(old_scans)

every_scan(cases) if {
	every case in cases {
		got := judged(case[0], object.union({"scanRegistries": ["ghcr.io/acme/web"]}, case[1]))
		print(case, "found", got)
		got == case[2]
	}
}

test_messages if {
	every case in [
		["deny_unknown_builder", build_parameters, [v1("https://evil.dev", "", {}, "")], "spec.containers[0].image is %s, built by https://evil.dev: build it with a builder of level 2 or above in the parameter builders"],
		["deny_unknown_builder", build_parameters, [attestation(slsa1, {})], "spec.containers[0].image is %s, built by nothing that it names: build it with a builder of level 2 or above in the parameter builders"],
		["deny_vulnerable", {"scanRegistries": ["ghcr.io"], "refusedSeverity": "high"}, [scan("s", now, trivy({"CVE-2": "HIGH", "CVE-1": "CRITICAL"}))], "spec.containers[0].image is %s, with 2 vulnerabilities of severity high or above, CVE-1, CVE-2: update it, or name them in acceptedVulnerabilities"],
		["deny_old_scan", {"scanRegistries": ["ghcr.io"], "maxScanAgeDays": 7}, [scan("s", "2026-01-01T00:00:00Z", trivy({}))], "spec.containers[0].image is %s, which s scanned last at 2026-01-01T00:00:00Z, not within the last 7 days: scan it again"],
	] {
		got := {result.msg | some result in data.supply_chain[case[0]]} with input as {
			"object": pod(web), "parameters": case[1], "time": now,
			"images": [{"ref": web, "digest": digest, "authorities": ["build"], "attestations": case[2]}],
		}
		got == {sprintf(case[3], [web])}
	}
}

test_wrong_attestation_parameters if judged([], {"refusedSeverity": "CRITICAL"}) == {"deny_wrong_parameters"}
