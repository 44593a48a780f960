# What the rules share. They are written as for conftest: the input is the object.
package main

workloads := {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"}

# pod is the specification of the object's pods.
pod := input.spec if input.kind == "Pod"

pod := input.spec.template.spec if input.kind in workloads

containers contains container if some container in pod.containers

containers contains container if some container in pod.initContainers

# say names the object.
say(what) := sprintf("%s %s: %s", [input.kind, input.metadata.name, what])
