package desired_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/desired"
)

func TestSeal(t *testing.T) {
	s := desired.NewSealer()
	raw := parse(t, `{"metadata":{"name":"s","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{hunter2}"}},"data":{"a":"aHVudGVyMg==","b":"aHVudGVyMg=="}}`)
	sealed := s.Seal(raw)
	text := mustJSON(t, sealed)
	if strings.Contains(text, "hunter2") || strings.Contains(text, "aHVudGVyMg") {
		t.Errorf("a value shows: %s", text)
	}
	data := sealed["data"].(map[string]any)
	if data["a"] == data["b"] {
		t.Error("equal values of two keys look equal: that tells something")
	}
	if again := s.Seal(raw)["data"].(map[string]any); again["a"] != data["a"] {
		t.Error("the same value must look the same each time")
	}
	if other := desired.NewSealer().Seal(raw)["data"].(map[string]any); other["a"] == data["a"] {
		t.Error("another key must give another digest")
	}
	if raw["data"].(map[string]any)["a"] != "aHVudGVyMg==" {
		t.Error("the argument was changed")
	}
}

func TestManifest(t *testing.T) {
	in := manifest(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","uid":"u","managedFields":[]},"data":{"a":"eA=\n=","c":"eQ=="},"stringData":{"a":"new","b":"x"}}`)
	g, err := secret.Manifest(in)
	if err != nil {
		t.Fatal(err)
	}
	want := parse(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"a":"bmV3","b":"eA==","c":"eQ=="}}`)
	if diff := cmp.Diff(want, g.Object); diff != "" {
		t.Error(diff)
	}
	if in.Object["stringData"] == nil || in.GetUID() == "" {
		t.Error("the argument was changed")
	}
	for name, bad := range map[string]string{
		"NotBase64": `{"metadata":{},"data":{"k":"***hunter2***"}}`,
		"NotString": `{"metadata":{},"stringData":{"k":{"hunter2":"x"}}}`,
		"NotObject": `{"metadata":{},"data":"hunter2"}`,
		"NoMeta":    `{}`,
	} {
		if _, err := secret.Manifest(manifest(t, bad)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error %v, want one without values", name, err)
		}
	}
}

func TestUnder(t *testing.T) {
	const token = "gitgate-0123456789abcdef0123"
	t.Run("Job", func(t *testing.T) {
		g := manifest(t, `{"metadata":{"name":"real"},"spec":{"own":"real"}}`)
		r, err := job.Under(g, token)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, _ := unstructured.NestedString(r.Object, "metadata", "name"); got != token || g.GetName() != "real" {
			t.Errorf("renamed to %q, original %q", got, g.GetName())
		}
		back, err := r.Back([]byte(`{"metadata":{"name":"` + token + `"},"spec":{"labels":{"job-name":"` + token + `"},"own":"real"}}`))
		if err != nil || string(back) != `{"metadata":{"name":"real"},"spec":{"labels":{"job-name":"real"},"own":"real"}}` {
			t.Errorf("back: %s, %v", back, err)
		}
	})
	t.Run("Definition", func(t *testing.T) {
		crd := kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
		text := `{"metadata":{"name":"widgets.example.com"},"spec":{"group":"example.com"}}`
		r, err := crd.Under(manifest(t, text), token)
		if err != nil {
			t.Fatal(err)
		}
		if got := mustJSON(t, r.Object); !strings.Contains(got, `"widgets.`+token+`.example.com"`) {
			t.Errorf("renamed to %s", got)
		}
		back, err := r.Back([]byte(mustJSON(t, r.Object)))
		if err != nil || string(back) != text {
			t.Errorf("back: %s, %v", back, err)
		}
	})
	t.Run("Service", func(t *testing.T) {
		g := manifest(t, `{"metadata":{"name":"s"},"spec":{"clusterIP":"10.0.0.5","ports":[{"port":1,"nodePort":30000}]}}`)
		r, err := service.Under(g, token)
		if err != nil || strings.Contains(mustJSON(t, r.Object), "30000") || strings.Contains(mustJSON(t, r.Object), "10.0.0.5") {
			t.Fatalf("what only one Service can have must be left out: %v %v", r.Object, err)
		}
		d := parse(t, `{"spec":{"clusterIP":"10.0.0.99","clusterIPs":["10.0.0.99"],"ports":[{"port":1,"nodePort":31000}]}}`)
		service.KeepAllocations(d, g)
		want := parse(t, `{"spec":{"clusterIP":"10.0.0.5","clusterIPs":["10.0.0.5"],"ports":[{"port":1,"nodePort":30000}]}}`)
		if diff := cmp.Diff(want, d); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("OddName", func(t *testing.T) {
		r, err := kind("rbac.authorization.k8s.io", "v1", "Role").Under(manifest(t, `{"metadata":{"name":"a\"b"}}`), token)
		if err != nil {
			t.Fatal(err)
		}
		back, err := r.Back([]byte(`{"n":"` + token + `"}`))
		if err != nil || parse(t, string(back))["n"] != `a"b` {
			t.Errorf("back: %s, %v", back, err)
		}
	})
}

func TestParsePointer(t *testing.T) {
	got, err := desired.ParsePointer("/metadata/annotations/a.b~1c~0d")
	if err != nil || !slices.Equal(got, []string{"metadata", "annotations", "a.b/c~d"}) {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", "spec", "/", "/a//b", "/a~2", "/a~", "/" + strings.Repeat("a", 2000), strings.Repeat("/a", 40)} {
		if _, err := desired.ParsePointer(bad); err == nil {
			t.Errorf("%.20q was accepted", bad)
		}
	}
}
