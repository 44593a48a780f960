# Pods and the templates of workloads. The rules of the benchmark are the same
# text for gitgate and for Gatekeeper, which calls the object input.review.object.
package lib.workload

controllers := {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"}

spec := input.object.spec if input.object.kind == "Pod"

spec := input.object.spec.template.spec if input.object.kind in controllers

containers contains container if some container in spec.containers

containers contains container if some container in spec.initContainers

containers contains container if some container in spec.ephemeralContainers
