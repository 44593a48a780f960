package secrets

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// metadataKey is the top-level key under which SOPS keeps its metadata.
const metadataKey = "sops"

// secretFields are the fields of a Secret that hold secrets.
var secretFields = []string{"data", "stringData"}

// PlaintextLeaves returns the paths of the values of a Secret that are not
// ciphertext, as in data["tls.key"], sorted. It looks into the items of a list
// and finds nothing in objects of other kinds. A value that is null or the empty
// string hides nothing and is no finding; one of the wrong type is.
//
// It judges form: text that merely looks like ciphertext passes here and fails
// in [Open].
func PlaintextLeaves(object map[string]any) []string {
	var fields []string
	for _, at := range plaintextPaths(object, nil, 0) {
		fields = append(fields, fieldName(at))
	}
	return fields
}

func plaintextPaths(v any, at []any, depth int) [][]any {
	object, ok := v.(map[string]any)
	if !ok || depth > maxDepth {
		return nil
	}
	var found [][]any
	if isSecret(object) {
		for _, field := range secretFields {
			found = appendPlaintext(found, object[field], push(at, field), depth)
		}
	}
	items, _ := object["items"].([]any)
	for i, item := range items {
		found = append(found, plaintextPaths(itemOf(object, item), push(at, "items", i), depth+1)...)
	}
	return found
}

// isSecret reports whether an object is a Secret of the core group, whatever
// version it claims.
func isSecret(object map[string]any) bool {
	kind, _ := object["kind"].(string)
	version, _ := object["apiVersion"].(string)
	return kind == "Secret" && !strings.Contains(version, "/")
}

func appendPlaintext(found [][]any, v any, at []any, depth int) [][]any {
	if depth > maxDepth {
		return append(found, at)
	}
	switch v := v.(type) {
	case nil:
	case string:
		if v != "" && !isCiphertext(v) {
			found = append(found, at)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			found = appendPlaintext(found, v[k], push(at, k), depth+1)
		}
	case []any:
		for i, item := range v {
			found = appendPlaintext(found, item, push(at, i), depth+1)
		}
	default:
		found = append(found, at)
	}
	return found
}

// push returns a path that shares nothing with at.
func push(at []any, steps ...any) []any { return slices.Concat(at, steps) }

// plaintext returns one problem a value of a Secret that lies open in the file.
func (f *file) plaintext() []*Error {
	var found []*Error
	for i, doc := range f.docs {
		object := value(doc)
		for _, at := range plaintextPaths(object, nil, 0) {
			e := problem(PlaintextSecret, f.path, "this value of a Secret is not encrypted; change the secret itself, for Git keeps it, and encrypt the file with sops")
			e.Line, e.Field = f.lookup(i, at), fieldName(at)
			found = append(found, e)
		}
		found = append(found, f.generators(i, object)...)
	}
	return found
}

func isKustomizationFile(name string) bool {
	switch path.Base(name) {
	case "kustomization.yaml", "kustomization.yml", "Kustomization":
		return true
	}
	return false
}

// generators finds the secretGenerators of a kustomization: what they make of
// literals and files is plaintext, for a ciphertext would be base64-encoded as
// it is.
func (f *file) generators(document int, object any) []*Error {
	m, _ := object.(map[string]any)
	version, _ := m["apiVersion"].(string)
	if !isKustomizationFile(f.path) && !strings.HasPrefix(version, "kustomize.config.k8s.io/") {
		return nil
	}
	list, _ := m["secretGenerator"].([]any)
	var found []*Error
	for i, item := range list {
		generator, _ := item.(map[string]any)
		for _, source := range []string{"literals", "files", "envs", "env"} {
			if generator[source] == nil {
				continue
			}
			at := []any{"secretGenerator", i, source}
			e := problem(PlaintextSecret, f.path, "a secretGenerator makes a Secret of plaintext; write the Secret as a manifest and encrypt that with sops")
			e.Line, e.Field = f.lookup(document, at), fieldName(at)
			found = append(found, e)
		}
	}
	return found
}
