package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/deploy"
	"gitgate.dev/gitgate/policy/gate"
	offline "gitgate.dev/gitgate/policy/schema"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/secrets"
)

// ownDefinitions are those of our own kinds.
var ownDefinitions = sync.OnceValues(func() (out []map[string]any, err error) {
	files, err := fs.Glob(deploy.CRDs, "crds/*.yaml")
	if err != nil {
		return nil, err
	}
	out = make([]map[string]any, len(files))
	faults := make([]error, len(files))
	sideBySide(len(files), func(i int) {
		raw, err := deploy.CRDs.ReadFile(files[i])
		if err == nil {
			err = yaml.Unmarshal(raw, &out[i])
		}
		if err != nil {
			faults[i] = fmt.Errorf("%s: %w", files[i], err)
		}
	})
	return out, errors.Join(faults...)
})

// sideBySide calls f with 0 to n-1 on all processors and returns when it has ended.
func sideBySide(n int, f func(i int)) {
	var workers sync.WaitGroup
	var next atomic.Int64
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	workers.Wait()
}

// ownSchemas know the kinds of Kubernetes and our own, as files of configuration
// are held to them. Their rules take three megabytes when they are compiled: let go of
// them when all is read.
func ownSchemas() (*offline.Validator, error) {
	definitions, err := ownDefinitions()
	return newSchemaStage(definitions).validator, err
}

// misfits holds objects of the configuration to their schemas: what a cluster would
// have refused judges nothing here either. Most of the time goes into compiling the
// rules of each kind, which is done side by side.
func misfits(ctx context.Context, manifests []manifest) ([]error, error) {
	schemas, err := ownSchemas()
	if err != nil {
		return nil, err
	}
	out := make([]error, len(manifests))
	sideBySide(len(manifests), func(i int) {
		var kind metav1.TypeMeta
		if err := kjson.UnmarshalCaseSensitivePreserveInts(manifests[i].json, &kind); err != nil {
			out[i] = err
		} else if gvk := kind.GroupVersionKind(); gvk.Group == v1alpha1.GroupVersion.Group && configKinds[gvk] != nil {
			out[i] = fits(ctx, schemas, manifests[i].json)
		}
	})
	return out, nil
}

func fits(ctx context.Context, schemas *offline.Validator, raw []byte) error {
	var object map[string]any
	if err := utiljson.Unmarshal(raw, &object); err != nil {
		return err
	}
	problems, err := schemas.Validate(ctx, object)
	if err != nil {
		return err
	}
	var all []error
	for _, p := range problems {
		all = append(all, errors.New(p.Message))
	}
	return errors.Join(all...)
}

// readSchemas reads the CustomResourceDefinitions of files and directories.
func readSchemas(ctx context.Context, repo *gitRepository, args []string) ([]map[string]any, error) {
	var out []map[string]any
	for _, arg := range args {
		manifests, problems, err := readConfig(ctx, repo, arg)
		if err != nil {
			return nil, fmt.Errorf("--schemas %s: %w", arg, err)
		}
		for _, p := range problems {
			return nil, fmt.Errorf("--schemas %s: %s: %s", arg, p.Where(), p.Message)
		}
		before := len(out)
		for _, m := range manifests {
			var object map[string]any
			if err := json.Unmarshal(m.json, &object); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", m.file, m.line, err)
			}
			if isDefinition(object) {
				out = append(out, object)
			}
		}
		if len(out) == before {
			return nil, fmt.Errorf("--schemas %s: holds no CustomResourceDefinition", arg)
		}
	}
	return out, nil
}

func isDefinition(object map[string]any) bool {
	return object["kind"] == "CustomResourceDefinition" && object["apiVersion"] == "apiextensions.k8s.io/v1"
}

// A schemaStage holds objects to schemas without a cluster.
type schemaStage struct {
	validator *offline.Validator
	found     []verdict.Finding // of definitions that define nothing
}

// newSchemaStage knows the kinds of Kubernetes and those that are given; of two
// definitions of one kind the later counts.
func newSchemaStage(given []map[string]any) *schemaStage {
	s := &schemaStage{validator: offline.New(offline.Options{})}
	for _, crd := range given {
		// What defines nothing leaves its kind unknown, which is said of the objects.
		_ = s.validator.AddCRD(crd)
	}
	return s
}

// scope implements [render.ScopeFunc].
func (s *schemaStage) scope(gvk schema.GroupVersionKind) (namespaced, known bool) {
	return s.validator.Scope(gvk.Group, gvk.Kind)
}

func (s *schemaStage) define(objects []gate.Object) {
	for _, o := range objects {
		if !isDefinition(o.Object) {
			continue
		}
		if err := s.validator.AddCRD(o.Object); err != nil {
			s.found = append(s.found, objectFinding(o, verdict.Deny, "", err.Error()))
		}
	}
}

// judge returns what is wrong with objects. line finds a field in its file.
func (s *schemaStage) judge(ctx context.Context, objects []gate.Object, line func(gate.Source, string) int) []verdict.Finding {
	out := s.found
	for _, o := range objects {
		problems, err := s.validator.Validate(ctx, withoutCiphertext(o))
		switch {
		case errors.Is(err, offline.ErrNoSchema):
			out = append(out, objectFinding(o, verdict.Undetermined, "",
				fmt.Sprintf("there is no schema for %s %s: give its CustomResourceDefinition with --schemas, or leave it to the cluster", o.GetAPIVersion(), o.GetKind())))
		case err != nil:
			out = append(out, objectFinding(o, verdict.Undetermined, "", fmt.Sprintf("the object could not be held to its schema: %v", err)))
		}
		for _, p := range problems {
			f := objectFinding(o, verdict.Deny, p.Field, p.Message)
			if p.Field != "" {
				f.Line = line(o.Source, p.Field)
			}
			out = append(out, f)
		}
	}
	return out
}

func objectFinding(o gate.Object, severity verdict.Severity, field, message string) verdict.Finding {
	return verdict.Finding{
		Stage: verdict.StageApply, Reason: verdict.SchemaInvalid, Severity: severity,
		Object: o.ID(), File: o.Source.File, Line: o.Source.Line, Field: field, Message: message,
	}
}

// withoutCiphertext is the object as a schema can judge it: the values of encrypted
// Secrets are empty, for ciphertext is no base64.
func withoutCiphertext(o gate.Object) map[string]any {
	if o.Source.Encrypted == nil {
		return o.Object
	}
	masked := secrets.Masked(o.Object)
	if data, ok := masked["data"].(map[string]any); ok {
		data = maps.Clone(data)
		for k := range data {
			data[k] = ""
		}
		masked["data"] = data
	}
	return masked
}
