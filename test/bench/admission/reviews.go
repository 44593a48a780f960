package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// A workload says how much requests have in common.
type workload string

const (
	everyNew  workload = "every request new"
	repeating workload = "4 of 5 repeat a pod template"
	// podsNew has Pods alone: they are what Gatekeeper's templates are about.
	podsNew workload = "ten templates of Gatekeeper, every Pod new"
)

// A generator makes reviews. The same seed makes the same ones.
type generator struct {
	r    *rand.Rand
	seen []podTemplate
}

func newGenerator(seed uint64) *generator {
	return &generator{r: rand.New(rand.NewPCG(seed, 0x61646d697373696f))}
}

// reviews makes n AdmissionReviews, Pods and Deployments in turn unless the workload
// says other.
func (g *generator) reviews(w workload, n int) ([][]byte, error) {
	out := make([][]byte, n)
	for i := range out {
		t := podTemplate{}
		if w == repeating && i%5 != 0 {
			t = g.seen[g.r.IntN(len(g.seen))]
		} else {
			t = g.template(i/5%2 == 0)
			g.seen = append(g.seen, t)
		}
		switch w {
		case everyNew:
			t.isPod = i%2 == 0
		case podsNew:
			t.isPod = true
		}
		review := g.deployment(t)
		if t.isPod {
			review = g.pod(t)
		}
		raw, err := json.Marshal(review)
		if err != nil {
			return nil, err
		}
		out[i] = raw
	}
	return out, nil
}

// A podTemplate is what a team deploys.
type podTemplate struct {
	isPod           bool
	name, namespace string
	labels          object
	annotations     object
	spec            object
	hash            string
}

type (
	object = map[string]any
	list   = []any
)

// namespaces are where the objects are; they exist.
var namespaces = []string{"payments", "search", "shop", "identity", "media", "billing", "platform", "reports"}

const lowerCase = "abcdefghijklmnopqrstuvwxyz"

func (g *generator) word(n int) string { return g.text(lowerCase, n) }
func (g *generator) hex(n int) string  { return g.text("0123456789abcdef", n) }

// suffix is what the API server appends to generated names.
func (g *generator) suffix() string { return g.text("bcdfghjklmnpqrstvwxz2456789", 5) }

func (g *generator) text(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[g.r.IntN(len(alphabet))]
	}
	return string(b)
}

func (g *generator) pick(of ...string) string { return of[g.r.IntN(len(of))] }

func (g *generator) uid() string {
	return strings.Join([]string{g.hex(8), g.hex(4), "4" + g.hex(3), "8" + g.hex(3), g.hex(12)}, "-")
}

// template makes a pod template that is unlike any other.
func (g *generator) template(isPod bool) podTemplate {
	app := g.word(6) + "-" + g.pick("api", "web", "worker", "gateway", "billing", "search")
	t := podTemplate{
		isPod: isPod, name: app, namespace: g.pick(namespaces...), hash: g.suffix() + g.suffix(),
		labels: object{
			"app.kubernetes.io/name": app, "app.kubernetes.io/instance": app + "-" + g.word(4),
			"app.kubernetes.io/version":   fmt.Sprintf("%d.%d.%d", g.r.IntN(9), g.r.IntN(40), g.r.IntN(90)),
			"app.kubernetes.io/component": g.pick("frontend", "backend", "cache"), "team": "team-" + g.word(5),
		},
		annotations: object{
			"prometheus.io/scrape": "true", "prometheus.io/port": "9090", "prometheus.io/path": "/metrics",
			"checksum/config": g.hex(64), "kubectl.kubernetes.io/restartedAt": "2026-11-20T08:15:30Z",
		},
	}
	containers := list{g.container(app, true)}
	for range g.r.IntN(2) {
		containers = append(containers, g.container(g.word(5)+"-"+g.pick("proxy", "agent", "exporter"), true))
	}
	t.spec = object{
		"containers":     containers,
		"initContainers": list{g.container("init-"+g.word(4), false)},
		"volumes": list{
			object{"name": "config", "configMap": object{"name": app + "-config", "defaultMode": 420}},
			object{"name": "tls", "secret": object{"secretName": app + "-tls", "defaultMode": 420}},
			object{"name": "tmp", "emptyDir": object{"sizeLimit": g.pick("64Mi", "256Mi", "1Gi")}},
		},
		"serviceAccountName": app, "serviceAccount": app, "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
		"schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30 + g.r.IntN(60),
		"securityContext": object{"runAsNonRoot": true, "fsGroup": 1000 + g.r.IntN(9000), "seccompProfile": object{"type": "RuntimeDefault"}},
		"affinity": object{"podAntiAffinity": object{"preferredDuringSchedulingIgnoredDuringExecution": list{object{
			"weight": 100, "podAffinityTerm": object{
				"labelSelector": object{"matchLabels": object{"app.kubernetes.io/name": app}}, "topologyKey": "kubernetes.io/hostname",
			},
		}}}},
		"topologySpreadConstraints": list{object{
			"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway",
			"labelSelector": object{"matchLabels": object{"app.kubernetes.io/name": app}},
		}},
	}
	for g.r.IntN(8) == 0 { // now and then more than one
		g.spoil(&t)
	}
	return t
}

