package lock_test

import (
	"fmt"
	"strings"
	"testing"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// workloads are one of every kind of workload, at a version of their image.
func workloads(version string) []string {
	pod := func(name string) string {
		return `{metadata: {labels: {app: ` + name + `}}, spec: {containers: [{name: c, image: "example.com/` + name + `:` + version + `", resources: {limits: {cpu: 10m}}}]}}`
	}
	once := func(name string) string {
		return strings.Replace(pod(name), "spec: {", "spec: {restartPolicy: Never, ", 1)
	}
	return []string{
		`{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: shop}}}`,
		`{apiVersion: v1, kind: LimitRange, metadata: {name: limits, namespace: shop}, spec: {limits: [{type: Container, defaultRequest: {memory: 8Mi}}]}}`,
		`{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: shop}, value: 7}`,
		`{apiVersion: v1, kind: ServiceAccount, metadata: {name: app, namespace: shop}, imagePullSecrets: [{name: pull}]}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: app-token, namespace: shop, annotations: {kubernetes.io/service-account.name: app}}, type: kubernetes.io/service-account-token}`,
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, annotations: {note: "` + version + `"}}, spec: {selector: {matchLabels: {app: web}}, template: ` +
			strings.Replace(pod("web"), "spec: {", "spec: {serviceAccountName: app, priorityClassName: shop, ", 1) + `}}`,
		`{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web, namespace: shop}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, minReplicas: 1, maxReplicas: 3}}`,
		`{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, namespace: shop}, spec: {replicas: 2, serviceName: db, selector: {matchLabels: {app: db}}, template: ` + pod("db") +
			`, volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], storageClassName: manual, resources: {requests: {storage: 1Mi}}}}]}}`,
		`{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent, namespace: shop}, spec: {selector: {matchLabels: {app: agent}}, template: ` + pod("agent") + `}}`,
		`{apiVersion: batch/v1, kind: Job, metadata: {name: once-` + version + `, namespace: shop}, spec: {ttlSecondsAfterFinished: 5, template: ` + once("once") + `}}`,
		`{apiVersion: batch/v1, kind: Job, metadata: {name: many-` + version + `, namespace: shop}, spec: {completions: 2, completionMode: Indexed, template: ` + once("many") + `}}`,
		`{apiVersion: batch/v1, kind: CronJob, metadata: {name: tick, namespace: shop}, spec: {schedule: "* * * * *", jobTemplate: {metadata: {labels: {a: b}}, spec: {template: ` + once("tick") + `}}}}`,
		`{apiVersion: v1, kind: ReplicationController, metadata: {name: old, namespace: shop}, spec: {replicas: 1, selector: {app: old}, template: ` + pod("old") + `}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, type: NodePort, ports: [{port: 80}]}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: db, namespace: shop}, spec: {selector: {app: db}, clusterIP: None, ports: [{port: 80}]}}`,
		`{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: web, namespace: shop}, spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: bare, namespace: shop}, spec: {containers: [{name: c, image: "example.com/bare:1"}], volumes: [{name: tmp, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], storageClassName: manual, resources: {requests: {storage: 1Mi}}}}}}]}}`,
		`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: disk, namespace: shop}, spec: {accessModes: [ReadWriteOnce], storageClassName: manual, resources: {requests: {storage: 1Mi}}}}`,
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: shop-all}, aggregationRule: {clusterRoleSelectors: [{matchLabels: {shop: "yes"}}]}, rules: []}`,
		`{apiVersion: v1, kind: ResourceQuota, metadata: {name: quota, namespace: shop}, spec: {hard: {pods: "100"}}}`,
		`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny, namespace: shop}, spec: {podSelector: {}, policyTypes: [Ingress]}}`,
	}
}

// TestLegitimateWriters runs every controller of kube-controller-manager, the
// scheduler and simulated kubelets over a closed namespace: nobody of them is
// denied anything.
func TestLegitimateWriters(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	s := newStage(t)
	for i := range 6 {
		s.apply(s.alice, fmt.Sprintf(`{apiVersion: v1, kind: PersistentVolume, metadata: {name: pv%d}, spec: {capacity: {storage: 1Mi}, accessModes: [ReadWriteOnce], storageClassName: manual, hostPath: {path: /tmp/x}}}`, i))
	}
	// A namespace is made by whoever may; from then on Git closes it.
	s.apply(s.alice, workloads("1")[0])
	s.apply(s.alice, workloads("1")[1]) // what the server adds to Pods is part of D
	s.apply(s.alice, workloads("1")[2])
	s.deploy("1", nil, workloads("1")...)
	s.ready("web", "db", "agent", "old")
	s.apply(s.alice, `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: part, labels: {shop: "yes"}}, rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]}`)
	s.scale("web", 2)
	s.ready("web")
	s.drain("web", "db", "agent")
	s.ready("web", "db", "agent", "old")
	s.deploy("2", nil, workloads("2")...)
	s.ready("web", "db", "agent", "old")
	s.deploy("1", nil, workloads("1")...)
	s.ready("web", "db", "agent", "old")
	s.unmanaged()
	s.cron()
	s.prune()
	s.calm(t)
}

