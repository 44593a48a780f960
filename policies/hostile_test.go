package policies_test

import (
	"encoding/json"
	"testing"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/racing"
)

// hostileObjects have a field of nearly every kind that rules read.
var hostileObjects = []string{
	`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"b","annotations":{"c":"d"},"ownerReferences":[{"kind":"e"}]},
	"spec":{"hostNetwork":true,"hostUsers":false,"serviceAccountName":"f","automountServiceAccountToken":false,"nodeName":"g","priorityClassName":"h",
	"securityContext":{"runAsUser":1,"seccompProfile":{"type":"Localhost"},"sysctls":[{"name":"i"}],"seLinuxOptions":{"type":"j"},"windowsOptions":{"hostProcess":false}},
	"tolerations":[{"key":"k"}],"topologySpreadConstraints":[{"maxSkew":1}],"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{}]}},
	"containers":[{"name":"l","image":"m/n:1","imagePullPolicy":"Always","command":["o"],"args":["p"],"env":[{"name":"q","value":"r"},{"valueFrom":{"secretKeyRef":{"name":"s"}}}],
	"envFrom":[{"secretRef":{"name":"t"}}],"ports":[{"hostPort":1}],"resources":{"limits":{"memory":"1Mi"},"requests":{"cpu":"1"}},
	"readinessProbe":{"httpGet":{"host":"u"}},"lifecycle":{"preStop":{"tcpSocket":{"host":"v"}}},"volumeMounts":[{"name":"w","readOnly":true}],
	"securityContext":{"privileged":false,"procMount":"Default","capabilities":{"add":["x"],"drop":["y"]},"appArmorProfile":{"type":"z"}}}],
	"volumes":[{"name":"w","hostPath":{"path":"/a"}},{"name":"b","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":9}}]}},{"name":"c","image":{"reference":"d","pullPolicy":"e"}},{"name":"f","emptyDir":{"medium":"Memory","sizeLimit":"1"}}]}}`,
	`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"},"spec":{"replicas":2,"strategy":{"type":"a","rollingUpdate":{"maxUnavailable":1}},"template":{"metadata":{"annotations":{"a":"b"}},"spec":{"containers":[{"name":"a"}]}}}}`,
	`{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"a"},"spec":{"concurrencyPolicy":"a","jobTemplate":{"spec":{"activeDeadlineSeconds":1,"template":{"spec":{"containers":[{"name":"a"}]}}}}}}`,
	`{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"a"},"spec":{"replicas":2,"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"a"},"template":{"spec":{"containers":[]}}}}`,
	`{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"a","annotations":{"kubernetes.io/ingress.class":"b","nginx.ingress.kubernetes.io/ssl-redirect":"true"}},"spec":{"ingressClassName":"c","tls":[{"hosts":["d"]}],"rules":[{"host":"e"}]}}`,
	`{"apiVersion":"gateway.networking.k8s.io/v1","kind":"Gateway","metadata":{"name":"a"},"spec":{"listeners":[{"name":"b","protocol":"c","allowedRoutes":{"namespaces":{"from":"Selector","selector":{"matchLabels":{"d":"e"}}}}}]}}`,
	`{"apiVersion":"gateway.networking.k8s.io/v1","kind":"HTTPRoute","metadata":{"name":"a"},"spec":{"hostnames":["b"]}}`,
	`{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","namespace":"b","annotations":{"networking.gke.io/load-balancer-type":"c"}},"spec":{"type":"LoadBalancer","externalIPs":["d"],"externalName":"e","loadBalancerSourceRanges":["10.0.0.0/8"]}}`,
	`{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"default-deny"},"spec":{"podSelector":{},"policyTypes":["a"],"ingress":[{"from":[{"ipBlock":{"cidr":"10.0.0.0/8"}},{"namespaceSelector":{},"podSelector":{}}],"ports":[{"port":53,"endPort":54}]}],"egress":[{"to":[],"ports":[{"port":53,"endPort":54}]}]}}`,
	`{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"a"},"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}]}`,
	`{"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"a"},"subsets":[{"addresses":[{"ip":"10.0.0.1"}]}]}`,
	`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"a","labels":{"b":"c"}},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"d":"e"}}]},"rules":[{"apiGroups":[""],"resources":["users"],"verbs":["impersonate"],"resourceNames":["f"]},{"nonResourceURLs":["g"],"verbs":["h"]}]}`,
	`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"a","namespace":"b"},"roleRef":{"kind":"ClusterRole","name":"cluster-admin"},"subjects":[{"kind":"ServiceAccount","name":"c","namespace":"d"}]}`,
	`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","annotations":{"b":"c"}},"data":{"password":"d"},"binaryData":{"e":"Zg=="}}`,
	`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"type":"b","immutable":false}`,
	`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"},"automountServiceAccountToken":false}`,
	`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"a","labels":{"gitgate.dev/protected":"b"}},"spec":{"versions":[{"name":"c","served":true}]}}`,
	`{"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{"name":"a"},"spec":{"maxUnavailable":0}}`,
	`{"apiVersion":"v1","kind":"List","items":[]}`,
}

// variants are what a field is replaced by.
var variants = []any{nil, true, 7.0, "x", "", []any{}, map[string]any{}, []any{"x"}, []any{7.0, nil}, map[string]any{"x": 7.0}}

// forEachVariant calls do while one node of the tree after the other has each of
// the variants in its place.
func forEachVariant(node any, set func(any), do func()) {
	for _, v := range variants {
		set(v)
		do()
	}
	set(node)
	switch n := node.(type) {
	case map[string]any:
		for key, child := range n {
			forEachVariant(child, func(v any) { n[key] = v }, do)
		}
	case []any:
		for i, child := range n {
			forEachVariant(child, func(v any) { n[i] = v }, do)
		}
	}
}

// TestHostileShapes puts every wrong type at every place, in new and in old
// objects. No rule may fail: what is wrong is told as what it is.
func TestHostileShapes(t *testing.T) {
	racing.Skip(t)
	t.Parallel()
	e := benchEngine(t, policy.Options{}, allPacks(t)...)
	judged := 0
	for _, text := range hostileObjects {
		var object map[string]any
		if err := json.Unmarshal([]byte(text), &object); err != nil {
			t.Fatal(err)
		}
		judge := func() {
			raw, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			in := benchInput(raw)
			in.Operation, in.OldObject = policy.Update, raw
			ask(t, e, in)
			in.Operation, in.Object = policy.Delete, nil
			ask(t, e, in)
			judged++
		}
		for key, child := range object {
			if key != "apiVersion" && key != "kind" { // without these the engine refuses it
				forEachVariant(child, func(v any) { object[key] = v }, judge)
			}
		}
	}
	if judged < 2000 {
		t.Errorf("%d objects were judged", judged)
	}
}

func ask(t *testing.T, e *policy.Engine, in policy.Input) {
	t.Helper()
	for _, f := range e.Evaluate(t.Context(), in) {
		// without a policy it is the engine that cannot read the object
		if f.Reason != verdict.PolicyDenied && f.Policy != "" {
			t.Errorf("%s %s: %s: %s\n%s", in.Operation, f.Policy, f.Reason, f.Message, in.Object)
		}
	}
}
