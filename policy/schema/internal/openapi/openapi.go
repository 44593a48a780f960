// Package openapi is the form in which the schemas of Kubernetes are embedded:
// what the generator writes and the validator reads. It is a subset of OpenAPI
// v3, one document a group version, and an index of the kinds.
package openapi

import (
	"encoding/json"
	"strings"
)

// Names of the entries of the archive that are no documents.
const (
	IndexName = "index.json"
	StampName = "stamp.json"
)

// RefPrefix begins every reference.
const RefPrefix = "#/components/schemas/"

// A Kind is a kind of object that can be applied.
type Kind struct {
	Group      string `json:"group"`
	Version    string `json:"version"`
	Kind       string `json:"kind"`
	Namespaced bool   `json:"namespaced,omitempty"`
	// Status says that the status is a subresource.
	Status bool `json:"status,omitempty"`
	// Schema names the component that describes the kind.
	Schema string `json:"schema"`
}

// An Index lists what the archive holds.
type Index struct {
	// Kubernetes is the version that the schemas are of, as in v1.37.1.
	Kubernetes string `json:"kubernetes"`
	Kinds      []Kind `json:"kinds"`
}

// A Document holds the schemas of a group version.
type Document struct {
	Components struct {
		Schemas map[string]*Schema `json:"schemas"`
	} `json:"components"`
}

// A Schema describes a value. One with neither a type nor a reference describes
// any value.
type Schema struct {
	Type                 string             `json:"type,omitempty"`
	Format               string             `json:"format,omitempty"`
	Ref                  string             `json:"$ref,omitempty"`
	AllOf                []*Schema          `json:"allOf,omitempty"`
	OneOf                []*Schema          `json:"oneOf,omitempty"`
	Properties           map[string]*Schema `json:"properties,omitempty"`
	AdditionalProperties *Schema            `json:"additionalProperties,omitempty"`
	Items                *Schema            `json:"items,omitempty"`
	Required             []string           `json:"required,omitempty"`
	Default              json.RawMessage    `json:"default,omitempty"`
	ListType             string             `json:"x-kubernetes-list-type,omitempty"`
	ListMapKeys          []string           `json:"x-kubernetes-list-map-keys,omitempty"`
	MapType              string             `json:"x-kubernetes-map-type,omitempty"`
	PreserveUnknown      bool               `json:"x-kubernetes-preserve-unknown-fields,omitempty"`
}

// Target returns the name of the component that s refers to, if it does.
func (s *Schema) Target() (name string, ok bool) {
	return strings.CutPrefix(s.Ref, RefPrefix)
}

// DocumentName names the entry of the archive that holds a group version.
func DocumentName(group, version string) string {
	if group == "" {
		group = "core"
	}
	return group + "_" + version + ".json"
}
