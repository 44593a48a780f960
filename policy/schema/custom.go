package schema

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

// A custom is the compiled schema of a version of a custom resource.
type custom struct {
	schema    *structural.Structural
	validator validation.SchemaValidator
	rules     *cel.Validator // nil if there is no rule
	preserve  bool
	status    bool // is a subresource
	scale     *apiextensions.CustomResourceSubresourceScale
}

// validate does what the API server does to an object that is created, in the same
// order and by the same libraries.
func (c *custom) validate(ctx context.Context, obj map[string]any) ([]Problem, error) {
	if _, err := measure(obj); err != nil {
		return []Problem{{Message: clean(err.Error())}}, nil
	}
	if work(c.schema, obj) > maxWork {
		return nil, fmt.Errorf("%w: it would take more than %d checks to validate this object", ErrUnusable, maxWork)
	}
	problems, err := validateMetadata(obj)
	if err != nil {
		return nil, err
	}
	obj = asSent(obj).(map[string]any)
	problems = append(problems, c.coerce(obj)...)
	if c.status {
		delete(obj, "status")
	}
	for _, err := range c.check(ctx, obj) {
		problems = append(problems, Problem{Field: clean(err.Field), Message: clean(err.Error())})
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return arrange(problems), nil
}

// coerce brings obj into the form in which it is validated, and returns what had no
// place in it. A null for which there is a default is replaced; any other stays, for
// server-side apply does not drop it as a plain write would.
func (c *custom) coerce(obj map[string]any) (problems []Problem) {
	track := structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	defaulting.Default(obj, c.schema)
	if !c.preserve {
		for _, at := range pruning.PruneWithOptions(obj, c.schema, true, track) {
			problems = append(problems, unknown(at))
		}
	}
	err, strange := objectmeta.CoerceWithOptions(nil, obj, c.schema, false, objectmeta.CoerceOptions{ReturnUnknownFieldPaths: true})
	for _, at := range strange {
		problems = append(problems, unknown(at))
	}
	if err != nil {
		problems = append(problems, Problem{Field: clean(err.Field), Message: clean(err.Error())})
	}
	return problems
}

// check runs the validations of the schema, and its rules if nothing is in their
// way.
func (c *custom) check(ctx context.Context, obj map[string]any) field.ErrorList {
	errs := validation.ValidateCustomResource(nil, obj, c.validator)
	errs = append(errs, c.checkScale(obj)...)
	errs = append(errs, objectmeta.Validate(ctx, nil, obj, c.schema, false)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, c.schema, obj)...)
	if len(errs) == 0 {
		errs = checkScalars(nil, c.schema, obj)
	}
	if c.rules == nil || blocking(errs) {
		return errs
	}
	broken, _ := c.rules.Validate(ctx, nil, c.schema, obj, nil, celconfig.RuntimeCELCostBudget)
	return append(errs, broken...)
}

// blocking reports whether the API server would not try rules on an object with
// these errors.
func blocking(errs field.ErrorList) bool {
	for _, err := range errs {
		switch err.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return true
		}
	}
	return false
}

// maxReplicas is the most that the scale subresource can tell.
const maxReplicas = 1<<31 - 1

// checkScale checks the field that the scale subresource reads.
func (c *custom) checkScale(obj map[string]any) field.ErrorList {
	if c.scale == nil {
		return nil
	}
	at := field.NewPath(c.scale.SpecReplicasPath)
	n, _, err := unstructured.NestedInt64(obj, strings.Split(strings.TrimPrefix(c.scale.SpecReplicasPath, "."), ".")...)
	switch {
	case err != nil:
		return field.ErrorList{field.Invalid(at, n, err.Error())}
	case n < 0:
		return field.ErrorList{field.Invalid(at, n, "should be a non-negative integer")}
	case n > maxReplicas:
		return field.ErrorList{field.Invalid(at, n, fmt.Sprintf("should be less than or equal to %v", int64(maxReplicas)))}
	}
	return nil
}

// checkScalars finds lists and objects in the place of texts with a format, which
// the validator lets through and server-side apply does not.
func checkScalars(at *field.Path, s *structural.Structural, v any) (errs field.ErrorList) {
	switch v := v.(type) {
	case map[string]any:
		if s.Type == "string" {
			return field.ErrorList{field.Invalid(at, "object", "must be string")}
		}
		for name, e := range v {
			if p, ok := s.Properties[name]; ok {
				errs = append(errs, checkScalars(at.Child(name), &p, e)...)
			} else if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
				errs = append(errs, checkScalars(at.Key(name), s.AdditionalProperties.Structural, e)...)
			}
		}
	case []any:
		if s.Type == "string" {
			return field.ErrorList{field.Invalid(at, "array", "must be string")}
		}
		for i, e := range v {
			if s.Items != nil {
				errs = append(errs, checkScalars(at.Index(i), s.Items, e)...)
			}
		}
	}
	return errs
}
