package render

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// app is what people write for one app, app-less: four objects with one name.
const app = `apiVersion: v1
kind: ServiceAccount
metadata: {name: NAME, labels: {app: NAME}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME, labels: {app: NAME}}
data: {value: "VALUE", port: "8080"}
---
apiVersion: v1
kind: Service
metadata: {name: NAME, labels: {app: NAME}}
spec:
  selector: {app: NAME}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, labels: {app: NAME}}
spec:
  replicas: 1
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      serviceAccountName: NAME
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: app
        image: registry.k8s.io/pause:3.10
        env: [{name: LOG_LEVEL, value: info}]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz, port: http}}
        resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 128Mi}}
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        volumeMounts: [{name: config, mountPath: /etc/app}]
      volumes: [{name: config, configMap: {name: NAME}}]
`

// fourMaps is as many objects that refer to nothing.
const fourMaps = `{apiVersion: v1, kind: ConfigMap, metadata: {name: NAME, labels: {app: NAME}}, data: {value: "VALUE"}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: NAME-a, labels: {app: NAME}}, data: {value: a}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: NAME-b, labels: {app: NAME}}, data: {value: b}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: NAME-c, labels: {app: NAME}}, data: {value: c}}
`

func fill(template string, i, value int) string {
	return strings.NewReplacer("NAME", fmt.Sprintf("app-%04d", i), "VALUE", fmt.Sprint(value)).Replace(template)
}

// site is a base of apps under an overlay.
func site(template, overlay string, objects int) *gitFS {
	files := fstest.MapFS{}
	list := "resources:\n"
	for i := range objects / 4 {
		name := fmt.Sprintf("app-%04d.yaml", i)
		files["base/"+name] = &fstest.MapFile{Data: []byte(fill(template, i, 0))}
		list += "- " + name + "\n"
	}
	files["base/kustomization.yaml"] = &fstest.MapFile{Data: []byte(list)}
	files["top/kustomization.yaml"] = &fstest.MapFile{Data: []byte("resources: [../base]\nnamespace: bench\n" + overlay)}
	return newGitFS(files)
}

const usualOverlay = `labels:
- pairs: {environment: bench}
  includeSelectors: false
patches:
- target: {kind: Deployment}
  patch: |
    - {op: replace, path: /spec/replicas, value: 2}
`

// BenchmarkKustomize compares kustomize alone, from files in memory to YAML, with a
// render of the same tree without and with a cache, where one file changed.
func BenchmarkKustomize(b *testing.B) {
	for name, tc := range map[string]struct{ template, overlay string }{
		"ConfigMaps": {fourMaps, usualOverlay},
		"Workloads":  {app, usualOverlay},
		"Prefixed":   {app, "namePrefix: x-\n" + usualOverlay + "configMapGenerator: [{name: common, literals: [a=b]}]\n"},
		// Two runs of kustomize look at all of it: what parts cannot do is tried.
		"Sorted": {app, usualOverlay + "sortOptions: {order: fifo}\n"},
	} {
		g := site(tc.template, tc.overlay, 1000)
		o := Options{Path: "top"}
		b.Run(name+"/Bare", func(b *testing.B) {
			for b.Loop() {
				bareBuild(b, g.MapFS)
			}
		})
		b.Run(name+"/Cold", func(b *testing.B) {
			for b.Loop() {
				renderFS(b, g, o)
			}
		})
		b.Run(name+"/OneChanged", func(b *testing.B) {
			o := o
			o.Cache = NewCache(256 << 20)
			renderFS(b, g, o)
			i := 0
			for b.Loop() {
				i++
				g.set("base/app-0100.yaml", fill(tc.template, 100, i))
				renderFS(b, g, o)
			}
		})
	}
}

func bareBuild(b *testing.B, files fstest.MapFS) {
	b.Helper()
	disk := filesys.MakeFsInMemory()
	for name, f := range files {
		if err := disk.WriteFile(name, f.Data); err != nil {
			b.Fatal(err)
		}
	}
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(disk, "top")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := made.AsYaml(); err != nil {
		b.Fatal(err)
	}
}
