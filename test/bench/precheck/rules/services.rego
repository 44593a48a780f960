package main

deny contains say("a LoadBalancer of the system is open to everybody") if {
	input.kind == "Service"
	input.spec.type == "LoadBalancer"
	input.metadata.namespace == "kube-system"
	not input.spec.loadBalancerSourceRanges
}

deny contains say(sprintf("external address %s", [address])) if {
	input.kind == "Service"
	some address in input.spec.externalIPs
}

deny contains say(sprintf("external name %s is not in our domain", [input.spec.externalName])) if {
	input.kind == "Service"
	input.spec.type == "ExternalName"
	not endswith(input.spec.externalName, ".example.com")
}

deny contains say(sprintf("node port %d is reserved", [port.nodePort])) if {
	input.kind == "Service"
	some port in input.spec.ports
	port.nodePort < 30100
}

deny contains say("of several ports each needs a name") if {
	input.kind == "Service"
	count(input.spec.ports) > 1
	some port in input.spec.ports
	not port.name
}

deny contains say(sprintf("port %d is for Telnet or FTP", [port.port])) if {
	input.kind == "Service"
	some port in input.spec.ports
	port.port in {20, 21, 23}
}

deny contains say("a Service that selects nothing") if {
	input.kind == "Service"
	input.spec.type != "ExternalName"
	count(input.spec.selector) == 0
}

deny contains say(sprintf("session affinity for %d seconds", [seconds])) if {
	input.kind == "Service"
	seconds := input.spec.sessionAffinityConfig.clientIP.timeoutSeconds
	seconds > 3600
}
