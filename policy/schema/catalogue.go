package schema

import (
	"archive/zip"
	_ "embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/schema/internal/openapi"
)

//go:generate go run ./internal/generate

// kubernetesZip holds the schemas of Kubernetes; internal/generate writes it.
//
//go:embed kubernetes.zip
var kubernetesZip string

// A kinds is the catalogue of the built-in kinds. Schemas are read when they are
// first asked for.
type kinds struct {
	kubernetes string
	archive    fs.FS
	exact      map[schema.GroupVersionKind]*builtin
	byKind     map[schema.GroupKind][]*builtin
	byName     map[string][]*builtin
	groups     map[string]bool
	documents  map[schema.GroupVersion]*document
}

// A builtin is a kind of Kubernetes in one version.
type builtin struct {
	openapi.Kind
	document *document
	once     sync.Once
	node     *node
	err      error
}

func (k *builtin) groupVersion() string {
	return schema.GroupVersion{Group: k.Group, Version: k.Version}.String()
}

// A document is the schemas of a group version.
type document struct {
	name string
	once sync.Once
	doc  openapi.Document
	err  error

	mu    sync.Mutex
	nodes map[string]*node
}

// catalogue opens the embedded archive. Failing to is a defect of the build, which
// a test would have found.
var catalogue = sync.OnceValue(func() *kinds {
	c, err := openCatalogue(kubernetesZip)
	if err != nil {
		panic(fmt.Sprintf("schema: the embedded schemas of Kubernetes are damaged: %v", err))
	}
	return c
})

func openCatalogue(raw string) (*kinds, error) {
	archive, err := zip.NewReader(strings.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, err
	}
	data, err := fs.ReadFile(archive, openapi.IndexName)
	if err != nil {
		return nil, err
	}
	var index openapi.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, err
	}
	c := &kinds{kubernetes: index.Kubernetes, archive: archive,
		exact:     make(map[schema.GroupVersionKind]*builtin, len(index.Kinds)),
		byKind:    make(map[schema.GroupKind][]*builtin, len(index.Kinds)),
		byName:    make(map[string][]*builtin, len(index.Kinds)),
		groups:    map[string]bool{},
		documents: map[schema.GroupVersion]*document{},
	}
	for _, k := range index.Kinds {
		gvk := schema.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.Kind}
		doc := c.documents[gvk.GroupVersion()]
		if doc == nil {
			doc = &document{name: openapi.DocumentName(k.Group, k.Version), nodes: map[string]*node{}}
			c.documents[gvk.GroupVersion()] = doc
		}
		b := &builtin{Kind: k, document: doc}
		c.exact[gvk] = b
		c.byKind[gvk.GroupKind()] = append(c.byKind[gvk.GroupKind()], b)
		c.byName[k.Kind] = append(c.byName[k.Kind], b)
		c.groups[k.Group] = true
	}
	return c, nil
}

// find returns a built-in kind, ready to be used; nil if there is none.
func (c *kinds) find(gvk schema.GroupVersionKind) (*builtin, error) {
	k := c.exact[gvk]
	if k == nil {
		return nil, nil
	}
	k.once.Do(func() { k.node, k.err = k.document.compile(c.archive, k.Schema) })
	return k, k.err
}

// compile returns the node of a component.
func (d *document) compile(archive fs.FS, component string) (*node, error) {
	d.once.Do(func() {
		var data []byte
		if data, d.err = fs.ReadFile(archive, d.name); d.err == nil {
			d.err = json.Unmarshal(data, &d.doc)
		}
	})
	if d.err != nil {
		return nil, fmt.Errorf("%s: %w: %w", d.name, ErrUnusable, d.err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := compiler{schemas: d.doc.Components.Schemas, nodes: d.nodes}
	n := c.component(component)
	if c.err != nil {
		return nil, fmt.Errorf("%s: %w: %w", d.name, ErrUnusable, c.err)
	}
	return n, nil
}
