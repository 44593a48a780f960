package lock_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// A request is one call of the API, as it goes over the wire.
type request struct {
	verb, path, media string
	query             url.Values
	body              []byte
	// twin is the code with which the request must end where nothing is locked;
	// zero for any success.
	twin int
}

// A reply is what came back.
type reply struct {
	code   int
	status metav1.Status // if it is one
	body   []byte
}

func (c *caller) send(ctx context.Context, r request, dry bool) (reply, error) {
	query := url.Values{}
	maps.Copy(query, r.query)
	if dry {
		query.Set("dryRun", "All")
	}
	req, err := http.NewRequestWithContext(ctx, r.verb, c.host+r.path+"?"+query.Encode(), bytes.NewReader(r.body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Accept", "application/json")
	if r.media != "" {
		req.Header.Set("Content-Type", r.media)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	out := reply{code: resp.StatusCode}
	if out.body, err = io.ReadAll(io.LimitReader(resp.Body, 8<<20)); err != nil {
		return out, err
	}
	if err := json.Unmarshal(out.body, &out.status); err != nil {
		out.status = metav1.Status{Message: string(out.body)}
	}
	return out, nil
}

// get returns what is at a path.
func (in *installation) get(t *testing.T, path string) map[string]any {
	t.Helper()
	got, err := in.alice.send(t.Context(), request{verb: http.MethodGet, path: path}, false)
	if err != nil || got.code != http.StatusOK {
		t.Fatalf("GET %s: %d %v: %s", path, got.code, err, got.status.Message)
	}
	var m map[string]any
	if err := json.Unmarshal(got.body, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// A method is one way to write an object.
type method struct {
	name string
	make func(path string, was, is map[string]any) request
}

const (
	jsonPatch  = "application/json-patch+json"
	mergePatch = "application/merge-patch+json"
	applyPatch = "application/apply-patch+yaml"
)

// methods are all ways to write an object that is there. PUT carries no version, so
// that it never conflicts, but where the server asks for one.
var methods = []method{
	{"PUT", func(path string, _, is map[string]any) request {
		return request{verb: http.MethodPut, path: path, media: runtime.ContentTypeJSON, body: encode(is)}
	}},
	{"JSONPatch", func(path string, was, is map[string]any) request {
		return request{verb: http.MethodPatch, path: path, media: jsonPatch, body: encode(operations("", was, is))}
	}},
	{"MergePatch", func(path string, was, is map[string]any) request {
		return request{verb: http.MethodPatch, path: path, media: mergePatch, body: encode(merge(was, is))}
	}},
	{"Apply", func(path string, _, is map[string]any) request {
		// Under the name of the reconciler's own manager, which owns all fields.
		query := url.Values{"fieldManager": {"gitgate"}, "force": {"true"}}
		return request{verb: http.MethodPatch, path: path, media: applyPatch, query: query, body: encode(bare(is))}
	}},
}

// create is POST under a name that is taken: it is judged before that is noticed.
var create = method{"POST", func(path string, _, is map[string]any) request {
	collection := path[:strings.LastIndexByte(path, '/')]
	return request{verb: http.MethodPost, path: collection, media: runtime.ContentTypeJSON, body: encode(bare(is)), twin: http.StatusConflict}
}}

// bare leaves out what the server keeps.
func bare(obj map[string]any) map[string]any {
	obj = runtime.DeepCopyJSON(obj)
	delete(obj, "status")
	meta := obj["metadata"].(map[string]any)
	for _, k := range []string{"managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"} {
		delete(meta, k)
	}
	if spec, ok := obj["spec"].(map[string]any); ok && obj["kind"] == "Service" {
		delete(spec, "clusterIP")
		delete(spec, "clusterIPs")
	}
	return obj
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // a programming error
	}
	return raw
}

// manifest decodes YAML.
func manifest(text string) map[string]any {
	var m map[string]any
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		panic(err) // a programming error
	}
	return m
}

// operations is the JSON patch (RFC 6902) that leads from one object to another.
// Lists are replaced as a whole.
func operations(at string, was, is map[string]any) (out []map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(is)) {
		path := at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(k)
		before, had := was[k]
		a, isMap := before.(map[string]any)
		b, alsoMap := is[k].(map[string]any)
		switch {
		case !had:
			out = append(out, map[string]any{"op": "add", "path": path, "value": is[k]})
		case isMap && alsoMap:
			out = append(out, operations(path, a, b)...)
		case !reflect.DeepEqual(before, is[k]):
			out = append(out, map[string]any{"op": "replace", "path": path, "value": is[k]})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(was)) {
		if _, ok := is[k]; !ok {
			out = append(out, map[string]any{"op": "remove", "path": at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(k)})
		}
	}
	return out
}

// merge is the merge patch (RFC 7386) that leads from one object to another.
func merge(was, is map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range is {
		a, isMap := was[k].(map[string]any)
		b, alsoMap := v.(map[string]any)
		switch {
		case isMap && alsoMap:
			if m := merge(a, b); len(m) > 0 {
				out[k] = m
			}
		case !reflect.DeepEqual(was[k], v):
			out[k] = v
		}
	}
	for k := range was {
		if _, ok := is[k]; !ok {
			out[k] = nil
		}
	}
	return out
}
