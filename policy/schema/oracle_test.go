package schema

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kube-openapi/pkg/spec3"
)

// An Oracle is what the API server itself reads server-side apply with, fed with the
// schemas that are embedded.
type Oracle map[schema.GroupVersion]managedfields.TypeConverter

// Refuses returns why server-side apply cannot read an object of a built-in kind.
func (o Oracle) Refuses(t testing.TB, gvk schema.GroupVersionKind, obj map[string]any) error {
	t.Helper()
	gv := gvk.GroupVersion()
	if o[gv] == nil {
		data, err := fs.ReadFile(catalogue().archive, catalogue().documents[gv].name)
		if err != nil {
			t.Fatal(err)
		}
		var doc spec3.OpenAPI
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		for _, k := range catalogue().exact { // the archive has this in its index
			if k.Group == gv.Group && k.Version == gv.Version {
				s := doc.Components.Schemas[k.Schema]
				s.Extensions = map[string]any{"x-kubernetes-group-version-kind": []any{
					map[string]any{"group": k.Group, "version": k.Version, "kind": k.Kind.Kind}}}
			}
		}
		if o[gv], err = managedfields.NewTypeConverter(doc.Components.Schemas, false); err != nil {
			t.Fatal(err)
		}
	}
	_, err := o[gv].ObjectToTyped(&unstructured.Unstructured{Object: obj})
	return err
}

// seeds returns every document of the YAML files in testdata, as JSON.
func seeds(t testing.TB) (out [][]byte) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for doc := range strings.SplitSeq("\n"+string(data), "\n---\n") {
			raw, err := utilyaml.ToJSON([]byte(doc))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, raw)
		}
	}
	if len(out) < 50 {
		t.Fatalf("only %d seeds", len(out))
	}
	return out
}

// FuzzBuiltin holds that whatever server-side apply cannot read is refused here, and
// that every answer is fit to print and the same each time.
func FuzzBuiltin(f *testing.F) {
	for _, raw := range seeds(f) {
		f.Add(raw)
	}
	o := Oracle{}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var u unstructured.Unstructured
		if len(raw) > 1<<16 || u.UnmarshalJSON(raw) != nil {
			return
		}
		v := New(Options{})
		problems, err := v.Validate(t.Context(), u.Object)
		again, _ := v.Validate(t.Context(), u.Object)
		if !slices.Equal(problems, again) {
			t.Errorf("two answers:\n%+v\n%+v", problems, again)
		}
		for _, p := range problems {
			if p.Message == "" || p.Message != clean(p.Message) || p.Field != clean(p.Field) {
				t.Errorf("%+v is not fit to print", p)
			}
		}
		gvk := u.GroupVersionKind()
		if err != nil || catalogue().exact[gvk] == nil {
			return
		}
		if said := o.Refuses(t, gvk, u.Object); said != nil && len(problems) == 0 {
			t.Errorf("only server-side apply refuses it: %v\n%s", said, raw)
		}
	})
}

// FuzzCustom holds that no definition and no object of it can do harm.
func FuzzCustom(f *testing.F) {
	for _, raw := range seeds(f) {
		f.Add(raw, []byte(`{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"size":1,"parts":[{"name":"a"}]}}`))
		f.Add(raw, []byte(`{"apiVersion":"example.org/v1","kind":"Sample","metadata":{"name":"w"},"spec":{"a":"x"}}`))
	}
	f.Fuzz(func(t *testing.T, crd, raw []byte) {
		var definition, u unstructured.Unstructured
		if len(crd)+len(raw) > 1<<16 || definition.UnmarshalJSON(crd) != nil || u.UnmarshalJSON(raw) != nil {
			return
		}
		v := New(Options{})
		if v.AddCRD(definition.Object) != nil {
			return
		}
		before := u.DeepCopy()
		problems, _ := v.Validate(t.Context(), u.Object)
		for _, p := range problems {
			if p.Message == "" || p.Message != clean(p.Message) {
				t.Errorf("%+v is not fit to print", p)
			}
		}
		if a, b := mustJSON(t, before.Object), mustJSON(t, u.Object); a != b {
			t.Errorf("the object was changed:\n%s\n%s", a, b)
		}
	})
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestArchive holds that every kind compiles, and that what is excepted from being
// required is something that the schemas call required.
func TestArchive(t *testing.T) {
	c := catalogue()
	requires := map[string][]string{}
	for gvk, k := range c.exact {
		if _, err := c.find(gvk); err != nil || k.node.shape != object {
			t.Errorf("%s: %v", gvk, err)
		}
		for name, s := range k.document.doc.Components.Schemas {
			requires[unversioned(name)] = append(requires[unversioned(name)], s.Required...)
		}
	}
	if len(c.exact) < 80 || c.groups["apps"] == false {
		t.Errorf("only %d kinds", len(c.exact))
	}
	for component, fields := range notRequired {
		for _, f := range fields {
			if !slices.Contains(requires[component], f) {
				t.Errorf("%s.%s is not required anyway", component, f)
			}
		}
	}
	if _, err := openCatalogue("not an archive"); err == nil {
		t.Error("anything is an archive")
	}
}

// TestArrange holds that problems come in order, once, and not without end.
func TestArrange(t *testing.T) {
	got := arrange([]Problem{{Field: "b"}, {Field: "a", Message: "2"}, {Field: "a", Message: "1"}, {Field: "b"}})
	if want := []Problem{{Field: "a", Message: "1"}, {Field: "a", Message: "2"}, {Field: "b"}}; !slices.Equal(got, want) {
		t.Errorf("arrange() = %+v, want %+v", got, want)
	}
}
