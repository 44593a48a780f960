package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy/schema"
	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// kubernetesModule has the manifests, at the version that the test control plane
// pins.
const kubernetesModule = "k8s.io/kubernetes"

// manifestDirs are where it keeps them.
var manifestDirs = []string{"cluster", "test/e2e/testing-manifests"}

// A document is the text of one object, in two halves: between them comes what
// tells a copy from the others. The first ends with the object's name.
type document struct {
	kind          string
	before, after string
}

// copyOf is the document as the n-th object of a repository.
func (d document) copyOf(n int) string { return fmt.Sprintf("%s-%05d%s", d.before, n, d.after) }

// readDocuments returns the documents of Kubernetes' own manifests that are whole
// objects, valid by the schemas of Kubernetes.
func readDocuments(ctx context.Context) ([]document, error) {
	root, err := measure.Root()
	if err != nil {
		return nil, err
	}
	out, err := measure.Output(ctx, filepath.Join(root, "test", "controlplane"), nil, "go", "mod", "download", "-json", kubernetesModule)
	if err != nil {
		return nil, err
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil {
		return nil, err
	}
	var docs []document
	validator := schema.New(schema.Options{})
	for _, dir := range manifestDirs {
		err := filepath.WalkDir(filepath.Join(m.Dir, filepath.FromSlash(dir)), func(file string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file)) {
				return err
			}
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			for _, text := range documentLine.Split(string(data), -1) {
				if d, ok := readDocument(ctx, validator, text); ok {
					docs = append(docs, d)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(docs) < 200 {
		return nil, fmt.Errorf("only %d manifests in %s: it had more than 200", len(docs), m.Dir)
	}
	return docs, nil
}

var (
	documentLine = regexp.MustCompile(`(?m)^---(?:[ \t].*)?$`)
	// placeholder is what tells a template: of Go, or of the scripts in cluster/.
	placeholder = regexp.MustCompile(`\{\{|__[A-Z]|\$\{`)
)

// readDocument reports false for what is no object that can be copied. A
// CustomResourceDefinition under another name would be another API, and Secrets
// are in plain text. Kubernetes' own schemas judge the rest.
func readDocument(ctx context.Context, validator *schema.Validator, text string) (document, bool) {
	if placeholder.MatchString(text) {
		return document{}, false
	}
	object, err := decodeYAML(text)
	if err != nil {
		return document{}, false
	}
	kind, _ := object["kind"].(string)
	if kind == "" || kind == "CustomResourceDefinition" || kind == "Secret" || strings.HasSuffix(kind, "List") {
		return document{}, false
	}
	if problems, err := validator.Validate(ctx, object); err != nil || len(problems) > 0 {
		return document{}, false
	}
	text = pinImages(text)
	end, err := endOfName(text)
	if err != nil {
		return document{}, false
	}
	return document{kind, strings.TrimLeft(text[:end], "\n"), strings.TrimRight(text[end:], "\n") + "\n"}, true
}

// imageLine is where a container names its image without a digest, in YAML or
// JSON.
var imageLine = regexp.MustCompile(`(?m)^([ \t]*(?:- )?"?image"?:[ \t]*["']?)([a-z][\w./:-]*)(["']?,?[ \t]*(?:#.*)?)$`)

// pinImages gives each image a digest, as Git has it where no tag is trusted:
// gitgate then asks no registry, and conftest asks none anyway. The digests are
// made up.
func pinImages(text string) string {
	return imageLine.ReplaceAllStringFunc(text, func(line string) string {
		parts := imageLine.FindStringSubmatch(line)
		return fmt.Sprintf("%s%s@sha256:%x%s", parts[1], parts[2], sha256.Sum256([]byte(parts[2])), parts[3])
	})
}

// decodeYAML decodes one object as Kubernetes does: strictly, and whole numbers are
// integers.
func decodeYAML(text string) (map[string]any, error) {
	data, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return nil, err
	}
	var u unstructured.Unstructured
	if err := u.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	return u.Object, nil
}

// endOfName finds where metadata.name ends in the text of an object.
func endOfName(text string) (int, error) {
	var doc yamlv3.Node
	if err := yamlv3.Unmarshal([]byte(text), &doc); err != nil {
		return 0, err
	}
	name := child(child(doc.Content[0], "metadata"), "name")
	if name == nil || name.Kind != yamlv3.ScalarNode || name.Value == "" {
		return 0, errors.New("no metadata.name")
	}
	at := 0
	for range name.Line - 1 {
		at += strings.IndexByte(text[at:], '\n') + 1
	}
	at += name.Column - 1 // in bytes, where names are what Kubernetes allows
	if name.Style&(yamlv3.DoubleQuotedStyle|yamlv3.SingleQuotedStyle) != 0 {
		at++
	}
	if !strings.HasPrefix(text[at:], name.Value) {
		return 0, errors.New("metadata.name is not written as it is")
	}
	return at + len(name.Value), nil
}

// child returns the value of a key in a mapping.
func child(n *yamlv3.Node, key string) *yamlv3.Node {
	if n == nil || n.Kind != yamlv3.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// The shape of a repository.
const (
	objectsPerFile = 10
	filesPerDir    = 10
)

// manifests is a repository's files by path: copies of the documents in turn, ten
// to a file and ten files to a directory.
func manifests(docs []document, objects int) map[string]string {
	files := map[string]string{}
	for from := 0; from < objects; from += objectsPerFile {
		var text bytes.Buffer
		for i := from; i < min(from+objectsPerFile, objects); i++ {
			fmt.Fprintf(&text, "---\n%s", docs[i%len(docs)].copyOf(i))
		}
		files[fileName(from/objectsPerFile)] = text.String()
	}
	return files
}

func fileName(n int) string {
	return fmt.Sprintf("app-%03d/manifest-%02d.yaml", n/filesPerDir, n%filesPerDir)
}
