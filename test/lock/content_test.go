package lock

import (
	"fmt"
	"strings"
)

// A version is what a release says of everything. Least is how many replicas the
// autoscaler is told to keep.
type version struct {
	name, image string
	least       int32
}

// podSpec is what the restricted policy allows.
const podSpec = `automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  seccompProfile: {type: RuntimeDefault}
containers:
  - name: app
    image: IMAGE
    env: [{name: VERSION, value: "RELEASE"}]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`

// template puts the Pod's specification at an indent below what comes before.
func template(head string, by int, extra string) string {
	pad := strings.Repeat(" ", by)
	return head + pad + strings.ReplaceAll(strings.TrimSuffix(podSpec+extra, "\n"), "\n", "\n"+pad) + "\n"
}

// content is what Git says of the closed namespace in one release: something for
// every controller. What has no namespace carries its name.
func content(v version) map[string]string {
	files := map[string]string{
		"settings": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {mode: safe}\n",
		"web": template(`apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
`, 6, ""),
		"scaled": template(`apiVersion: apps/v1
kind: Deployment
metadata: {name: scaled}
spec:
  selector: {matchLabels: {app: scaled}}
  template:
    metadata: {labels: {app: scaled}}
    spec:
`, 6, ""),
		"scaler": `apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: scaled}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: scaled}
  minReplicas: LEAST
  maxReplicas: LEAST
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
`,
		"db": template(`apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 1
  serviceName: web
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
`, 6, ""),
		"agent": template(`apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
`, 6, ""),
		"once": template(`apiVersion: batch/v1
kind: Job
metadata: {name: once-RELEASE}
spec:
  ttlSecondsAfterFinished: 5
  template:
    metadata: {labels: {app: once}}
    spec:
`, 6, "restartPolicy: Never\n"),
		"tick": template(`apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        metadata: {labels: {app: tick}}
        spec:
`, 10, "restartPolicy: Never\n"),
		"service": "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  selector: {app: web}\n  ports: [{port: 80, targetPort: 8080}]\n",
		"budget":  "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: web}\nspec:\n  maxUnavailable: 1\n  selector: {matchLabels: {app: web}}\n",
		"role": `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: depot-all}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {depot.example.com/part: "true"}}]}
`,
		"ship": "apiVersion: depot.example.com/v1\nkind: Ship\nmetadata: {name: mary, annotations: {port: home}}\nspec: {cargo: tea}\n",
		"crd": `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ships.depot.example.com}
spec:
  group: depot.example.com
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
            spec: {type: object, properties: {cargo: {type: string}, berth: {type: integer}}}
            status: {type: object, properties: {docked: {type: boolean}}}
`,
	}
	fill := strings.NewReplacer("IMAGE", v.image, "RELEASE", v.name, "LEAST", fmt.Sprint(v.least))
	out := map[string]string{}
	for name, text := range files {
		out["deploy/"+name+".yaml"] = fill.Replace(text)
	}
	return out
}
