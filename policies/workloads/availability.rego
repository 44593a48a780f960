package workloads

import data.lib.parameters
import data.lib.pod

# METADATA
# title: Readiness probes
# description: Without a readiness probe traffic comes to a container that cannot serve it, and a rollout goes on over broken pods.
# custom:
#   severity: medium
#   remediation: Add a readinessProbe.
deny_readiness_probe_missing contains {"field": field, "msg": msg} if {
	input.object.kind in {"DaemonSet", "Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"}
	pod.prefix
	some path, container in serving
	not has_readiness_probe(container)
	field := concat(".", [path, "readinessProbe"])
	msg := sprintf("%s is missing: add one", [field])
}

has_readiness_probe(container) if {
	is_object(container.readinessProbe)
	container.readinessProbe != {}
}

# METADATA
# title: Liveness probes
# description: Without a liveness probe a container that hangs is never started again.
# custom:
#   severity: low
#   remediation: Add a livenessProbe.
warn_liveness_probe_missing contains {"field": field, "msg": msg} if {
	input.object.kind in {"DaemonSet", "Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"}
	pod.prefix
	some path, container in serving
	not has_liveness_probe(container)
	field := concat(".", [path, "livenessProbe"])
	msg := sprintf("%s is missing: add one that fails only when a restart is the cure", [field])
}

has_liveness_probe(container) if {
	is_object(container.livenessProbe)
	container.livenessProbe != {}
}

# METADATA
# title: Probes that are the same
# description: A container that is not ready for a while is killed when its liveness probe asks the same in the same way.
# custom:
#   severity: low
#   remediation: Give the livenessProbe another endpoint, or a higher failureThreshold.
warn_probes_equal contains {"field": field, "msg": msg} if {
	input.object.kind in {"DaemonSet", "Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"}
	pod.prefix
	some path, container in serving
	is_object(container.livenessProbe)
	container.livenessProbe == container.readinessProbe
	field := concat(".", [path, "livenessProbe"])
	msg := sprintf("%s is the same as the readinessProbe: use another endpoint or a higher failureThreshold", [field])
}

# Where replicas are left out, an autoscaler says how many there are, or there is one.
several_replicas if {
	replicas := input.object.spec.replicas
	not replicas in {0, 1, null}
}

# METADATA
# title: Spread
# description: Several replicas on one node fall together with it.
# custom:
#   severity: medium
#   remediation: Add topologySpreadConstraints, or a podAntiAffinity.
deny_replicas_not_spread contains {"field": field, "msg": msg} if {
	input.object.kind in {"Deployment", "StatefulSet"}
	startswith(input.object.apiVersion, "apps/")
	several_replicas
	not spread
	field := pod.at("spec.topologySpreadConstraints")
	msg := sprintf("%s is missing for %v replicas: spread them over nodes or zones", [field, input.object.spec.replicas])
}

spread if some _ in pod.spec.topologySpreadConstraints

spread if {
	some way in {"requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"}
	some _ in pod.spec.affinity.podAntiAffinity[way]
}

# METADATA
# title: Few replicas
# description: A Deployment with fewer replicas than the parameter minReplicas is down while its pod moves. Replicas that are left to an autoscaler are not looked at.
# custom:
#   severity: low
#   remediation: Raise spec.replicas.
warn_few_replicas contains {"field": "spec.replicas", "msg": msg} if {
	input.object.kind == "Deployment"
	startswith(input.object.apiVersion, "apps/")
	replicas := input.object.spec.replicas
	is_number(replicas)
	replicas > 0
	least := parameters.get("minReplicas", 2)
	replicas < least
	msg := sprintf("spec.replicas is %v: use %v or more, so that one pod can go", [replicas, least])
}

