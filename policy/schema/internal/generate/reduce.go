package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policy/schema/internal/openapi"
)

// A source is what is read of a published document.
type source struct {
	openapi.Document
	Paths map[string]map[string]json.RawMessage `json:"paths"`
}

// An operation is what is read of an operation of a path.
type operation struct {
	GVK gvk `json:"x-kubernetes-group-version-kind"`
}

type gvk struct{ Group, Version, Kind string }

// item matches the path of a single object, and of its status.
var item = regexp.MustCompile(`^/apis?/(?:([^/]+)/)?(v[0-9][a-z0-9]*)/(namespaces/\{namespace\}/)?([a-z]+)/\{name\}(/status)?$`)

// reduce reads all published documents in dir.
func reduce(dir, version string) (archive, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*__v*_openapi.json"))
	if err != nil || len(files) == 0 {
		return archive{}, fmt.Errorf("no OpenAPI documents in %s", dir)
	}
	a := archive{entries: map[string][]byte{}}
	index := openapi.Index{Kubernetes: version}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return archive{}, err
		}
		var doc source
		if err := json.Unmarshal(data, &doc); err != nil {
			return archive{}, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		kinds, err := doc.kinds(data)
		if err != nil {
			return archive{}, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		if len(kinds) == 0 {
			continue
		}
		index.Kinds = append(index.Kinds, kinds...)
		name := openapi.DocumentName(kinds[0].Group, kinds[0].Version)
		if a.entries[name], err = json.Marshal(doc.reachable(kinds)); err != nil {
			return archive{}, err
		}
	}
	slices.SortFunc(index.Kinds, func(x, y openapi.Kind) int {
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Version, y.Version), cmp.Compare(x.Kind, y.Kind))
	})
	a.entries[openapi.IndexName], err = json.Marshal(index)
	return a, err
}

// kinds lists the kinds whose objects can be patched, for these can be applied.
func (d source) kinds(raw []byte) ([]openapi.Kind, error) {
	names, err := schemaNames(raw)
	if err != nil {
		return nil, err
	}
	found := map[string]*openapi.Kind{}
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		m := item.FindStringSubmatch(path)
		patch, ok := d.Paths[path]["patch"]
		if m == nil || !ok {
			continue
		}
		var op operation
		if err := json.Unmarshal(patch, &op); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if op.GVK.Group != m[1] || op.GVK.Version != m[2] {
			return nil, fmt.Errorf("%s is of %v", path, op.GVK)
		}
		if m[5] != "" {
			if k := found[op.GVK.Kind]; k != nil {
				k.Status = true
			}
			continue
		}
		schema, ok := names[op.GVK]
		if !ok {
			return nil, fmt.Errorf("%s: no schema of %v", path, op.GVK)
		}
		found[op.GVK.Kind] = &openapi.Kind{Group: m[1], Version: m[2], Kind: op.GVK.Kind, Namespaced: m[3] != "", Schema: schema}
	}
	var out []openapi.Kind
	for _, k := range found {
		out = append(out, *k)
	}
	return out, nil
}

// schemaNames finds the components that describe kinds.
func schemaNames(raw []byte) (map[gvk]string, error) {
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				GVKs []gvk `json:"x-kubernetes-group-version-kind"`
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	out := map[gvk]string{}
	for name, s := range doc.Components.Schemas {
		if len(s.GVKs) == 1 { // those of many, as DeleteOptions, are no objects
			out[s.GVKs[0]] = name
		}
	}
	return out, nil
}

// reachable returns the schemas that the kinds need.
func (d source) reachable(kinds []openapi.Kind) openapi.Document {
	var out openapi.Document
	out.Components.Schemas = map[string]*openapi.Schema{}
	var visit func(s *openapi.Schema)
	add := func(name string) {
		s := d.Components.Schemas[name]
		if s == nil || out.Components.Schemas[name] != nil {
			return
		}
		out.Components.Schemas[name] = s
		visit(s)
	}
	visit = func(s *openapi.Schema) {
		if s == nil {
			return
		}
		slim(s)
		if name, ok := s.Target(); ok {
			add(name)
		}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			visit(s.Properties[name])
		}
		visit(s.AdditionalProperties)
		visit(s.Items)
	}
	for _, k := range kinds {
		add(k.Schema)
	}
	return out
}

// slim puts a lone reference in its place, and drops defaults other than scalars,
// which no list is keyed by.
func slim(s *openapi.Schema) {
	if len(s.AllOf) == 1 && s.AllOf[0].Ref != "" {
		s.Ref, s.AllOf = s.AllOf[0].Ref, nil
	}
	if strings.HasPrefix(string(s.Default), "{") || strings.HasPrefix(string(s.Default), "[") {
		s.Default = nil
	}
}