// container makes a container as the API server stores it. The token of the
// service account is mounted last.
func (g *generator) container(name string, serves bool) object {
	env := list{object{"name": "POD_NAME", "valueFrom": object{"fieldRef": object{"apiVersion": "v1", "fieldPath": "metadata.name"}}}}
	for range 3 + g.r.IntN(3) {
		env = append(env, object{"name": strings.ToUpper(g.word(5) + "_" + g.pick("URL", "HOST", "TIMEOUT", "MODE")), "value": g.word(8 + g.r.IntN(24))})
	}
	env = append(env, object{"name": strings.ToUpper(g.word(6)) + "_PASSWORD", "valueFrom": object{
		"secretKeyRef": object{"name": name + "-" + g.word(4), "key": "password"}}})
	c := object{
		"name": name, "image": fmt.Sprintf("registry.example.com/%s/%s:%d.%d.%d@sha256:%s", g.word(6), name, g.r.IntN(9), g.r.IntN(40), g.r.IntN(90), g.hex(64)),
		"imagePullPolicy": "IfNotPresent", "env": env,
		"args": list{"--config=/etc/" + g.word(5) + "/config.yaml", "--log-level=" + g.pick("info", "warn", "debug")},
		"resources": object{
			"requests": object{"cpu": fmt.Sprintf("%dm", 10+g.r.IntN(500)), "memory": fmt.Sprintf("%dMi", 32+g.r.IntN(500))},
			"limits":   object{"cpu": fmt.Sprintf("%dm", 500+g.r.IntN(4000)), "memory": fmt.Sprintf("%dMi", 500+g.r.IntN(4000))},
		},
		"securityContext": object{
			"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsUser": 1000 + g.r.IntN(9000),
			"capabilities": object{"drop": list{"ALL"}},
		},
		"volumeMounts": list{
			object{"name": "config", "mountPath": "/etc/" + g.word(5), "readOnly": true},
			object{"name": "tls", "mountPath": "/tls", "readOnly": true}, object{"name": "tmp", "mountPath": "/tmp"},
		},
		"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
	}
	if serves {
		port := 1024 + g.r.IntN(60000)
		c["ports"] = list{object{"name": "http", "containerPort": port, "protocol": "TCP"}, object{"name": "metrics", "containerPort": 9090, "protocol": "TCP"}}
		probe := func(path string) object {
			return object{"httpGet": object{"path": path, "port": port, "scheme": "HTTP"}, "initialDelaySeconds": g.r.IntN(30),
				"periodSeconds": 10, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3}
		}
		c["readinessProbe"], c["livenessProbe"] = probe("/ready"), probe("/healthz")
	}
	return c
}

// spoil breaks one of the rules.
func (g *generator) spoil(t *podTemplate) {
	containers := t.spec["containers"].(list)
	c := containers[g.r.IntN(len(containers))].(object)
	context := c["securityContext"].(object)
	switch g.r.IntN(10) {
	case 0:
		delete(t.labels, "team")
	case 1:
		c["image"] = "docker.io/" + g.word(6) + "/" + g.word(5) + ":1.0"
	case 2:
		c["image"] = "registry.example.com/" + g.word(6) + "/" + g.word(5) + g.pick("", ":latest")
	case 3:
		delete(c["resources"].(object)["limits"].(object), "memory")
	case 4:
		context["privileged"] = true
	case 5:
		delete(context, "allowPrivilegeEscalation")
	case 6:
		context["capabilities"] = object{"add": list{g.pick("SYS_ADMIN", "NET_RAW")}, "drop": list{"ALL"}}
	case 7:
		t.spec["hostNetwork"] = true
	case 8:
		t.spec["volumes"] = append(t.spec["volumes"].(list), object{"name": "host", "hostPath": object{"path": "/var/" + g.word(4), "type": ""}})
	case 9:
		delete(c, "readinessProbe")
	}
}

