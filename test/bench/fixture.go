package main

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// objectsPerApp is how many objects one file holds.
const objectsPerApp = 4

// A layout is how a site's manifests are laid out.
type layout string

const (
	// plain is a directory of YAML with workloads.
	plain layout = "plain"
	// plainFlat is a directory of YAML with ConfigMaps: the cheapest objects that an API
	// server has.
	plainFlat layout = "plain-flat"
	// kustomize is a base of workloads, and an overlay that changes all of it.
	// Kustomize looks for every reference between any two objects, so that its
	// time grows with the square of their number.
	kustomize layout = "kustomize"
	// kustomizeFlat is a base of ConfigMaps, which refer to nothing, and the same
	// overlay.
	kustomizeFlat layout = "kustomize-flat"
)

// A site is a set of objects in a namespace of its own, kept applied from a
// repository of its own. Its first revision has a zero for every app.
type site struct {
	name   string // of the namespace, the repository and what drives it
	layout layout
	apps   int
	values map[int]int // what the ConfigMaps of changed apps hold

	revision string // the one that was published last
}

func newSite(name string, l layout, objects int) *site {
	return &site{name: name, layout: l, apps: objects / objectsPerApp, values: map[int]int{}}
}

// objects is how many objects the site has.
func (s *site) objects() int { return s.apps * objectsPerApp }

// path is the directory to render.
func (s *site) path() string {
	if s.built() {
		return "overlays/bench"
	}
	return "manifests"
}

// built reports whether kustomize has to build the site.
func (s *site) built() bool { return s.layout == kustomize || s.layout == kustomizeFlat }

// change gives one app a new value, and returns the name of its ConfigMap and
// the value.
func (s *site) change(app, value int) (configMap, want string) {
	s.values[app] = value
	return appName(app), fmt.Sprint(value)
}

func appName(i int) string { return fmt.Sprintf("app-%04d", i) }

// tree returns the files of the site.
func (s *site) tree() map[string]string {
	files := map[string]string{}
	dir, namespace := "manifests", s.name
	if s.built() {
		dir, namespace = "base", ""
	}
	template := workload
	if s.layout == kustomizeFlat || s.layout == plainFlat {
		template = configMapsOnly
	}
	for i := range s.apps {
		files[dir+"/"+appName(i)+".yaml"] = fill(template, appName(i), namespace, s.values[i])
	}
	if s.built() {
		resources := slices.Sorted(maps.Keys(files))
		for i := range resources {
			resources[i] = "- " + strings.TrimPrefix(resources[i], "base/")
		}
		files["base/kustomization.yaml"] = "resources:\n" + strings.Join(resources, "\n") + "\n"
		files["overlays/bench/kustomization.yaml"] = fmt.Sprintf(overlay, s.name)
	}
	return files
}

// overlay is what an overlay usually is: another namespace, labels, a patch.
const overlay = `resources:
- ../../base
namespace: %s
labels:
- pairs: {environment: bench}
  includeSelectors: false
patches:
- target: {kind: Deployment}
  patch: |
    - op: replace
      path: /spec/replicas
      value: 2
`

// fill makes the file of one app.
func fill(template, name, namespace string, value int) string {
	ns := ""
	if namespace != "" {
		ns = ", namespace: " + namespace
	}
	return strings.NewReplacer("NAME", name, "NS", ns, "VALUE", fmt.Sprint(value)).Replace(template)
}

// workload is an app as people write it. It meets the restricted Pod Security
// Standard. Nothing runs it: there are no nodes.
const workload = `apiVersion: v1
kind: ServiceAccount
metadata: {name: NAMENS, labels: {app: NAME}}
automountServiceAccountToken: false
---
apiVersion: v1
kind: ConfigMap
metadata: {name: NAMENS, labels: {app: NAME}}
data:
  value: "VALUE"
  application.properties: |
    server.port=8080
    server.shutdown=graceful
    logging.level=info
---
apiVersion: v1
kind: Service
metadata: {name: NAMENS, labels: {app: NAME}}
spec:
  selector: {app: NAME}
  ports:
  - {name: http, port: 80, targetPort: http}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAMENS, labels: {app: NAME}}
spec:
  replicas: 1
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      serviceAccountName: NAME
      securityContext:
        runAsNonRoot: true
        seccompProfile: {type: RuntimeDefault}
      containers:
      - name: app
        image: registry.k8s.io/pause@sha256:278fb9dbcca9518083ad1e11276933a2e96f23de604a3a08cc3c80002767d24c
        env:
        - {name: LOG_LEVEL, value: info}
        - {name: CONFIG, value: /etc/app/application.properties}
        ports:
        - {name: http, containerPort: 8080}
        readinessProbe: {httpGet: {path: /healthz, port: http}}
        resources:
          requests: {cpu: 100m, memory: 64Mi}
          limits: {memory: 128Mi}
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {drop: [ALL]}
        volumeMounts:
        - {name: config, mountPath: /etc/app}
      volumes:
      - name: config
        configMap: {name: NAME}
`

// configMapsOnly is as many objects as a workload.
const configMapsOnly = `apiVersion: v1
kind: ConfigMap
metadata: {name: NAMENS, labels: {app: NAME}}
data: {value: "VALUE"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME-aNS, labels: {app: NAME}}
data: {value: a}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME-bNS, labels: {app: NAME}}
data: {value: b}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME-cNS, labels: {app: NAME}}
data: {value: c}
`

// build is the bare build of a kustomize site, from files in memory.
func (s *site) build(files map[string]string) (objects int, err error) {
	disk := filesys.MakeFsInMemory()
	for name, content := range files {
		if err := disk.WriteFile(name, []byte(content)); err != nil {
			return 0, err
		}
	}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(disk, s.path())
	if err != nil {
		return 0, err
	}
	if _, err := resources.AsYaml(); err != nil {
		return 0, err
	}
	return resources.Size(), nil
}

// decode returns the objects of a plain site.
func (s *site) decode() ([]*unstructured.Unstructured, error) {
	if s.built() {
		return nil, fmt.Errorf("site %s: %w", s.name, fs.ErrInvalid)
	}
	files := s.tree()
	var out []*unstructured.Unstructured
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for doc := range strings.SplitSeq(files[name], "\n---\n") {
			u := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out = append(out, u)
		}
	}
	return out, nil
}
