package registration

import (
	"fmt"
	"slices"
	"strings"

	arv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
)

// A Template is what may run in gitgate's own namespace while nobody judges.
type Template struct {
	ServiceAccount string
	Containers     []Container
	Volumes        []string // their names
}

// A Container is one that a [Template] runs, init containers included.
type Container struct {
	Image         string
	Command, Args []string
	Env           []string // name=value; of references the value is empty
	Mounts        []string // paths
}

// TemplateOf pins what a pod template says. Take it from a workload that the lock
// protects.
func TemplateOf(spec corev1.PodSpec) Template {
	t := Template{ServiceAccount: spec.ServiceAccountName}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		pinned := Container{Image: c.Image, Command: c.Command, Args: c.Args}
		for _, e := range c.Env {
			pinned.Env = append(pinned.Env, e.Name+"="+e.Value)
		}
		for _, m := range c.VolumeMounts {
			pinned.Mounts = append(pinned.Mounts, m.MountPath)
		}
		t.Containers = append(t.Containers, pinned)
	}
	for _, v := range spec.Volumes {
		t.Volumes = append(t.Volumes, v.Name)
	}
	return t
}

// accountMount is where the API server itself mounts the token of a Pod.
const accountMount = "/var/run/secrets/kubernetes.io/serviceaccount"

// ownPairs are what brings our Pods back while nobody judges.
func (c Config) ownPairs() []Pair {
	own := namespace(c.Namespace)
	pairs := []Pair{
		{
			Name:  "own-binding",
			When:  all(resource("", "pods"), subresource("binding"), own, operation("CREATE"), user(userScheduler)),
			Rules: []arv1.NamedRuleWithOperations{rule("", creates, "pods/binding")},
			Bounds: []Bound{
				{"!has(object.metadata.annotations) || object.metadata.annotations.size() == 0", "no annotations"},
				{"!has(object.metadata.labels) || object.metadata.labels.all(k, k.startsWith('topology.kubernetes.io/'))", "no labels but the topology"},
			},
		},
		{
			Name:  "own-pod-status",
			When:  all(resource("", "pods"), subresource("status"), own, operation("UPDATE"), node),
			Rules: []arv1.NamedRuleWithOperations{rule("", updates, "pods/status")},
			Bounds: []Bound{
				unchanged("labels", "{}"), unchanged("annotations", "{}"), unchanged("finalizers", "[]"), unchanged("ownerReferences", "[]"),
				{"has(oldObject.spec.nodeName) && request.userInfo.username == 'system:node:' + oldObject.spec.nodeName", "not a Pod of this node"},
			},
		},
		ownRemoval(own),
		{
			Name: "own-endpoints",
			When: all(resource(groupDiscovery, "endpointslices"), mainResource, own, operation("CREATE", "UPDATE"),
				controller("endpointslice-controller")),
			Rules: []arv1.NamedRuleWithOperations{rule(groupDiscovery, writes, "endpointslices")},
			Bounds: []Bound{
				plain()[0],
				{"has(object.metadata.ownerReferences) && object.metadata.ownerReferences.all(o, o.kind == 'Service')", "it belongs to a Service"},
			},
		},
		ownTokens(own),
	}
	if c.Secret != "" {
		pairs = append(pairs, c.ownSecret(own))
	}
	if c.OwnPods != nil {
		if templates := c.OwnPods(); len(templates) > 0 {
			pairs = append(pairs, ownPods(own, templates))
		}
	}
	return pairs
}

// ownRemoval lets kubelets finish Pods, and lets those of dead nodes go, which
// their ReplicaSet would count otherwise.
func ownRemoval(own string) Pair {
	return Pair{
		Name: "own-removal",
		When: all(resource("", "pods"), mainResource, own, operation("DELETE"),
			either(node, controller("taint-eviction-controller", "node-controller", "pod-garbage-collector"))),
		Rules: []arv1.NamedRuleWithOperations{rule("", deletes, "pods")},
		Bounds: []Bound{
			{"!request.userInfo.username.startsWith('system:node:') || (has(oldObject.metadata.deletionTimestamp) && has(oldObject.spec.nodeName) && " +
				"request.userInfo.username == 'system:node:' + oldObject.spec.nodeName)", "a node removes its own Pods, and when they are being deleted"},
		},
	}
}

