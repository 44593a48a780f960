package schema

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

// Bounds of a CustomResourceDefinition.
const (
	// maxVersions bounds the versions that are read.
	maxVersions = 100
	// maxSchemaNodes bounds what is read of the schema of a version, in values.
	maxSchemaNodes = 300_000
	// maxRules bounds the CEL rules of a version: each is compiled.
	maxRules = 2000
)

// A definition is a kind that a CustomResourceDefinition defines.
type definition struct {
	name       string
	gk         schema.GroupKind
	namespaced bool
	preserve   bool // keeps unknown fields at the root
	versions   []*definedVersion
}

// A definedVersion is one version of a definition. It is compiled when an object of
// it is first judged.
type definedVersion struct {
	name   string
	served bool
	raw    map[string]any

	once     sync.Once
	compiled *custom
	err      error
}

// AddCRD adds the kind that a CustomResourceDefinition (apiextensions.k8s.io/v1)
// defines. One that was added before for the same kind is replaced. Built-in kinds
// come first. obj must not be changed afterwards.
//
// An error means that obj names no kind, and that nothing was added. What is wrong
// with a schema shows when an object is to be judged by it: [Validator.Validate]
// returns [ErrUnusable]. Whether obj itself is valid is Validate's to say, too.
func (v *Validator) AddCRD(obj map[string]any) error {
	if obj["apiVersion"] != "apiextensions.k8s.io/v1" || obj["kind"] != "CustomResourceDefinition" {
		return errors.New("not a CustomResourceDefinition of apiextensions.k8s.io/v1")
	}
	meta, _ := obj["metadata"].(map[string]any)
	spec, _ := obj["spec"].(map[string]any)
	names, _ := spec["names"].(map[string]any)
	name, _ := meta["name"].(string)
	d := &definition{name: clean(short(name))}
	d.gk.Group, _ = spec["group"].(string)
	d.gk.Kind, _ = names["kind"].(string)
	d.preserve, _ = spec["preserveUnknownFields"].(bool)
	if d.gk.Group == "" || d.gk.Kind == "" {
		return fmt.Errorf("CustomResourceDefinition %s: spec.group and spec.names.kind must be text", d.name)
	}
	switch spec["scope"] {
	case "Namespaced":
		d.namespaced = true
	case "Cluster":
	default:
		return fmt.Errorf("CustomResourceDefinition %s: spec.scope must be Cluster or Namespaced", d.name)
	}
	versions, _ := spec["versions"].([]any)
	if len(versions) == 0 || len(versions) > maxVersions {
		return fmt.Errorf("CustomResourceDefinition %s: spec.versions must hold 1 to %d versions", d.name, maxVersions)
	}
	for i, one := range versions {
		raw, _ := one.(map[string]any)
		name, _ := raw["name"].(string)
		if name == "" || d.version(name) != nil {
			return fmt.Errorf("CustomResourceDefinition %s: spec.versions[%d].name must be text that no other version has", d.name, i)
		}
		served, _ := raw["served"].(bool)
		d.versions = append(d.versions, &definedVersion{name: name, served: served, raw: raw})
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.crds[d.gk] = d
	return nil
}

func (d *definition) version(name string) *definedVersion {
	i := slices.IndexFunc(d.versions, func(v *definedVersion) bool { return v.name == name })
	if i < 0 {
		return nil
	}
	return d.versions[i]
}

// validate judges an object in a version of the kind.
func (d *definition) validate(ctx context.Context, version string, obj map[string]any) ([]Problem, error) {
	v := d.version(version)
	if v == nil || !v.served {
		return []Problem{notServedBy(d, d.gk.WithVersion(version))}, nil
	}
	v.once.Do(func() {
		v.err = guard(func() (err error) {
			v.compiled, err = d.compile(v.raw)
			return err
		})
		v.raw = nil
	})
	if v.err != nil {
		return nil, fmt.Errorf("%w: CustomResourceDefinition %s, version %s: %s", ErrUnusable, d.name, v.name, clean(v.err.Error()))
	}
	var problems []Problem
	err := guard(func() (err error) {
		problems, err = v.compiled.validate(ctx, obj)
		return err
	})
	return problems, err
}

// guard turns a panic of a library into an error.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %.200s", ErrUnusable, fmt.Sprint(r))
		}
	}()
	return f()
}

