package apply_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/reconcile/apply"
)

const podSpec = `{restartPolicy: Never, containers: [{name: a, image: "example.com/a:1"}]}`

// kindsCases has an object of every kind that people keep in Git, with controllers
// that write to them: none of what those write may be taken for drift.
var kindsCases = map[string]string{
	"pods":                                           `{apiVersion: v1, kind: Pod, metadata: {name: x, namespace: NS}, spec: ` + podSpec + `}`,
	"batch/jobs":                                     `{apiVersion: batch/v1, kind: Job, metadata: {name: x, namespace: NS}, spec: {template: {spec: ` + podSpec + `}}}`,
	"batch/cronjobs":                                 `{apiVersion: batch/v1, kind: CronJob, metadata: {name: x, namespace: NS}, spec: {schedule: "* * * * *", jobTemplate: {spec: {template: {spec: ` + podSpec + `}}}}}`,
	"apps/statefulsets":                              `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: x, namespace: NS}, spec: {serviceName: x, selector: {matchLabels: {a: sts}}, template: {metadata: {labels: {a: sts}}, spec: {containers: [{name: a, image: a}]}}, volumeClaimTemplates: [{metadata: {name: v}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}}`,
	"apps/daemonsets":                                `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: x, namespace: NS}, spec: {selector: {matchLabels: {a: ds}}, template: {metadata: {labels: {a: ds}}, spec: {containers: [{name: a, image: a}]}}}}`,
	"apps/deployments":                               `{apiVersion: apps/v1, kind: Deployment, metadata: {name: x, namespace: NS}, spec: {selector: {matchLabels: {a: d}}, template: {metadata: {labels: {a: d}}, spec: {volumes: [{name: e, emptyDir: {}}], containers: [{name: a, image: a, resources: {limits: {cpu: "1000m", memory: 1024Mi}}, volumeMounts: [{name: e, mountPath: /e}]}]}}}}`,
	"persistentvolumeclaims":                         `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: x, namespace: NS}, spec: {storageClassName: "", volumeName: NS, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`,
	"persistentvolumes":                              `{apiVersion: v1, kind: PersistentVolume, metadata: {name: NS}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /x}}}`,
	"services":                                       `{apiVersion: v1, kind: Service, metadata: {name: x, namespace: NS}, spec: {type: NodePort, selector: {a: d}, ports: [{name: a, port: 80}, {name: b, port: 81}]}}`,
	"serviceaccounts":                                `{apiVersion: v1, kind: ServiceAccount, metadata: {name: x, namespace: NS}}`,
	"secrets":                                        `{apiVersion: v1, kind: Secret, metadata: {name: x, namespace: NS, annotations: {kubernetes.io/service-account.name: default}}, type: kubernetes.io/service-account-token}`,
	"configmaps":                                     `{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: NS, labels: {}, annotations: {}}, data: {}}`,
	"resourcequotas":                                 `{apiVersion: v1, kind: ResourceQuota, metadata: {name: x, namespace: NS}, spec: {hard: {services: "5k"}}}`,
	"limitranges":                                    `{apiVersion: v1, kind: LimitRange, metadata: {name: x, namespace: NS}, spec: {limits: [{type: PersistentVolumeClaim, max: {storage: 100Gi}}]}}`,
	"namespaces":                                     `{apiVersion: v1, kind: Namespace, metadata: {name: NS-x}}`,
	"autoscaling/horizontalpodautoscalers":           `{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: x, namespace: NS}, spec: {maxReplicas: 2, targetCPUUtilizationPercentage: 50, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: x}}}`,
	"policy/poddisruptionbudgets":                    `{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: x, namespace: NS}, spec: {minAvailable: 1, selector: {matchLabels: {a: d}}}}`,
	"networking.k8s.io/ingresses":                    `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: x, namespace: NS}, spec: {defaultBackend: {service: {name: x, port: {number: 80}}}}}`,
	"networking.k8s.io/networkpolicies":              `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: x, namespace: NS}, spec: {podSelector: {}, ingress: [], egress: [{}]}}`,
	"networking.k8s.io/ingressclasses":               `{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: NS}, spec: {controller: example.com/x}}`,
	"rbac.authorization.k8s.io/roles":                `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: "x:y", namespace: NS}, rules: []}`,
	"rbac.authorization.k8s.io/rolebindings":         `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: x, namespace: NS}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: "x:y"}, subjects: [{kind: ServiceAccount, name: x, namespace: NS}]}`,
	"rbac.authorization.k8s.io/clusterroles":         `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: NS}, aggregationRule: {clusterRoleSelectors: [{matchLabels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}}]}, rules: []}`,
	"scheduling.k8s.io/priorityclasses":              `{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: NS}, value: 7}`,
	"storage.k8s.io/storageclasses":                  `{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: NS}, provisioner: example.com/x}`,
	"coordination.k8s.io/leases":                     `{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: x, namespace: NS}, spec: {holderIdentity: a}}`,
	"apiextensions.k8s.io/customresourcedefinitions": `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: zoos.NS.example.com}, spec: {group: NS.example.com, scope: Namespaced, names: {kind: Zoo, plural: zoos}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}`,
	"admissionregistration.k8s.io/validatingwebhookconfigurations": `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: NS}, webhooks: [{name: x.example.com, sideEffects: None, failurePolicy: Ignore, admissionReviewVersions: [v1], clientConfig: {url: "https://127.0.0.1:1/x"}, rules: [{apiGroups: [nothing.example.com], apiVersions: [v1], operations: [CREATE], resources: [x]}]}]}`,
	"admissionregistration.k8s.io/validatingadmissionpolicies":     `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: NS}, spec: {matchConstraints: {resourceRules: [{apiGroups: [nothing.example.com], apiVersions: [v1], operations: [CREATE], resources: [x]}]}, validations: [{expression: "true"}]}}`,
	"apiregistration.k8s.io/apiservices":                           `{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v9.NS.example.net}, spec: {group: NS.example.net, version: v9, groupPriorityMinimum: 1, versionPriority: 1, insecureSkipTLSVerify: true, service: {name: x, namespace: NS}}}`,
	"NS.example.com/zoos":                                          `{apiVersion: NS.example.com/v1, kind: Zoo, metadata: {name: x, namespace: NS}, spec: {animals: [], keeper: {}, n: 1, f: 1.5}, status: {content: true}}`,
}

