package desired

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/openapi"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// ErrNoSchema means that the server publishes no schema for a kind.
var ErrNoSchema = errors.New("no schema for this kind")

// Schemas holds what the API server publishes about its types, fetched once a
// group version. It is safe for concurrent use.
type Schemas struct {
	client openapi.Client

	mu    sync.Mutex
	paths map[string]openapi.GroupVersion
	types map[schema.GroupVersion]groupVersion
}

// A groupVersion is the parsed schema of one group version.
type groupVersion struct {
	managedfields.TypeConverter
	kinds map[string]bool
}

// NewSchemas returns Schemas that ask client on first use.
func NewSchemas(client openapi.Client) *Schemas {
	return &Schemas{client: client, types: map[schema.GroupVersion]groupVersion{}}
}

// Refresh forgets everything, as after a change of a CustomResourceDefinition.
func (s *Schemas) Refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths = nil
	clear(s.types)
}

// Declared returns the paths that the manifest g declares. Without a schema
// lists are atomic, as the API server has it.
func (s *Schemas) Declared(g *unstructured.Unstructured) (*fieldpath.Set, error) {
	v, err := s.typed(g, typed.AllowDuplicates)
	if errors.Is(err, ErrNoSchema) {
		v, err = typed.DeducedParseableType.FromUnstructured(g.Object, typed.AllowDuplicates)
	}
	if err != nil {
		return nil, fmt.Errorf("paths of %s %s: %w", g.GetKind(), g.GetName(), err)
	}
	return v.ToFieldSet()
}

// Validate checks g against the published schema: unknown fields, wrong types,
// items that bear one key. It returns an error wrapping [ErrNoSchema] if there is
// none. What it passes the server may still refuse.
func (s *Schemas) Validate(g *unstructured.Unstructured) error {
	_, err := s.typed(g)
	return err
}

func (s *Schemas) typed(g *unstructured.Unstructured, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	types, err := s.converter(g.GroupVersionKind().GroupVersion())
	if err != nil {
		return nil, err
	}
	if !types.kinds[g.GetKind()] {
		return nil, ErrNoSchema
	}
	return types.ObjectToTyped(g, opts...)
}

func (s *Schemas) converter(gv schema.GroupVersion) (groupVersion, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if types, ok := s.types[gv]; ok {
		return types, nil
	}
	if s.paths == nil {
		paths, err := s.client.Paths()
		if err != nil {
			return groupVersion{}, fmt.Errorf("listing OpenAPI schemas: %w", err)
		}
		s.paths = paths
	}
	path := "apis/" + gv.String()
	if gv.Group == "" {
		path = "api/" + gv.Version
	}
	doc, ok := s.paths[path]
	if !ok {
		return groupVersion{}, ErrNoSchema
	}
	raw, err := doc.Schema("application/json")
	if err != nil {
		return groupVersion{}, fmt.Errorf("fetching the OpenAPI schema of %s: %w", gv, err)
	}
	var api spec3.OpenAPI
	if err := json.Unmarshal(raw, &api); err != nil {
		return groupVersion{}, fmt.Errorf("the OpenAPI schema of %s: %w", gv, err)
	}
	if api.Components == nil {
		return groupVersion{}, ErrNoSchema
	}
	tc, err := managedfields.NewTypeConverter(api.Components.Schemas, false)
	if err != nil {
		return groupVersion{}, fmt.Errorf("the OpenAPI schema of %s: %w", gv, err)
	}
	types := groupVersion{TypeConverter: tc, kinds: kindsOf(api.Components.Schemas, gv)}
	s.types[gv] = types
	return types, nil
}

// kindsOf lists the kinds of a group version among schemas.
func kindsOf(schemas map[string]*spec.Schema, gv schema.GroupVersion) map[string]bool {
	kinds := map[string]bool{}
	for _, s := range schemas {
		gvks, _ := s.Extensions["x-kubernetes-group-version-kind"].([]any)
		for _, v := range gvks {
			gvk, _ := v.(map[string]any)
			if gvk["group"] == gv.Group && gvk["version"] == gv.Version {
				kind, _ := gvk["kind"].(string)
				kinds[kind] = true
			}
		}
	}
	return kinds
}