// readVersion reads a version of a definition, bounded.
func readVersion(raw map[string]any) (*apiextensions.CustomResourceDefinitionVersion, error) {
	size, err := measure(raw)
	if err != nil {
		return nil, err
	}
	if size > maxSchemaNodes {
		return nil, fmt.Errorf("it holds more than %d values", maxSchemaNodes)
	}
	data, err := json.Marshal(raw)
	if err != nil {
		return nil, err
	}
	var version apiextensionsv1.CustomResourceDefinitionVersion
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, err
	}
	var internal apiextensions.CustomResourceDefinitionVersion
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinitionVersion_To_apiextensions_CustomResourceDefinitionVersion(
		&version, &internal, nil); err != nil {
		return nil, err
	}
	if internal.Schema == nil || internal.Schema.OpenAPIV3Schema == nil {
		return nil, errors.New("it has no schema")
	}
	return &internal, nil
}

// compile reads a version as the API server does when it begins to serve it.
func (d *definition) compile(raw map[string]any) (*custom, error) {
	version, err := readVersion(raw)
	if err != nil {
		return nil, err
	}
	props := version.Schema.OpenAPIV3Schema
	s, err := structural.NewStructural(props)
	if err != nil {
		return nil, err
	}
	if errs := structural.ValidateStructural(schemaPath, s); len(errs) > 0 {
		return nil, fmt.Errorf("not a structural schema: %w", errs[0])
	}
	if n := countRules(s); n > maxRules {
		return nil, fmt.Errorf("%d validation rules are more than %d", n, maxRules)
	}
	if err := defaulting.PruneDefaults(s); err != nil {
		return nil, err
	}
	validator, _, err := validation.NewSchemaValidator(props)
	if err != nil {
		return nil, err
	}
	c := &custom{schema: s, validator: validator, preserve: d.preserve,
		rules: cel.NewValidator(s, true, celconfig.PerCallLimit)}
	if sub := version.Subresources; sub != nil {
		c.status = sub.Status != nil
		c.scale = sub.Scale
	}
	return c, nil
}

// schemaPath is where a version holds its schema.
var schemaPath = field.NewPath("schema", "openAPIV3Schema")

// checkDefinition finds schemas in a CustomResourceDefinition that are not
// structural, which the API server refuses. obj fits its own schema.
func checkDefinition(obj map[string]any) (problems []Problem) {
	spec, _ := obj["spec"].(map[string]any)
	versions, _ := spec["versions"].([]any)
	for i, one := range versions[:min(len(versions), maxVersions)] {
		raw, _ := one.(map[string]any)
		at := field.NewPath("spec", "versions").Index(i).Child("schema", "openAPIV3Schema")
		err := guard(func() error {
			version, err := readVersion(raw)
			if err != nil {
				return err
			}
			s, err := structural.NewStructural(version.Schema.OpenAPIV3Schema)
			if err != nil {
				return err
			}
			for _, err := range structural.ValidateStructural(at, s) {
				problems = append(problems, Problem{Field: clean(err.Field), Message: clean(err.Error())})
			}
			return nil
		})
		if err != nil {
			problems = append(problems, Problem{Field: at.String(), Message: clean(at.String() + ": " + err.Error())})
		}
	}
	return arrange(problems)
}

// countRules counts the CEL rules of a schema.
func countRules(s *structural.Structural) (n int) {
	visitor := structural.Visitor{
		Structural: func(s *structural.Structural) bool { n += len(s.XValidations); return false },
		NestedValueValidation: func(v *structural.NestedValueValidation) bool {
			n += len(v.ValidationExtensions.XValidations)
			return false
		},
	}
	visitor.Visit(s)
	return n
}
