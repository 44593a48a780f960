package schema_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func decode(t testing.TB, raw []byte) map[string]any {
	t.Helper()
	obj, _, err := unstructured.UnstructuredJSONScheme.Decode(raw, nil, nil)
	if err == nil {
		return obj.(*unstructured.Unstructured).Object
	}
	// Without a kind there is no scheme for it.
	var u unstructured.Unstructured
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Logf("%v", err)
	}
	return u.Object
}
