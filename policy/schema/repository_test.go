package schema_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy/schema"
)

// TestRepository holds that every manifest that gitgate ships is valid.
func TestRepository(t *testing.T) {
	v := schema.New(schema.Options{})
	objects := map[string][]map[string]any{}
	for _, dir := range []string{"deploy", "test", "policies"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" || d.Name() == "kustomization.yaml" ||
				strings.Contains(path, "testdata") || strings.Contains(path, "apiserver") {
				return err
			}
			objects[path], err = read(path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	crds := 0
	for path, list := range objects {
		for _, obj := range list {
			if obj["kind"] != "CustomResourceDefinition" {
				continue
			}
			crds++
			if err := v.AddCRD(obj); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	judged := 0
	for path, list := range objects {
		for _, obj := range list {
			problems, err := v.Validate(t.Context(), obj)
			if errors.Is(err, schema.ErrNoSchema) && strings.Contains(err.Error(), ".cert-manager.io/") ||
				errors.Is(err, schema.ErrNoSchema) && strings.Contains(err.Error(), "kwok.x-k8s.io/") ||
				errors.Is(err, schema.ErrNoSchema) && strings.Contains(err.Error(), " cert-manager.io/") {
				continue // what others define
			}
			if err != nil || len(problems) > 0 {
				t.Errorf("%s: %s: %v %q", path, nameOf(obj), err, messages(problems))
			}
			judged++
		}
	}
	if judged < 40 || crds < 4 {
		t.Errorf("only %d objects and %d definitions", judged, crds)
	}
}

// read reads the objects of a file.
func read(path string) (out []map[string]any, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(doc)) == 0 {
			continue
		}
		raw, err := yaml.YAMLToJSON(doc)
		if err != nil {
			return nil, err
		}
		var u unstructured.Unstructured
		if err := u.UnmarshalJSON(raw); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, u.Object)
	}
}
