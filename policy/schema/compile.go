package schema

import (
	"encoding/json"
	"fmt"
	"strings"

	"gitgate.dev/gitgate/policy/schema/internal/openapi"
)

// A shape is what a value must look like.
type shape int

const (
	anything shape = iota
	object         // of known fields
	freeform       // an object of any fields
	mapping        // an object whose values are of one shape
	list
	text
	boolean
	integer32
	integer64
	number
	intOrString
	quantity
)

// shapeNames says in messages what a value must be.
var shapeNames = map[shape]string{
	object: "object", freeform: "object", mapping: "object", list: "array", text: "string", boolean: "boolean",
	integer32: "integer", integer64: "integer", number: "number", intOrString: "integer or string", quantity: "quantity",
}

// A node is a compiled schema: what must be known to check a value, and nothing
// else. Nodes are immutable once compiled, and may be recursive.
type node struct {
	shape    shape
	fields   map[string]*node // of an object
	required []string         // fields that an object must have
	elem     *node            // of a mapping or a list
	keys     []key            // fields that tell the items of a list apart
	set      bool             // the items of the list differ
	form     form             // of a text
}

// A key is a field that tells the items of a list apart.
type key struct {
	name     string
	fallback any // the value of an item without the field; nil: it must have one
}

// intrinsic are the components with a form of their own, which OpenAPI does not
// tell in full.
var intrinsic = map[string]node{
	"io.k8s.apimachinery.pkg.api.resource.Quantity":   {shape: quantity},
	"io.k8s.apimachinery.pkg.util.intstr.IntOrString": {shape: intOrString},
	"io.k8s.apimachinery.pkg.runtime.RawExtension":    {shape: anything},
	"io.k8s.apimachinery.pkg.apis.meta.v1.Time":       {shape: text, form: timestamp},
	"io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime":  {shape: text, form: microTimestamp},
	"io.k8s.apimachinery.pkg.apis.meta.v1.Duration":   {shape: text, form: duration},
}

// A compiler turns the schemas of a document into nodes.
type compiler struct {
	schemas map[string]*openapi.Schema
	nodes   map[string]*node // by component
	err     error
}

// component compiles a component once, so that references to it share a node.
func (c *compiler) component(name string) *node {
	if n, ok := c.nodes[name]; ok {
		return n
	}
	s := c.schemas[name]
	if s == nil {
		c.err = fmt.Errorf("component %s is missing", name)
		return &node{}
	}
	n := &node{}
	c.nodes[name] = n // before its fields, which may refer to it
	if known, ok := intrinsic[name]; ok {
		*n = known
		return n
	}
	c.fill(n, s)
	n.required = without(n.required, notRequired[unversioned(name)])
	return n
}

func (c *compiler) schema(s *openapi.Schema) *node {
	if name, ok := s.Target(); ok {
		return c.component(name)
	}
	n := &node{}
	c.fill(n, s)
	return n
}

// fill compiles an inline schema into n.
func (c *compiler) fill(n *node, s *openapi.Schema) {
	switch s.Type {
	case "":
		n.shape = anything
	case "object":
		c.fillObject(n, s)
	case "array":
		c.fillList(n, s)
	case "string":
		n.shape = text
		if s.Format == "byte" {
			n.form = base64Text
		}
	case "boolean":
		n.shape = boolean
	case "number":
		n.shape = number
	case "integer":
		n.shape = integer64
		if s.Format == "int32" {
			n.shape = integer32
		}
	default:
		c.err = fmt.Errorf("a schema has the unknown type %q", s.Type)
	}
}

func (c *compiler) fillObject(n *node, s *openapi.Schema) {
	switch {
	case s.Properties != nil:
		n.shape, n.required = object, s.Required
		n.fields = make(map[string]*node, len(s.Properties))
		for name, p := range s.Properties {
			n.fields[name] = c.schema(p)
		}
	case s.AdditionalProperties != nil:
		n.shape, n.elem = mapping, c.schema(s.AdditionalProperties)
	default:
		n.shape = freeform
	}
}

func (c *compiler) fillList(n *node, s *openapi.Schema) {
	n.shape = list
	if s.Items == nil {
		c.err = fmt.Errorf("a list has no items")
		return
	}
	n.elem = c.schema(s.Items)
	n.set = s.ListType == "set"
	if s.ListType != "map" {
		return
	}
	items := s.Items
	if name, ok := items.Target(); ok {
		items = c.schemas[name]
	}
	for _, name := range s.ListMapKeys {
		k := key{name: name}
		if p := items.Properties[name]; p != nil && p.Default != nil {
			if err := json.Unmarshal(p.Default, &k.fallback); err != nil {
				c.err = err
			}
		}
		n.keys = append(n.keys, k)
	}
}

// unversioned drops the version from the name of a component, and where it is from:
// io.k8s.api.apps.v1.DeploymentSpec becomes apps.DeploymentSpec.
func unversioned(component string) string {
	parts := strings.Split(component, ".")
	if len(parts) < 3 {
		return component
	}
	return parts[len(parts)-3] + "." + parts[len(parts)-1]
}

func without(names, drop []string) []string {
	var out []string
next:
	for _, n := range names {
		for _, d := range drop {
			if n == d {
				continue next
			}
		}
		out = append(out, n)
	}
	return out
}
