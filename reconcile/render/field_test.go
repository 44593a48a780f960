package render

import (
	"testing"

	"gitgate.dev/gitgate/policy/gate"
)

func TestFieldLine(t *testing.T) {
	files := tree(`
-- d.yaml --
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: other}
- apiVersion: apps/v1
  kind: Deployment
  metadata:
    name: web
    annotations:
      example.com/owner: a
      example.com: b
  spec:
    template:
      spec:
        containers:
        - name: a
          image: x
        - name: b
          image: y
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data:
  tls.crt: x
`)
	objects := mustRender(t, files, Options{})
	for _, tc := range []struct {
		object int
		field  string
		want   int
	}{
		{1, "spec.template.spec.containers[1].image", 21},
		{1, "spec.template.spec.containers[0]", 18},
		{1, "spec.template.spec.containers[0].securityContext.runAsUser", 18},
		{1, "spec.template.spec.containers[7].image", 17},
		{1, "metadata.annotations.example.com/owner", 12},
		{1, `metadata.annotations["example.com"]`, 13},
		{1, "spec", 14},
		{1, "", 7},
		{1, "nothing", 7},
		{1, "spec.[[[", 14},
		{0, "metadata.name", 6},
		{2, "data.tls.crt", 27},
	} {
		if got := FieldLine(files, objects[tc.object].Source, tc.field); got != tc.want {
			t.Errorf("%s of object %d: line %d, want %d", tc.field, tc.object, got, tc.want)
		}
	}
	if got := FieldLine(files, gate.Source{File: "none.yaml", Line: 3}, "spec"); got != 3 {
		t.Errorf("without a file: line %d, want that of the object", got)
	}
}