func (s *stage) pods(app string) (names []string, ready int) {
	list, err := s.cluster.Client().CoreV1().Pods("shop").List(s.t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range list.Items {
		names = append(names, p.Name)
		for _, c := range p.Status.Conditions {
			if c.Type == "Ready" && c.Status == "True" && p.DeletionTimestamp == nil {
				ready++
			}
		}
	}
	return names, ready
}

// ready waits until the workloads have their Pods, at the version of their
// template.
func (s *stage) ready(apps ...string) {
	s.t.Helper()
	c := s.cluster.Client()
	for _, app := range apps {
		eventually(s.t, app+" is ready", func() bool {
			ctx := s.t.Context()
			switch app {
			case "web":
				d, err := c.AppsV1().Deployments("shop").Get(ctx, app, metav1.GetOptions{})
				return err == nil && d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == *d.Spec.Replicas &&
					d.Status.AvailableReplicas == *d.Spec.Replicas && d.Status.Replicas == *d.Spec.Replicas
			case "db":
				d, err := c.AppsV1().StatefulSets("shop").Get(ctx, app, metav1.GetOptions{})
				return err == nil && d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == 2 && d.Status.ReadyReplicas == 2
			case "agent":
				d, err := c.AppsV1().DaemonSets("shop").Get(ctx, app, metav1.GetOptions{})
				return err == nil && d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedNumberScheduled == 2 && d.Status.NumberReady == 2
			}
			_, n := s.pods(app)
			return n >= 1
		})
	}
}

// scale scales as the autoscaler does.
func (s *stage) scale(name string, replicas int32) {
	s.t.Helper()
	cfg := s.cluster.RESTConfig()
	cfg.Impersonate.UserName = controller("horizontal-pod-autoscaler")
	cfg.Impersonate.Groups = []string{"system:masters"}
	c := clientFor(s.t, cfg)
	sc, err := c.AppsV1().Deployments("shop").GetScale(s.t.Context(), name, metav1.GetOptions{})
	if err == nil {
		sc.Spec.Replicas = replicas
		_, err = c.AppsV1().Deployments("shop").UpdateScale(s.t.Context(), name, sc, metav1.UpdateOptions{})
	}
	if err != nil {
		s.t.Errorf("scaling: %v", err)
	}
}

// drain evicts Pods as kubectl drain does.
func (s *stage) drain(apps ...string) {
	s.t.Helper()
	c := clientFor(s.t, s.cluster.ConfigFor("alice"))
	for _, app := range apps {
		names, _ := s.pods(app)
		for _, name := range names[:1] {
			eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}}
			if err := c.PolicyV1().Evictions("shop").Evict(s.t.Context(), eviction); err != nil {
				s.t.Errorf("evicting %s: %v", name, err)
			}
		}
	}
}

// unmanaged makes and deletes things that Git does not know, where that is open.
func (s *stage) unmanaged() {
	s.t.Helper()
	s.apply(s.alice, `{apiVersion: v1, kind: Namespace, metadata: {name: scratch}}`)
	for _, name := range []string{"a", "b"} {
		s.apply(s.alice, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: `+name+`, namespace: scratch}, spec: {selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: "x:1"}]}}}}`)
	}
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	for name, policy := range map[string]metav1.DeletionPropagation{"a": metav1.DeletePropagationOrphan, "b": metav1.DeletePropagationForeground} {
		if err := s.alice.Resource(deployments).Namespace("scratch").Delete(s.t.Context(), name, metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
			s.t.Error(err)
		}
	}
	if err := s.alice.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Delete(s.t.Context(), "scratch", metav1.DeleteOptions{}); err != nil {
		s.t.Error(err)
	}
	eventually(s.t, "the namespace is gone", func() bool {
		_, err := s.cluster.Client().CoreV1().Namespaces().Get(s.t.Context(), "scratch", metav1.GetOptions{})
		return err != nil
	})
}

// cron waits until the CronJob has run.
func (s *stage) cron() {
	s.t.Helper()
	eventually(s.t, "the CronJob has run", func() bool {
		_, n := s.pods("tick")
		names, _ := s.pods("tick")
		return n > 0 || len(names) > 0
	})
	eventually(s.t, "the ttl of a finished Job is over", func() bool {
		names, _ := s.pods("once")
		return len(names) == 0
	})
}

// prune applies a release without the workloads, and deletes what it dropped.
func (s *stage) prune() {
	s.t.Helper()
	all := workloads("1")
	s.deploy("3", nil, all[:5]...)
	policies := []metav1.DeletionPropagation{metav1.DeletePropagationForeground, metav1.DeletePropagationBackground}
	for _, text := range workloads("2") { // the Jobs of the release between
		if strings.Contains(text, "kind: Job") {
			all = append(all, text)
		}
	}
	for i, text := range all[5:] {
		obj := parse(s.t, text)
		gvr := resourceOf(obj)
		meta := obj["metadata"].(map[string]any)
		ns, _ := meta["namespace"].(string)
		if err := s.recon.Resource(gvr).Namespace(ns).Delete(s.t.Context(), meta["name"].(string), metav1.DeleteOptions{PropagationPolicy: &policies[i%2]}); err != nil && !strings.Contains(err.Error(), "not found") {
			s.t.Errorf("pruning %s: %v", meta["name"], err)
		}
	}
	eventually(s.t, "all Pods are gone", func() bool {
		list, err := s.cluster.Client().CoreV1().Pods("shop").List(s.t.Context(), metav1.ListOptions{})
		return err == nil && len(list.Items) == 0
	})
}