# METADATA
# title: Rollouts that stop everything
# description: A rollout that may take all replicas at once is an outage.
# custom:
#   severity: medium
#   remediation: Use RollingUpdate with a maxUnavailable below 100%.
deny_rollout_stops_all contains {"field": "spec.strategy", "msg": msg} if {
	input.object.kind == "Deployment"
	startswith(input.object.apiVersion, "apps/")
	several_replicas
	stops_all
	msg := "spec.strategy may stop all replicas at once: use RollingUpdate with a maxUnavailable below 100%"
}

stops_all if input.object.spec.strategy.type == "Recreate"

stops_all if input.object.spec.strategy.rollingUpdate.maxUnavailable == "100%"

stops_all if {
	most := input.object.spec.strategy.rollingUpdate.maxUnavailable
	is_number(most)
	most >= input.object.spec.replicas
}

# METADATA
# title: Budgets that block drains
# description: A PodDisruptionBudget that allows no disruption keeps nodes from being drained and so from being updated.
# custom:
#   severity: medium
#   remediation: Allow one pod to go - maxUnavailable 1.
deny_budget_blocks_drains contains {"field": field, "msg": msg} if {
	input.object.kind == "PodDisruptionBudget"
	startswith(input.object.apiVersion, "policy/")
	some name, values in {"maxUnavailable": {0, "0", "0%"}, "minAvailable": {"100%"}}
	value := input.object.spec[name]
	value in values
	field := concat(".", ["spec", name])
	msg := sprintf("%s is %v, which allows no pod to be evicted: let one go", [field, value])
}

# METADATA
# title: No time to stop
# description: A grace period of 0 kills processes in the middle of their work.
# custom:
#   severity: low
#   remediation: Remove terminationGracePeriodSeconds, or give it the time that stopping takes.
deny_no_grace contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet"}
	pod.spec.terminationGracePeriodSeconds == 0
	field := pod.at("spec.terminationGracePeriodSeconds")
	msg := sprintf("%s is 0, which kills the pod at once: remove it", [field])
}

# METADATA
# title: Pods without a controller
# description: A Pod of its own is not made again when its node goes.
# custom:
#   severity: medium
#   remediation: Use a Deployment, StatefulSet, DaemonSet or Job.
warn_bare_pod contains {"field": "metadata.ownerReferences", "msg": msg} if {
	input.object.kind == "Pod"
	pod.prefix == ""
	not owned
	msg := "this Pod has no controller that makes it again: use a Deployment, StatefulSet, DaemonSet or Job"
}

owned if some _ in input.object.metadata.ownerReferences

# METADATA
# title: Jobs without an end
# description: A Job that hangs runs for ever unless it has a deadline.
# custom:
#   severity: low
#   remediation: Set activeDeadlineSeconds.
warn_job_without_deadline contains {"field": field, "msg": msg} if {
	input.object.kind in {"CronJob", "Job"}
	startswith(input.object.apiVersion, "batch/")
	not has_deadline
	field := concat("", [trim_suffix(pod.prefix, "template."), "activeDeadlineSeconds"])
	msg := sprintf("%s is missing: set it, or a Job that hangs runs for ever", [field])
}

has_deadline if is_number(input.object.spec.activeDeadlineSeconds)

has_deadline if is_number(input.object.spec.jobTemplate.spec.activeDeadlineSeconds)

has_deadline if is_number(pod.spec.activeDeadlineSeconds)

# METADATA
# title: CronJobs that overlap
# description: A run that takes longer than planned meets the next one, unless that is forbidden.
# custom:
#   severity: low
#   remediation: Set concurrencyPolicy to Forbid or Replace.
warn_cron_job_overlaps contains {"field": "spec.concurrencyPolicy", "msg": msg} if {
	input.object.kind == "CronJob"
	startswith(input.object.apiVersion, "batch/")
	not runs_apart
	msg := "spec.concurrencyPolicy lets runs overlap: set it to Forbid or Replace"
}

runs_apart if input.object.spec.concurrencyPolicy in {"Forbid", "Replace"}
