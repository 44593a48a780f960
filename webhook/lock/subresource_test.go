package lock_test

import (
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

const (
	liveWeb = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, uid: d1, labels: {app: web}}, spec: {replicas: 2, selector: {matchLabels: {app: web}},
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: "example.com/web:1"}]}}}}`
	liveSet = `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-abc, namespace: shop, uid: r1, labels: {app: web, pod-template-hash: abc}, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: d1, controller: true}]},
  spec: {replicas: 2, selector: {matchLabels: {app: web, pod-template-hash: abc}}, template: {metadata: {labels: {app: web, pod-template-hash: abc}}, spec: {containers: [{name: app, image: "example.com/web:1"}]}}}}`
	livePod = `{apiVersion: v1, kind: Pod, metadata: {name: web-abc-1, namespace: shop, uid: p1, labels: {app: web, pod-template-hash: abc}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-abc, uid: r1, controller: true}]},
  spec: {nodeName: n1, containers: [{name: app, image: "example.com/web:1"}]}}`
	bare    = `{apiVersion: v1, kind: Pod, metadata: {name: bare, namespace: shop}, spec: {containers: [{name: c, image: "b:1"}]}}`
	account = `{apiVersion: v1, kind: ServiceAccount, metadata: {name: app, namespace: shop}}`
)

// shop is a closed namespace with a Deployment, its children, a Pod and an account.
func shop(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.release(func(r *lock.Release) { r.Namespaces = []string{"shop"} }, w.object(liveWeb), w.object(bare), w.object(account),
		w.object(`{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {pod-security.kubernetes.io/enforce: restricted}}}`),
		w.object(`{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{port: 80}]}}`))
	w.own(liveWeb)
	w.own(liveSet)
	w.own(livePod)
	return w
}

func scale(name string, n string) string {
	return `{apiVersion: autoscaling/v1, kind: Scale, metadata: {name: ` + name + `, namespace: shop}, spec: {replicas: ` + n + `}}`
}

var (
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	replicasets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
	podResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	accounts    = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	nodes       = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
)

func TestSubresources(t *testing.T) {
	w := shop(t)
	const (
		exec    = `{apiVersion: v1, kind: PodExecOptions, command: [sh]}`
		evict   = `{apiVersion: policy/v1, kind: Eviction, metadata: {name: NAME, namespace: shop}}`
		binding = `{apiVersion: v1, kind: Binding, metadata: {name: web-abc-1, namespace: shop}, target: {kind: Node, name: n1}}`
		token   = `{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, metadata: {name: app, namespace: shop}, spec: {audiences: [x]}}`
		bound   = `{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, metadata: {name: app, namespace: shop}, spec: {boundObjectRef: {kind: Pod, apiVersion: v1, name: web-abc-1}}}`
	)
	ready := edit(livePod, "spec: {nodeName", "status: {phase: Running}, spec: {nodeName")
	for name, tc := range map[string]struct {
		reason string
		try    try
		want   want
	}{
		"K5/Scale":             {"Git says how many.", try{user: alice, op: admissionv1.Update, sub: "scale", resource: deployments, old: scale("web", "2"), new: scale("web", "9")}, verdict.SubresourceDenied},
		"K5/ScaleAutoscaler":   {"Without an autoscaler in Git nobody scales.", try{user: controller("horizontal-pod-autoscaler"), op: admissionv1.Update, sub: "scale", resource: deployments, old: scale("web", "2"), new: scale("web", "9")}, verdict.SubresourceDenied},
		"ScaleBack":            {"Towards what Git says anybody may.", try{user: alice, op: admissionv1.Update, sub: "scale", resource: deployments, old: scale("web", "9"), new: scale("web", "2")}, ""},
		"K5/ScaleSet":          {"The ReplicaSet is its controller's.", try{user: alice, op: admissionv1.Update, sub: "scale", resource: replicasets, old: scale("web-abc", "2"), new: scale("web-abc", "9")}, verdict.SubresourceDenied},
		"ScaleSetController":   {"Which scales it.", try{user: controller("deployment-controller"), op: admissionv1.Update, sub: "scale", resource: replicasets, old: scale("web-abc", "2"), new: scale("web-abc", "0")}, ""},
		"K5/Ephemeral":         {"A container into a Pod of Git's.", try{user: alice, op: admissionv1.Update, sub: "ephemeralcontainers", old: livePod, new: edit(livePod, "nodeName: n1,", "nodeName: n1, ephemeralContainers: [{name: x, image: y}],")}, verdict.SubresourceDenied},
		"K5/EphemeralBare":     {"Into one that Git declares itself.", try{user: alice, op: admissionv1.Update, sub: "ephemeralcontainers", old: bare, new: edit(bare, "containers:", "ephemeralContainers: [{name: x, image: y}], containers:")}, verdict.SubresourceDenied},
		"K5/Resize":            {"Resources are declared.", try{user: alice, op: admissionv1.Update, sub: "resize", old: livePod, new: edit(livePod, "image:", "resources: {limits: {cpu: 9}}, image:")}, verdict.SubresourceDenied},
		"K5/ResizeBare":        {"Also those of a Pod in Git.", try{user: alice, op: admissionv1.Update, sub: "resize", old: bare, new: edit(bare, "image:", "resources: {limits: {cpu: 9}}, image:")}, verdict.UndeclaredField},
		"K6/StatusLabels":      {"Labels through the status.", try{user: controller("deployment-controller"), op: admissionv1.Update, sub: "status", old: liveWeb, new: edit(liveWeb, "labels: {app: web}}, spec: {replicas", "labels: {app: web, x: y}}, spec: {replicas")}, verdict.UndeclaredField},
		"K6/StatusFinalizer":   {"A finalizer through the status.", try{user: alice, op: admissionv1.Update, sub: "status", old: account, new: edit(account, "name: app,", "name: app, finalizers: [x/y],")}, verdict.UndeclaredField},
		"K6/PodStatusLabels":   {"Labels of a derived Pod by its node.", try{user: "system:node:n1", op: admissionv1.Update, sub: "status", old: livePod, new: edit(livePod, "app: web,", "app: other,")}, verdict.SubresourceDenied},
		"Status":               {"The controller says how it goes.", try{user: controller("deployment-controller"), op: admissionv1.Update, sub: "status", old: liveWeb, new: edit(liveWeb, "spec: {replicas", "status: {replicas: 2}, spec: {replicas")}, ""},
		"StatusByAlice":        {"Nobody else does.", try{user: alice, op: admissionv1.Update, sub: "status", old: liveWeb, new: edit(liveWeb, "spec: {replicas", "status: {replicas: 2}, spec: {replicas")}, verdict.SubresourceDenied},
		"PodStatus":            {"A node says how its Pods are.", try{user: "system:node:n1", op: admissionv1.Update, sub: "status", old: livePod, new: ready}, ""},
		"PodStatusOtherNode":   {"Not those of others.", try{user: "system:node:n2", op: admissionv1.Update, sub: "status", old: livePod, new: ready}, verdict.SubresourceDenied},
		"K7/EvictBare":         {"No DELETE review follows an eviction.", try{user: alice, op: admissionv1.Create, sub: "eviction", resource: podResource, name: "bare", new: edit(evict, "NAME", "bare")}, verdict.ManagedDelete},
		"EvictDerived":         {"A drain: the controller makes another.", try{user: alice, op: admissionv1.Create, sub: "eviction", resource: podResource, new: edit(evict, "NAME", "web-abc-1")}, ""},
		"K8/Binding":           {"A Pod is bound by the scheduler alone.", try{user: alice, op: admissionv1.Create, sub: "binding", resource: podResource, new: binding}, verdict.SubresourceDenied},
		"K8/BindingLabels":     {"Which sets no labels.", try{user: scheduler, op: admissionv1.Create, sub: "binding", resource: podResource, new: edit(binding, "name: web-abc-1,", "name: web-abc-1, labels: {app: other},")}, verdict.SubresourceDenied},
		"K8/BindingAnnotation": {"And no annotations.", try{user: scheduler, op: admissionv1.Create, sub: "binding", resource: podResource, new: edit(binding, "name: web-abc-1,", "name: web-abc-1, annotations: {a: b},")}, verdict.SubresourceDenied},
		"Binding":              {"The scheduler binds, with the zone of the node.", try{user: scheduler, op: admissionv1.Create, sub: "binding", resource: podResource, new: edit(binding, "name: web-abc-1,", "name: web-abc-1, labels: {topology.kubernetes.io/zone: z},")}, ""},
		"K32/Bindings":         {"The same under its old name.", try{user: alice, op: admissionv1.Create, resource: schema.GroupVersionResource{Version: "v1", Resource: "bindings"}, new: binding}, verdict.SubresourceDenied},
		"Bindings":             {"Which the scheduler may use.", try{user: scheduler, op: admissionv1.Create, resource: schema.GroupVersionResource{Version: "v1", Resource: "bindings"}, new: binding}, ""},
		"K9/Exec":              {"A shell in a Pod of Git's.", try{user: alice, op: admissionv1.Connect, sub: "exec", resource: podResource, ns: "shop", name: "web-abc-1", new: exec}, verdict.NoGrant},
		"K9/ExecBare":          {"In one that Git declares itself.", try{user: alice, op: admissionv1.Connect, sub: "exec", resource: podResource, ns: "shop", name: "bare", new: exec}, verdict.NoGrant},
		"K9/Attach":            {"Or to attach to it.", try{user: alice, op: admissionv1.Connect, sub: "attach", resource: podResource, ns: "shop", name: "web-abc-1", new: exec}, verdict.NoGrant},
		"K9/PortForward":       {"Or to reach its ports.", try{user: alice, op: admissionv1.Connect, sub: "portforward", resource: podResource, ns: "shop", name: "web-abc-1", new: exec}, verdict.NoGrant},
		"K9/NodesProxy":        {"Through the kubelet all of it.", try{user: alice, op: admissionv1.Connect, sub: "proxy", resource: nodes, name: "n1", new: exec}, verdict.NoGrant},
		"K9/ExecElsewhere":     {"What is not Git's is not ours.", try{user: alice, op: admissionv1.Connect, sub: "exec", resource: podResource, ns: "other", name: "x", new: exec}, ""},
		"Token":                {"A token for an account of Git's.", try{user: alice, op: admissionv1.Create, sub: "token", resource: accounts, new: token}, verdict.SubresourceDenied},
		"K31/TokenDryRun":      {"A dry run answers with a token that works.", try{user: alice, op: admissionv1.Create, sub: "token", resource: accounts, new: token, dry: true}, verdict.ProtectedIdentity},
		"TokenNode":            {"Nodes ask for those of their Pods.", try{user: "system:node:n1", op: admissionv1.Create, sub: "token", resource: accounts, new: bound}, ""},
		"TokenNodeUnbound":     {"And for no other.", try{user: "system:node:n1", op: admissionv1.Create, sub: "token", resource: accounts, new: token}, verdict.SubresourceDenied},
		"Unlisted":             {"What is not on the list is closed.", try{user: alice, op: admissionv1.Update, sub: "novelty", old: liveWeb, new: liveWeb}, verdict.SubresourceDenied},
		"UnlistedDerived":      {"For children too.", try{user: alice, op: admissionv1.Update, sub: "novelty", old: livePod, new: livePod}, verdict.SubresourceDenied},
	} {
		t.Run(name, func(t *testing.T) { w.check(t, tc.reason, tc.try, tc.want) })
	}
}

// A custom resource may keep its number elsewhere, or have none in Git: then no
// number is what Git says.
func TestScaleWithoutReplicas(t *testing.T) {
	w := newWorld(t)
	widgets := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
	w.release(nil, w.object(`{apiVersion: example.com/v1, kind: Widget, metadata: {name: w, namespace: shop}, spec: {size: 3}}`))
	for name, tc := range map[string]struct {
		reason string
		try    try
		want   want
	}{
		"K5/ToZero":  {"Zero is what a Scale leaves out, not what Git says.", try{user: alice, op: admissionv1.Update, sub: "scale", resource: widgets, old: scale("w", "3"), new: scale("w", "0")}, verdict.SubresourceDenied},
		"K5/ToOther": {"Nor is any other number.", try{user: alice, op: admissionv1.Update, sub: "scale", resource: widgets, old: scale("w", "3"), new: scale("w", "4")}, verdict.SubresourceDenied},
		"Same":       {"What changes nothing is let pass.", try{user: alice, op: admissionv1.Update, sub: "scale", resource: widgets, old: scale("w", "3"), new: scale("w", "3")}, ""},
	} {
		t.Run(name, func(t *testing.T) { w.check(t, tc.reason, tc.try, tc.want) })
	}
}

func TestAutoscaled(t *testing.T) {
	w := newWorld(t)
	without := edit(liveWeb, "replicas: 2, ", "")
	w.release(nil, w.object(without, edit(liveWeb, "replicas: 2", "replicas: 1")),
		w.object(`{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web, namespace: shop}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, minReplicas: 1, maxReplicas: 5}}`))
	hpa := controller("horizontal-pod-autoscaler")
	for name, tc := range map[string]struct {
		reason string
		try    try
		want   want
	}{
		"Within":  {"The autoscaler of the release scales.", try{user: hpa, op: admissionv1.Update, sub: "scale", resource: deployments, old: scale("web", "1"), new: scale("web", "5")}, ""},
		"Beyond":  {"Within the bounds that Git sets.", try{user: hpa, op: admissionv1.Update, sub: "scale", resource: deployments, old: scale("web", "1"), new: scale("web", "6")}, verdict.SubresourceDenied},
		"Zero":    {"Also below.", try{user: hpa, op: admissionv1.Update, sub: "scale", resource: deployments, old: scale("web", "1"), new: scale("web", "0")}, verdict.SubresourceDenied},
		"Alice":   {"It alone.", try{user: alice, op: admissionv1.Update, sub: "scale", resource: deployments, old: scale("web", "1"), new: scale("web", "2")}, verdict.SubresourceDenied},
		"Object":  {"Not past the subresource.", try{user: hpa, op: admissionv1.Update, old: edit(liveWeb, "replicas: 2", "replicas: 1"), new: liveWeb}, verdict.UndeclaredField},
		"Applied": {"An apply leaves what the autoscaler set.", try{user: reconciler, op: admissionv1.Update, old: edit(liveWeb, "replicas: 2", "replicas: 4", ":1", ":2"), new: edit(liveWeb, "replicas: 2", "replicas: 4")}, ""},
	} {
		t.Run(name, func(t *testing.T) { w.check(t, tc.reason, tc.try, tc.want) })
	}
}
