package schema

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/desired"
)

// objectMeta is a kind whose metadata is that of every kind.
var objectMeta = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}

// validateMetadata checks the metadata of an object of any kind.
func validateMetadata(obj map[string]any) ([]Problem, error) {
	k, err := catalogue().find(objectMeta)
	if err != nil {
		return nil, err
	}
	w := walker{path: desired.Path{{Field: "metadata"}}, sorted: true}
	w.value(k.node.fields["metadata"], obj["metadata"])
	return w.problems, nil
}
