package desired

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Manifest returns what Git declares of an object, G: without status and server
// metadata, and with the stringData of a Secret folded into its data, so that
// every key has one place. The argument is not changed; what is equal is shared.
func (k Kind) Manifest(obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	g := maps.Clone(obj.Object)
	if k.HasStatus {
		delete(g, "status")
	}
	meta, ok := g["metadata"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("object has no metadata")
	}
	meta = maps.Clone(meta)
	for f := range serverFields {
		delete(meta, f)
	}
	g["metadata"] = meta
	if k.Group == "" && k.Kind == "Secret" {
		if err := foldStringData(g); err != nil {
			return nil, err
		}
	}
	return &unstructured.Unstructured{Object: g}, nil
}

// foldStringData moves stringData into data, over which it wins, and puts data
// into the one form of base64 that the server answers with. Its errors name keys
// but hold no values.
func foldStringData(g map[string]any) error {
	data, err := stringMap(g, "data")
	if err != nil {
		return err
	}
	plain, err := stringMap(g, "stringData")
	if err != nil {
		return err
	}
	out := make(map[string]any, len(data)+len(plain))
	for k, v := range data {
		raw, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\r", "", "\n", "").Replace(v))
		if err != nil {
			return fmt.Errorf("data[%s] is not base64", k)
		}
		out[k] = base64.StdEncoding.EncodeToString(raw)
	}
	for k, v := range plain {
		out[k] = base64.StdEncoding.EncodeToString([]byte(v))
	}
	delete(g, "stringData")
	if len(out) > 0 {
		g["data"] = out
	}
	return nil
}

func stringMap(g map[string]any, field string) (map[string]string, error) {
	if g[field] == nil {
		return nil, nil
	}
	m, ok := g[field].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s is not an object", field)
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		s, ok := v.(string)
		if !ok && v != nil {
			return nil, fmt.Errorf("%s[%s] is not a string", field, k)
		}
		out[k] = s
	}
	return out, nil
}

// SecretDefault returns D of a Secret, normalised, made without the server: the
// manifest with the one default that Secrets have.
func (k Kind) SecretDefault(g *unstructured.Unstructured) map[string]any {
	d := maps.Clone(g.Object)
	if d["type"] == nil || d["type"] == "" {
		d["type"] = "Opaque"
	}
	return k.Normalise(d)
}

// A Rename is a manifest under a name that nobody has touched, and the way back.
type Rename struct {
	// Object is the manifest to dry-run.
	Object map[string]any
	token  string // part of the fresh name that stands nowhere else
	name   string // what the token stands for in answers
}

// nameBound are the kinds whose name repeats a group that the object defines: the
// group is prefixed rather than the name replaced.
var nameBound = map[string]string{
	"CustomResourceDefinition": "apiextensions.k8s.io",
	"APIService":               "apiregistration.k8s.io",
}

// Under renames the manifest g for a dry run that shows D. The token must be
// random, a valid DNS label, and at most 30 characters long. Slots that hold a
// value are left out, for the live object occupies it; [Rename.Back] returns them.
func (k Kind) Under(g *unstructured.Unstructured, token string) (Rename, error) {
	obj := maps.Clone(g.Object)
	meta := maps.Clone(obj["metadata"].(map[string]any))
	obj["metadata"] = meta
	r := Rename{Object: obj, token: token, name: g.GetName()}
	if nameBound[k.Kind] == k.Group && k.Group != "" {
		return r, r.underGroup(k, meta)
	}
	meta["name"] = token
	if k.Group == "" && k.Kind == "Service" {
		dropAllocations(obj)
	}
	return r, nil
}

// underGroup prefixes the group of an object whose name repeats it.
func (r *Rename) underGroup(k Kind, meta map[string]any) error {
	spec, ok := r.Object["spec"].(map[string]any)
	group, isText := spec["group"].(string)
	if !ok || !isText || group == "" || !strings.HasSuffix(r.name, "."+group) {
		return fmt.Errorf("the name of a %s must end in its spec.group", k.Kind)
	}
	spec = maps.Clone(spec)
	spec["group"] = r.token + "." + group
	r.Object["spec"] = spec
	meta["name"] = strings.TrimSuffix(r.name, group) + r.token + "." + group
	r.token, r.name = r.token+".", ""
	return nil
}

// Back turns the server's answer about the renamed object into one about the
// original.
func (r Rename) Back(answer []byte) ([]byte, error) {
	name, err := json.Marshal(r.name)
	if err != nil {
		return nil, err
	}
	return bytes.ReplaceAll(answer, []byte(r.token), name[1:len(name)-1]), nil
}

// dropAllocations removes the addresses and ports that only one Service can have.
func dropAllocations(obj map[string]any) {
	spec, ok := obj["spec"].(map[string]any)
	if !ok {
		return
	}
	spec = maps.Clone(spec)
	obj["spec"] = spec
	if spec["clusterIP"] != "None" {
		delete(spec, "clusterIP")
		delete(spec, "clusterIPs")
	}
	delete(spec, "healthCheckNodePort")
	ports, _ := spec["ports"].([]any)
	out := make([]any, len(ports))
	for i, p := range ports {
		if m, ok := p.(map[string]any); ok {
			m = maps.Clone(m)
			delete(m, "nodePort")
			p = m
		}
		out[i] = p
	}
	if ports != nil {
		spec["ports"] = out
	}
}

// KeepAllocations puts the addresses and ports that the manifest g names into d,
// from whose making they were left out.
func (k Kind) KeepAllocations(d map[string]any, g *unstructured.Unstructured) {
	if k.Group != "" || k.Kind != "Service" {
		return
	}
	want, _ := g.Object["spec"].(map[string]any)
	spec, ok := d["spec"].(map[string]any)
	if !ok {
		return
	}
	for _, f := range []string{"clusterIP", "clusterIPs", "healthCheckNodePort"} {
		if want[f] != nil && want[f] != "" {
			spec[f] = want[f]
		}
	}
	if ip, ok := want["clusterIP"].(string); ok && ip != "" && want["clusterIPs"] == nil {
		spec["clusterIPs"] = []any{ip}
	}
	if ips, ok := want["clusterIPs"].([]any); ok && len(ips) > 0 && want["clusterIP"] == nil {
		spec["clusterIP"] = ips[0]
	}
	wantPorts, _ := want["ports"].([]any)
	ports, _ := spec["ports"].([]any)
	for i := range min(len(ports), len(wantPorts)) {
		p, _ := ports[i].(map[string]any)
		w, _ := wantPorts[i].(map[string]any)
		if p != nil && w["nodePort"] != nil {
			p["nodePort"] = w["nodePort"]
		}
	}
}