func ownTokens(own string) Pair {
	return Pair{
		Name:  "own-tokens",
		When:  all(resource("", "serviceaccounts"), subresource("token"), own, operation("CREATE"), node),
		Rules: []arv1.NamedRuleWithOperations{rule("", creates, "serviceaccounts/token")},
		Bounds: []Bound{
			notDry,
			{bound + " && object.spec.boundObjectRef.kind == 'Pod'", "a node asks for tokens that are bound to its Pods"},
		},
	}
}

// ownSecret is where our certificates live: with both replicas down and the
// certificate run out, nobody else could judge its renewal.
func (c Config) ownSecret(own string) Pair {
	return Pair{
		Name: "own-certificates",
		When: all(resource("", "secrets"), mainResource, own, operation("CREATE", "UPDATE"), user(c.Webhook),
			"has(request.name) && request.name == "+quote(c.Secret)),
		Rules: []arv1.NamedRuleWithOperations{rule("", writes, "secrets")},
		Bounds: append(plain(),
			Bound{"object.type == 'kubernetes.io/tls'", "it holds certificates and nothing else"},
			Bound{"object.data.all(k, k.endsWith('.crt') || k.endsWith('.key'))", "it holds certificates and nothing else"},
		),
	}
}

// ownPods lets ReplicaSets make our Pods again, and no others.
func ownPods(own string, templates []Template) Pair {
	var accounts, volumes, containers []string
	for _, t := range templates {
		accounts = append(accounts, t.ServiceAccount)
		volumes = append(volumes, t.Volumes...)
		for _, c := range t.Containers {
			containers = append(containers, "("+c.expression()+")")
		}
	}
	slices.Sort(containers)
	slices.Sort(accounts)
	slices.Sort(volumes)
	pinned := func(field string) string {
		return fmt.Sprintf("(has(object.spec.%[1]s) ? object.spec.%[1]s : []).all(c, %[2]s)",
			field, strings.Join(slices.Compact(containers), " || "))
	}
	return Pair{
		Name: "own-pods",
		When: all(resource("", "pods"), mainResource, own, operation("CREATE"), controller("replicaset-controller")),
		Rules: []arv1.NamedRuleWithOperations{
			rule("", creates, "pods"),
		},
		Bounds: []Bound{
			{pinned("containers"), "not a container that gitgate's own workloads run"},
			{pinned("initContainers"), "not a container that gitgate's own workloads run"},
			{"has(object.spec.serviceAccountName) && object.spec.serviceAccountName in " + list(slices.Compact(accounts)), "not an account of gitgate's own workloads"},
			{"(has(object.spec.volumes) ? object.spec.volumes : []).all(v, !has(v.hostPath) && (v.name.startsWith('kube-api-access-') ? has(v.projected) : v.name in " +
				list(slices.Compact(volumes)) + "))", "not a volume of gitgate's own workloads"},
			{"!(has(object.spec.hostNetwork) && object.spec.hostNetwork) && !(has(object.spec.hostPID) && object.spec.hostPID) && " +
				"!(has(object.spec.hostIPC) && object.spec.hostIPC)", "no namespaces of the host"},
		},
	}
}

// expression holds of a container c of a Pod that is this one.
func (c Container) expression() string {
	same := func(field string, want []string) string {
		return fmt.Sprintf("(has(c.%[1]s) ? c.%[1]s : []) == %[2]s", field, list(want))
	}
	conditions := []string{
		"c.image == " + quote(c.Image), same("command", c.Command), same("args", c.Args),
		"(has(c.env) ? c.env : []).map(e, e.name + '=' + (has(e.value) ? e.value : '')) == " + list(c.Env),
		"!has(c.envFrom)", "!has(c.lifecycle)",
		"(has(c.volumeMounts) ? c.volumeMounts : []).all(m, m.mountPath in " + list(append(slices.Clone(c.Mounts), accountMount)) + ")",
		"!(has(c.securityContext) && has(c.securityContext.privileged) && c.securityContext.privileged)",
	}
	for _, probe := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
		conditions = append(conditions, fmt.Sprintf("!(has(c.%[1]s) && has(c.%[1]s.exec))", probe))
	}
	return strings.Join(conditions, " && ")
}