// pod is the request of a ReplicaSet for one more Pod.
func (g *generator) pod(t podTemplate) object {
	token := "kube-api-access-" + g.suffix()
	spec := copied(t.spec).(object)
	for _, field := range []string{"containers", "initContainers"} {
		for _, c := range spec[field].(list) {
			c := c.(object)
			c["volumeMounts"] = append(c["volumeMounts"].(list), object{
				"name": token, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true})
		}
	}
	spec["volumes"] = append(spec["volumes"].(list), object{"name": token, "projected": object{"defaultMode": 420, "sources": list{
		object{"serviceAccountToken": object{"expirationSeconds": 3607, "path": "token"}},
		object{"configMap": object{"name": "kube-root-ca.crt", "items": list{object{"key": "ca.crt", "path": "ca.crt"}}}},
		object{"downwardAPI": object{"items": list{object{"path": "namespace", "fieldRef": object{"apiVersion": "v1", "fieldPath": "metadata.namespace"}}}}},
	}}})
	spec["enableServiceLinks"], spec["preemptionPolicy"], spec["priority"] = true, "PreemptLowerPriority", 0
	spec["tolerations"] = list{
		object{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
		object{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
	}
	labels := copied(t.labels).(object)
	labels["pod-template-hash"] = t.hash
	replicaSet := t.name + "-" + t.hash
	pod := object{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": object{
			"name": replicaSet + "-" + g.suffix(), "generateName": replicaSet + "-", "namespace": t.namespace,
			"uid": g.uid(), "creationTimestamp": "2026-11-22T01:02:03Z", "labels": labels, "annotations": t.annotations,
			"ownerReferences": list{object{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": replicaSet,
				"uid": g.uid(), "controller": true, "blockOwnerDeletion": true}},
		},
		"spec": spec, "status": object{"phase": "Pending", "qosClass": "Burstable"},
	}
	return g.review(pod, object{"group": "", "version": "v1", "kind": "Pod"}, object{"group": "", "version": "v1", "resource": "pods"},
		"kube-controller-manager", object{"username": "system:serviceaccount:kube-system:replicaset-controller", "uid": g.uid(),
			"groups": list{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"}})
}

// deployment is a person's request for a Deployment.
func (g *generator) deployment(t podTemplate) object {
	d := object{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": object{
			"name": t.name + "-" + g.word(4), "namespace": t.namespace, "uid": g.uid(), "generation": 1,
			"creationTimestamp": "2026-11-22T01:02:03Z", "labels": t.labels,
		},
		"spec": object{
			"replicas": 1 + g.r.IntN(9), "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
			"selector": object{"matchLabels": object{"app.kubernetes.io/name": t.labels["app.kubernetes.io/name"]}},
			"strategy": object{"type": "RollingUpdate", "rollingUpdate": object{"maxSurge": "25%", "maxUnavailable": "25%"}},
			"template": object{"metadata": object{"labels": t.labels, "annotations": t.annotations}, "spec": copied(t.spec)},
		},
		"status": object{},
	}
	return g.review(d, object{"group": "apps", "version": "v1", "kind": "Deployment"}, object{"group": "apps", "version": "v1", "resource": "deployments"},
		"kubectl", object{"username": "ci-" + g.word(4) + "@example.com", "groups": list{"deployers", "system:authenticated"}})
}

// review wraps an object as admission.k8s.io/v1 says.
func (g *generator) review(o, kind, resource object, manager string, user object) object {
	meta := o["metadata"].(object)
	fields := object{"f:metadata": object{"f:labels": owned(meta["labels"])}, "f:spec": owned(o["spec"])}
	meta["managedFields"] = list{object{"manager": manager, "operation": "Update", "apiVersion": o["apiVersion"],
		"time": "2026-11-22T01:02:03Z", "fieldsType": "FieldsV1", "fieldsV1": fields}}
	return object{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
		"request": object{
			"uid": g.uid(), "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
			"name": meta["name"], "namespace": meta["namespace"], "operation": "CREATE", "userInfo": user,
			"object": o, "oldObject": nil, "dryRun": false,
			"options": object{"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions", "fieldManager": manager},
		},
	}
}

// owned is a value as managedFields names it (FieldsV1).
func owned(v any) any {
	out := object{}
	switch v := v.(type) {
	case object:
		for k, f := range v {
			out["f:"+k] = owned(f)
		}
	case list:
		for _, f := range v {
			if f, ok := f.(object); ok {
				if name, ok := f["name"].(string); ok {
					fields := owned(f).(object)
					fields["."] = object{}
					out[fmt.Sprintf(`k:{"name":%q}`, name)] = fields
				}
			}
		}
	}
	return out
}

// copied copies objects and lists.
func copied(v any) any {
	switch v := v.(type) {
	case object:
		out := make(object, len(v))
		for k, f := range v {
			out[k] = copied(f)
		}
		return out
	case list:
		out := make(list, len(v))
		for i, f := range v {
			out[i] = copied(f)
		}
		return out
	}
	return v
}
