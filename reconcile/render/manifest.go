package render

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"gitgate.dev/gitgate/policy/verdict"
)

// A manifest is one object as a file declares it. It is shared through the cache
// and must not be changed.
type manifest struct {
	object    *unstructured.Unstructured
	document  int
	line      int
	encrypted bool // carries SOPS metadata
	local     bool // asks kustomize to leave it out
}

// A parsedFile is what one file declares, whatever its path.
type parsedFile struct {
	manifests []manifest
	problems  []problem
	raw       []byte // only where a manifest is encrypted

	once  sync.Once
	known []facts // see facts
}

// parseManifests reads the objects that a file declares.
func parseManifests(raw []byte, l Limits, s *sharer) *parsedFile {
	out := &parsedFile{}
	docs, problems := readDocuments(raw, l, s)
	out.problems = problems
	for _, d := range docs {
		out.document(d)
	}
	for _, m := range out.manifests {
		if m.encrypted {
			out.raw = raw
		}
	}
	return out
}

func (f *parsedFile) document(d document) {
	top, ok := d.value.(map[string]any)
	if !ok {
		f.problems = append(f.problems, deny(verdict.InvalidManifest, d.node.Line, "document is not a Kubernetes object: it is not a mapping"))
		return
	}
	kind, _ := top["kind"].(string)
	items, hasItems := top["items"]
	if !strings.HasSuffix(kind, "List") || !hasItems {
		f.object(top, d.node, d.index)
		return
	}
	f.list(d, top, kind, items)
}

// listFields are the fields of a list that may be dropped with it.
var listFields = map[string]bool{"apiVersion": true, "kind": true, "metadata": true, "items": true}

// list takes a List apart: each of its items is judged and applied like a document
// of its own.
func (f *parsedFile) list(d document, top map[string]any, kind string, items any) {
	root := resolveAlias(d.node)
	for _, k := range slices.Sorted(maps.Keys(top)) {
		if !listFields[k] {
			f.problems = append(f.problems, deny(verdict.InvalidManifest, keyLine(root, k),
				"%s has field %q, which would be lost; write its items as separate documents", kind, k))
		}
	}
	list, ok := items.([]any)
	if !ok && items != nil {
		f.problems = append(f.problems, deny(verdict.InvalidManifest, keyLine(root, "items"), "items of %s is not a list", kind))
		return
	}
	nodes := resolveAlias(child(root, "items"))
	for i, item := range list {
		node := d.node
		if nodes != nil && i < len(nodes.Content) {
			node = nodes.Content[i]
		}
		o, ok := item.(map[string]any)
		if !ok {
			f.problems = append(f.problems, deny(verdict.InvalidManifest, node.Line, "items[%d] of %s is not an object", i, kind))
			continue
		}
		if k, _ := o["kind"].(string); strings.HasSuffix(k, "List") && has(o, "items") {
			f.problems = append(f.problems, deny(verdict.InvalidManifest, node.Line, "items[%d] of %s is a list itself; lists do not nest", i, kind))
			continue
		}
		f.object(typed(o, top, kind), node, d.index)
	}
}

func has(o map[string]any, field string) bool {
	_, there := o[field]
	return there
}

// typed gives an item the type that a list of one kind implies.
func typed(item, list map[string]any, kind string) map[string]any {
	if has(item, "kind") || has(item, "apiVersion") || kind == "List" {
		return item
	}
	out := maps.Clone(item)
	out["apiVersion"], out["kind"] = list["apiVersion"], strings.TrimSuffix(kind, "List")
	return out
}

// object judges one object and keeps it when nothing is wrong.
func (f *parsedFile) object(o map[string]any, node *yamlv3.Node, index int) {
	c := objectCheck{node: resolveAlias(node), line: node.Line}
	c.judge(o)
	blocked := false
	for _, p := range c.problems {
		blocked = blocked || p.severity.Blocks()
	}
	f.problems = append(f.problems, c.problems...)
	if blocked {
		return
	}
	if has(o, "status") {
		o = maps.Clone(o)
		delete(o, "status")
	}
	u := &unstructured.Unstructured{Object: o}
	_, encrypted := o["sops"].(map[string]any)
	local, marked := u.GetAnnotations()[localConfig]
	f.manifests = append(f.manifests, manifest{
		object: u, document: index, line: node.Line, encrypted: encrypted, local: marked && local != "false",
	})
}

