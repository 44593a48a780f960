package supply_chain

import data.lib.parameters

# METADATA
# title: Images without a bill of materials
# description: Images of the registries in the parameter sbomRegistries have a bill of materials, SPDX or CycloneDX, that an authority signed. It needs to know what was attested; a door that does not cannot decide.
# custom:
#   severity: medium
#   remediation: Attest one when the image is built, and have the TrustPolicy ask for it.
#   references:
#   - NSA Building secure container images
deny_sbom_missing contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, image in covered(parameters.get("sbomRegistries", []))
	not has_sbom(image)
	msg := sprintf("%s is %s, of which no bill of materials was verified: attest one, and have the TrustPolicy ask for spdxjson or cyclonedx", [path, image.text])
}

has_sbom(image) if {
	some attestation in attested(image)
	of_type(attestation, sbom_types)
}

# The scans of an image, with when each was finished.
scans(image) := [{"scanner": [attestation.name, attestation.authority], "finished": finished, "report": report} |
	some attestation in attested(image)
	attestation.predicateType == "https://cosign.sigstore.dev/attestation/vuln/v1"
	finished := text_at(predicate_of(attestation), ["metadata", "scanFinishedOn"])
	report := object.get(predicate_of(attestation), ["scanner", "result"], null)
]

# A scan that does not say when it was cannot be put in order, and could hide behind
# any other.
undated(image) := [scan |
	some scan in scans(image)
	not is_time(scan.finished)
]

# The last scan of each authority: what an earlier one says is history.
current_scans(image) := [scan |
	all := scans(image)
	some scan in all
	is_time(scan.finished)
	not superseded(scan, all)
]

superseded(scan, all) if {
	some other in all
	other.scanner == scan.scanner
	is_time(other.finished)
	time.parse_rfc3339_ns(other.finished) > time.parse_rfc3339_ns(scan.finished)
}

# METADATA
# title: Images that were not scanned
# description: Images of the registries in the parameter scanRegistries have been scanned for vulnerabilities, and an authority signed the report. It needs to know what was attested; a door that does not cannot decide.
# custom:
#   severity: high
#   remediation: Scan the image, attest the report, and have the TrustPolicy ask for it.
#   references:
#   - NSA Building secure container images
deny_scan_missing contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, image in covered(parameters.get("scanRegistries", []))
	scans(image) == []
	msg := sprintf("%s is %s, of which no scan was verified: attest one, and have the TrustPolicy ask for vuln", [path, image.text])
}

# METADATA
# title: Unreadable scans
# description: A scan says when it was finished and what it found, in the format of Trivy or Grype. What cannot be read might hold anything. It needs to know what was attested; a door that does not cannot decide.
# custom:
#   severity: high
#   remediation: Attest the report as `cosign attest --type vuln` wants it.
deny_unreadable_scan contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, image in covered(parameters.get("scanRegistries", []))
	some scan in undated(image)
	msg := sprintf("%s is %s, of which a scan by %s does not say when it was finished: set metadata.scanFinishedOn", [path, image.text, scan.scanner[1]])
}

deny_unreadable_scan contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, image in covered(parameters.get("scanRegistries", []))
	some scan in current_scans(image)
	not readable(scan.report)
	msg := sprintf("%s is %s, of which the report of a scan by %s cannot be read: it must be that of Trivy or Grype, as JSON", [path, image.text, scan.scanner[1]])
}

# METADATA
# title: Old scans
# description: The last scan finished no more days ago than the parameter maxScanAgeDays, if it is given. It is judged when the object is, and again when the object changes or is made anew. It needs to know what was attested and what time it is; a door that does not cannot decide.
# custom:
#   severity: medium
#   remediation: Scan the image again, and attest the report.
deny_old_scan contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	days := parameters.get("maxScanAgeDays", 0)
	days > 0
	some path, image in covered(parameters.get("scanRegistries", []))
	some scan in current_scans(image)
	not within(scan.finished, days)
	msg := sprintf("%s is %s, which %s scanned last at %s, not within the last %d days: scan it again", [path, image.text, scan.scanner[1], scan.finished, days])
}

# METADATA
# title: Vulnerable images
# description: The last scan found no vulnerability of the severity in the parameter refusedSeverity, or above, but those in acceptedVulnerabilities. A severity that is none of Trivy's or Grype's counts as critical. It needs to know what was attested; a door that does not cannot decide.
# custom:
#   severity: critical
#   remediation: Update what is vulnerable and build the image anew, or accept the vulnerability by name.
#   references:
#   - NSA Building secure container images
deny_vulnerable contains {"field": path, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	some path, image in covered(parameters.get("scanRegistries", []))
	ids := {id | some scan in current_scans(image); some id in refused(scan.report)}
	ids != set()
	msg := sprintf("%s is %s, with %d vulnerabilities of severity %s or above, %s: update it, or name them in acceptedVulnerabilities", [path, image.text, count(ids), threshold, concat(", ", array.slice(sort(ids), 0, 5))])
}

threshold := parameters.get("refusedSeverity", "critical")

severities := {"unknown": 0, "negligible": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}

refused(report) := {found.id |
	some found in reported(report)
	rank(found.severity) >= severities[threshold]
	not found.id in parameters.get("acceptedVulnerabilities", [])
}

rank(severity) := severities[lower(severity)] if is_string(severity)

rank(severity) := 5 if {
	is_string(severity)
	not lower(severity) in object.keys(severities)
}

rank(severity) := 5 if not is_string(severity)

# What a report lists: of Trivy by targets, of Grype as matches.
reported(report) := [found |
	some target in list_or_empty(object.get(report, "Results", []))
	some item in list_or_empty(object.get(target, "Vulnerabilities", []))
	found := {"id": name_of(item, "VulnerabilityID"), "severity": object.get(item, "Severity", null)}
] if is_trivy(report)

reported(report) := [found |
	some match in report.matches
	found := {"id": name_of(match.vulnerability, "id"), "severity": object.get(match.vulnerability, "severity", null)}
] if is_grype(report)

name_of(item, key) := item[key] if is_string(item[key])

name_of(item, key) := "one without a name" if not is_string(item[key])

# A report that can be read through to its end.
readable(report) if is_trivy(report)

readable(report) if is_grype(report)

is_trivy(report) if {
	is_object(report)
	is_number(report.SchemaVersion)
	every target in list_or_empty(object.get(report, "Results", [])) {
		is_object(target)
		every item in list_or_empty(object.get(target, "Vulnerabilities", [])) {
			is_object(item)
		}
	}
}

is_grype(report) if {
	is_object(report)
	not report.SchemaVersion
	is_array(report.matches)
	every match in report.matches {
		is_object(match.vulnerability)
	}
}

list_or_empty(list) := list if is_array(list)

list_or_empty(null) := []
