package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/verdict"
)

// mustWait reports whether the server cannot judge the object before an earlier
// stage of the same release is applied.
func (prep *prepared) mustWait(it *item) bool {
	if it.deferred {
		return true
	}
	ns := prep.byKey[key{kind: "Namespace", name: it.key.namespace}]
	return ns != nil && it.key.namespace != "" && (ns.deferred || !ns.exists) && !ns.skip
}

// mayWait reports whether the server's refusal may be owed to something that an
// earlier stage of the same release brings or changes. Then the object is asked
// about once more at its turn, before anything of its stage is written.
func (prep *prepared) mayWait(it *item, err error) bool {
	var api apierrors.APIStatus
	if !errors.As(err, &api) {
		return false
	}
	status := api.Status()
	text := status.Message
	switch status.Code {
	case http.StatusNotFound:
		return prep.changes(it, kindNamespace, it.key.namespace)
	case http.StatusForbidden:
		if it.key.kind == kindPod.kind && it.key.group == "" &&
			(prep.changesKind(it, kindAccount) && strings.Contains(text, "service account") ||
				prep.changesKind(it, kindPriority) && strings.Contains(text, "PriorityClass")) {
			return true
		}
		return !strings.Contains(text, "exceeded quota") && prep.changesRBAC(it)
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusInternalServerError:
		d := prep.coming[it.gvk]
		return d != nil && !d.from.skip
	}
	return false
}

func (prep *prepared) changes(it *item, gk groupKind, name string) bool {
	other := prep.byKey[key{group: gk.group, kind: gk.kind, name: name}]
	return other != nil && !other.skip && other.stage < it.stage
}

func (prep *prepared) changesKind(it *item, gk groupKind) bool {
	for _, other := range prep.items {
		if other.key.group == gk.group && other.key.kind == gk.kind && !other.skip && other.stage < it.stage {
			return true
		}
	}
	return false
}

func (prep *prepared) changesRBAC(it *item) bool {
	for _, other := range prep.items {
		if other.key.group == rbacGroup && !other.skip && other.stage < it.stage {
			return true
		}
	}
	return false
}

// validateOffline checks an object that the server cannot judge yet against its
// schema.
func (a *Applier) validateOffline(prep *prepared, it *item) []verdict.Finding {
	if d := prep.coming[it.gvk]; d != nil {
		field, err := d.validate(it.g.Object)
		if err == nil {
			return nil
		}
		f := it.finding(verdict.SchemaInvalid, "%v", err)
		f.Field = field
		return []verdict.Finding{f}
	}
	err := a.schemas.Validate(it.g)
	switch {
	case err == nil, errors.Is(err, desired.ErrNoSchema):
		return nil
	case it.secret:
		return []verdict.Finding{it.finding(verdict.SchemaInvalid, "this Secret does not fit its schema; details are withheld because they may quote values")}
	case errors.Is(err, context.DeadlineExceeded):
		return []verdict.Finding{it.unanswered(err)}
	}
	f := it.finding(verdict.SchemaInvalid, "%v", err)
	f.Field = quotedField(err.Error())
	return []verdict.Finding{f}
}

// A definition is one version of a custom resource that the release defines. It is
// read in full only when it is needed, for most definitions are as they were.
type definition struct {
	from *item
	gvk  schema.GroupVersionKind

	once    sync.Once
	crd     *apiextensionsv1.CustomResourceDefinition
	version *apiextensionsv1.CustomResourceDefinitionVersion // nil if it cannot be read
}

// definitionsIn lists what a CustomResourceDefinition serves.
func definitionsIn(it *item) map[schema.GroupVersionKind]*definition {
	group, _, _ := unstructured.NestedString(it.from.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(it.from.Object, "spec", "names", "kind")
	at, _ := lookup(it.from.Object, []string{"spec", "versions"})
	versions, _ := at.([]any)
	out := map[schema.GroupVersionKind]*definition{}
	for _, v := range versions {
		v, _ := v.(map[string]any)
		name, _ := v["name"].(string)
		if v["served"] == true {
			gvk := schema.GroupVersionKind{Group: group, Version: name, Kind: kind}
			out[gvk] = &definition{from: it, gvk: gvk}
		}
	}
	return out
}

// read reads the definition. What it cannot read the server will refuse.
func (d *definition) read() bool {
	d.once.Do(func() {
		raw, err := json.Marshal(d.from.from.Object)
		if err != nil {
			return
		}
		d.crd = &apiextensionsv1.CustomResourceDefinition{}
		if json.Unmarshal(raw, d.crd) != nil {
			return
		}
		for i := range d.crd.Spec.Versions {
			if v := &d.crd.Spec.Versions[i]; v.Name == d.gvk.Version {
				d.version = v
			}
		}
	})
	return d.version != nil
}

// resource describes the kind as it will be served; nil if that cannot be told.
func (d *definition) resource() *resource {
	if !d.read() {
		return nil
	}
	return &resource{
		Kind: desired.Kind{GroupVersionKind: d.gvk,
			HasStatus: d.version.Subresources != nil && d.version.Subresources.Status != nil},
		plural:     d.crd.Spec.Names.Plural,
		namespaced: d.crd.Spec.Scope == apiextensionsv1.NamespaceScoped,
	}
}

// validate checks an object by the definition's schema, and returns the field at
// fault where one is known.
func (d *definition) validate(obj map[string]any) (field string, err error) {
	if !d.read() || d.version.Schema == nil || d.version.Schema.OpenAPIV3Schema == nil {
		return "", nil
	}
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
		d.version.Schema.OpenAPIV3Schema, &internal, nil); err != nil {
		return "", fmt.Errorf("the schema of %s cannot be read: %w", d.crd.Name, err)
	}
	s, err := structural.NewStructural(&internal)
	if err != nil {
		return "", nil // the server refuses the definition itself, with better words
	}
	unknown := pruning.PruneWithOptions(runtime.DeepCopyJSON(obj), s, true,
		structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	if len(unknown) > 0 {
		return unknown[0], fmt.Errorf("unknown field %q", unknown[0])
	}
	validator, _, err := validation.NewSchemaValidator(&internal)
	if err != nil {
		return "", nil
	}
	if errs := validation.ValidateCustomResource(nil, obj, validator); len(errs) > 0 {
		return errs[0].Field, errs[0]
	}
	return "", nil
}
