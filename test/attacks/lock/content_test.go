package lock_test

import (
	"fmt"
	"strings"

	"gitgate.dev/gitgate/test/testkit/lab"
)

// podSpec is what the restricted policy allows: containers in an order that
// matters.
const podSpec = `automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  seccompProfile: {type: RuntimeDefault}
initContainers:
  - name: first
    image: IMAGE
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
  - name: second
    image: IMAGE
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
containers:
  - name: app
    image: IMAGE
    env: [{name: A, value: "1"}, {name: B, value: "2"}]
    resources: {requests: {cpu: 10m, memory: 10Mi}, limits: {cpu: 20m, memory: 20Mi}}
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`

func indent(text string, by int) string {
	pad := strings.Repeat(" ", by)
	return pad + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+pad) + "\n"
}

// workload is a manifest with a Pod template at the given indent.
func workload(head string, by int, extra string) string {
	return head + indent(podSpec+extra, by)
}

// content is what Git says of harbor: one object at least of each kind that an
// attack needs.
func (in *installation) content() (map[string]string, error) {
	files := map[string]string{
		"namespace": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: harbor\n  labels: {pod-security.kubernetes.io/enforce: baseline}\n",
		"marker":    lab.ConfigMap("marker", "value", "release 0"),
		"settings":  lab.ConfigMap("settings", "mode", "safe"),
		"drops":     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: drops}\ndata: {keep: \"1\", drop: \"1\"}\n",
		"web": workload(`apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {tier: front}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
`, 6, ""),
		"bare": workload("apiVersion: v1\nkind: Pod\nmetadata: {name: bare, labels: {app: bare}}\nspec:\n", 2, ""),
		"idle": workload("apiVersion: v1\nkind: Pod\nmetadata: {name: idle}\nspec:\n", 2, "nodeSelector: {nowhere: \"true\"}\n"),
		"queue": workload(`apiVersion: apps/v1
kind: StatefulSet
metadata: {name: queue}
spec:
  replicas: 0
  serviceName: web
  selector: {matchLabels: {app: queue}}
  template:
    metadata: {labels: {app: queue}}
    spec:
`, 6, ""),
		"agent": workload(`apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
`, 6, "nodeSelector: {nowhere: \"true\"}\n"),
		"once": workload(`apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  suspend: true
  template:
    spec:
`, 6, "restartPolicy: Never\n"),
		"nightly": workload(`apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 0 1 1 *"
  suspend: true
  jobTemplate:
    spec:
      template:
        spec:
`, 10, "restartPolicy: Never\n"),
		"service": "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  selector: {app: web}\n  ports: [{port: 80, targetPort: 8080}]\n",
		"scaler": `apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: scaler}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: nothing}
  minReplicas: 1
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
`,
		"budget": "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: budget}\nspec:\n  maxUnavailable: 1\n  selector: {matchLabels: {app: nothing}}\n",
		"quota":  "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: quota}\nspec:\n  hard: {services.loadbalancers: \"5\"}\n",
		"claim":  "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: claim}\nspec:\n  storageClassName: none\n  accessModes: [ReadWriteOnce]\n  resources: {requests: {storage: 1Gi}}\n",
		"gate":   "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: gate}\nspec:\n  defaultBackend: {service: {name: web, port: {number: 80}}}\n",
		"wall":   "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: wall}\nspec:\n  podSelector: {}\n  policyTypes: [Ingress]\n",
		"rbac/roles": `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: harbor-reader}
rules: [{apiGroups: [""], resources: [namespaces], verbs: [get]}]
`,
		"ship": "apiVersion: harbor.example.com/v1\nkind: Ship\nmetadata: {name: mary}\nspec: {cargo: tea}\n",
		"crd": `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ships.harbor.example.com}
spec:
  group: harbor.example.com
  scope: Namespaced
  names: {kind: Ship, plural: ships, singular: ship, listKind: ShipList}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, properties: {cargo: {type: string}}}
            status: {type: object, x-kubernetes-preserve-unknown-fields: true}
`,
	}
	secret, err := in.EncryptedSecret("login", "password", canary)
	if err != nil {
		return nil, err
	}
	files["secret"] = secret
	out := map[string]string{}
	for name, text := range files {
		out[fmt.Sprintf("deploy/%s.yaml", name)] = strings.ReplaceAll(text, "IMAGE", in.web.Pinned())
	}
	return out, nil
}