// localConfig marks an object that configures a tool and is not for the cluster.
const localConfig = "config.kubernetes.io/local-config"

// An objectCheck collects what is wrong with one object.
type objectCheck struct {
	node     *yamlv3.Node
	line     int
	problems []problem
}

func (c *objectCheck) add(field, format string, args ...any) {
	p := deny(verdict.InvalidManifest, lineOf(c.node, field, c.line), format, args...)
	p.field = field
	c.problems = append(c.problems, p)
}

var kindName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,62}$`)

func (c *objectCheck) judge(o map[string]any) {
	apiVersion, _ := o["apiVersion"].(string)
	kind, _ := o["kind"].(string)
	if apiVersion == "" || kind == "" {
		c.add("", "document is not a Kubernetes object: apiVersion and kind must be strings; move other files out of the path")
		return
	}
	gv, err := schema.ParseGroupVersion(apiVersion)
	switch {
	case err != nil || gv.Version == "" || len(validation.IsDNS1035Label(gv.Version)) > 0 ||
		gv.Group != "" && len(validation.IsDNS1123Subdomain(gv.Group)) > 0:
		c.add("apiVersion", "apiVersion %q is not group/version", apiVersion)
	case gv.Group == "kustomize.config.k8s.io":
		c.add("kind", "%s is an instruction to kustomize and not an object; name the file kustomization.yaml or move it out of the path", kind)
	case !kindName.MatchString(kind):
		c.add("kind", "kind %q is not the name of a kind", kind)
	}
	metadata, ok := o["metadata"].(map[string]any)
	if !ok {
		c.add("metadata", "%s has no metadata with a name", kind)
		return
	}
	c.names(metadata, kind)
	c.strings(metadata, "labels")
	c.strings(metadata, "annotations")
	if gv.Group == "" && (kind == "ConfigMap" || kind == "Secret") {
		for _, field := range []string{"data", "binaryData", "stringData"} {
			if v, has := o[field]; has && v != nil {
				if _, ok := v.(map[string]any); !ok {
					c.add(field, "%s of a %s must be a mapping", field, kind)
				}
			}
		}
	}
	if has(o, "status") {
		p := deny(verdict.InvalidManifest, lineOf(c.node, "status", c.line), "status is set by controllers and left out; remove it")
		p.severity, p.field = verdict.Warn, "status"
		c.problems = append(c.problems, p)
	}
}

// names judges what identifies the object, for that is what Git declares.
func (c *objectCheck) names(metadata map[string]any, kind string) {
	if v, has := metadata["generateName"]; has && v != "" && v != nil {
		c.add("metadata.generateName", "%s has generateName: an object whose name changes with every apply cannot be declared; set name", kind)
	}
	name, ok := metadata["name"].(string)
	switch v := metadata["name"]; {
	case v == nil || v == "":
		if len(c.problems) == 0 {
			c.add("metadata.name", "%s has no name", kind)
		}
	case !ok:
		c.add("metadata.name", "name of %s is not a string; quote it", kind)
	case len(content.IsPathSegmentName(name)) > 0 || len(name) > 253:
		c.add("metadata.name", "name %q of %s cannot be part of a URL path", name, kind)
	}
	namespace, ok := metadata["namespace"].(string)
	switch v := metadata["namespace"]; {
	case v == nil || v == "":
	case !ok:
		c.add("metadata.namespace", "namespace of %s is not a string; quote it", kind)
	case len(validation.IsDNS1123Label(namespace)) > 0:
		c.add("metadata.namespace", "namespace %q is not a DNS label", namespace)
	}
}

// strings requires a mapping of strings: readers of labels skip the whole mapping
// when one value is something else, and a policy would then see none of them.
func (c *objectCheck) strings(metadata map[string]any, field string) {
	v, has := metadata[field]
	if !has || v == nil {
		return
	}
	m, ok := v.(map[string]any)
	if !ok {
		c.add("metadata."+field, "%s is not a mapping", field)
		return
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if _, ok := m[k].(string); !ok {
			c.add("metadata."+field+"."+k, "value of %s %q is not a string; quote it", strings.TrimSuffix(field, "s"), k)
		}
	}
}
