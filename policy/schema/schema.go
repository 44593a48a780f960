package schema

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// ErrNoSchema means that nothing is known of a kind: Kubernetes does not define
	// it and no CustomResourceDefinition was given. Whether the object is valid
	// cannot be told.
	ErrNoSchema = errors.New("no schema for this kind")
	// ErrUnusable means that there is a schema by which the object could not be
	// judged: the CustomResourceDefinition is invalid, or judging would cost too much.
	ErrUnusable = errors.New("schema cannot be used")
)

// A Problem is one way in which an object does not fit its schema.
type Problem struct {
	// Field is the path of the field at fault, as in
	// spec.template.spec.containers[0].ports[0].containerPort. It is empty if the
	// object as a whole is.
	Field string
	// Message is one line, bounded, without control characters. It names the field.
	// That of a built-in kind never quotes a string; that of a custom resource may,
	// as the API server's does.
	Message string
	// Unknown says that the schema has no such field.
	Unknown bool
	// NotServed says that the kind exists, or once did, but not in this version.
	NotServed bool
}

// Options configure a [Validator]. There are none yet.
type Options struct{}

// A Validator validates objects. The zero value is not ready: use [New]. It is safe
// for concurrent use.
type Validator struct {
	mu   sync.RWMutex
	crds map[schema.GroupKind]*definition
}

// definitionKind is the kind whose objects define kinds.
var definitionKind = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

// New returns a Validator that knows the kinds of Kubernetes. It reads nothing yet.
func New(Options) *Validator {
	return &Validator{crds: map[schema.GroupKind]*definition{}}
}

// Version returns the version of Kubernetes whose kinds are known, as in 1.37.
func Version() string {
	major, rest, _ := strings.Cut(strings.TrimPrefix(catalogue().kubernetes, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	return major + "." + minor
}

// Validate returns what is wrong with obj, the content of an unstructured object,
// sorted by field; at most [MaxProblems] problems. obj is not changed.
//
// An error means that obj could not be judged, never that it is valid: it wraps
// [ErrNoSchema], [ErrUnusable], or the error of ctx.
func (v *Validator) Validate(ctx context.Context, obj map[string]any) ([]Problem, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	gvk, problems := kindOf(obj)
	if problems != nil {
		return problems, nil
	}
	k, err := catalogue().find(gvk)
	if err != nil {
		return nil, err
	}
	if k != nil {
		problems := validateBuiltin(k, obj)
		if gvk == definitionKind && len(problems) == 0 {
			problems = checkDefinition(obj)
		}
		return problems, nil
	}
	if d := v.definition(gvk.GroupKind()); d != nil {
		return d.validate(ctx, gvk.Version, obj)
	}
	if p, ok := notServed(gvk); ok {
		return []Problem{p}, nil
	}
	return nil, fmt.Errorf("%s %s: %w", clean(gvk.Kind), clean(gvk.GroupVersion().String()), ErrNoSchema)
}

// Scope reports whether objects of a kind are namespaced, and whether the kind is
// known.
func (v *Validator) Scope(group, kind string) (namespaced, known bool) {
	gk := schema.GroupKind{Group: group, Kind: kind}
	if kinds := catalogue().byKind[gk]; len(kinds) > 0 {
		return kinds[0].Namespaced, true
	}
	if d := v.definition(gk); d != nil {
		return d.namespaced, true
	}
	return false, false
}

func (v *Validator) definition(gk schema.GroupKind) *definition {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.crds[gk]
}

// kindOf reads the kind of an object.
func kindOf(obj map[string]any) (schema.GroupVersionKind, []Problem) {
	var problems []Problem
	apiVersion, _ := obj["apiVersion"].(string)
	kind, _ := obj["kind"].(string)
	gv, err := schema.ParseGroupVersion(apiVersion)
	switch {
	case obj["apiVersion"] == nil:
		problems = append(problems, required("apiVersion"))
	case apiVersion == "":
		problems = append(problems, mistyped("apiVersion", obj["apiVersion"], "a group and version"))
	case err != nil || gv.Version == "":
		problems = append(problems, Problem{Field: "apiVersion",
			Message: fmt.Sprintf("apiVersion: Invalid value: %q: must be a group and version", short(apiVersion))})
	}
	switch {
	case obj["kind"] == nil || obj["kind"] == "":
		problems = append(problems, required("kind"))
	case kind == "":
		problems = append(problems, mistyped("kind", obj["kind"], "string"))
	}
	return gv.WithKind(kind), problems
}

// arrange sorts problems and drops what is said twice.
func arrange(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		if c := strings.Compare(a.Field, b.Field); c != 0 {
			return c
		}
		return strings.Compare(a.Message, b.Message)
	})
	problems = slices.Compact(problems)
	if len(problems) > MaxProblems {
		problems = append(problems[:MaxProblems-1:MaxProblems-1], Problem{Message: "there are more problems than these"})
	}
	return problems
}