// TestKinds: after controllers had their say, nothing of any kind is taken for
// drift, and a process that knows nothing finds nothing to write.
func TestKinds(t *testing.T) {
	b := newBench(t)
	var all []string
	for _, m := range kindsCases {
		all = append(all, m)
	}
	manifests := strings.Join(all, "\n---\n")
	b.apply(b.newPlan(manifests))
	eventually(t, 20*time.Second, "the watches catch up", func() bool { return len(b.a.Blind()) == 0 })
	if fs := b.a.Wait(timeout(t, 10*time.Second), b.newPlan(manifests)); len(fs) > 0 {
		for _, f := range fs {
			t.Logf("not healthy, which is no matter here: %s", f)
		}
	}
	again := b.applier(nil)
	b.count.take()
	r, fs := again.Apply(t.Context(), b.newPlan(manifests))
	if n := writes(b.count.take()); n != 0 || len(r.Outcomes) != 0 || len(fs) != 0 {
		t.Errorf("a new process wrote %d times: %s, %v", n, actions(r), fs)
	}
	for name := range kindsCases {
		t.Run(name, func(t *testing.T) { b.onlyProbeOf(t, name) })
	}
}

// onlyProbeOf is onlyProbe for the object of a case.
func (b *bench) onlyProbeOf(t *testing.T, name string) {
	t.Helper()
	o := b.objects(kindsCases[name])[0]
	group, plural, ok := strings.Cut(strings.ReplaceAll(name, "NS", b.ns), "/")
	if !ok {
		group, plural = "", group
	}
	gvr := schema.GroupVersionResource{Group: group, Version: o.GroupVersionKind().Version, Resource: plural}
	var c dynamic.ResourceInterface = b.alice.Resource(gvr)
	if ns := o.GetNamespace(); ns != "" {
		c = b.alice.Resource(gvr).Namespace(ns)
	}
	if _, err := c.Patch(t.Context(), o.GetName(), types.MergePatchType, []byte(`{"metadata":{"labels":{"probe":"x"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	b.awaitProbe(t, gate.ObjectID(o.Unstructured))
	_, _, found := b.a.Correct(t.Context(), b.a.Drifts(apply.Owner{Namespace: b.ns, Name: "app"}), []gate.Object{o})
	if len(found) > 0 {
		t.Errorf("correcting: %v", found)
	}
}
