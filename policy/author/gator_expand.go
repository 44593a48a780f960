package author

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policy"
)

// expansionGroup is the group of Gatekeeper's ExpansionTemplates.
const expansionGroup = "expansion.gatekeeper.sh/"

// Bounds of what is expanded.
const (
	maxExpansions     = 100
	maxExpansionDepth = 30 // as in Gatekeeper
	maxResultants     = 1000
)

// An expansion is an ExpansionTemplate: it says which part of an object of a workload
// stands for an object that a controller would make of it. See
// https://open-policy-agent.github.io/gatekeeper/website/docs/expansion.
type expansion struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		ApplyTo []struct {
			Groups   []string `json:"groups"`
			Versions []string `json:"versions"`
			Kinds    []string `json:"kinds"`
		} `json:"applyTo"`
		TemplateSource string `json:"templateSource"`
		GeneratedGVK   struct {
			Group   string `json:"group"`
			Version string `json:"version"`
			Kind    string `json:"kind"`
		} `json:"generatedGVK"`
		// EnforcementAction says how hard violations bite, and not whether there are any.
		EnforcementAction string `json:"enforcementAction"`
	} `json:"spec"`
}

// readExpansions reads the ExpansionTemplates of a file, by name.
func (s Source) readExpansions(file string) ([]expansion, error) {
	raw, err := s.read(file)
	if err != nil {
		return nil, err
	}
	docs, err := documents(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.show(file), err)
	}
	var out []expansion
	for _, doc := range docs {
		var e expansion
		raw, err := json.Marshal(doc.value)
		if err == nil {
			err = json.Unmarshal(raw, &e)
		}
		if err == nil {
			err = e.check()
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", s.show(file), doc.node.Line, err)
		}
		if out = append(out, e); len(out) > maxExpansions {
			return nil, fmt.Errorf("%s: more than %d ExpansionTemplates", s.show(file), maxExpansions)
		}
	}
	slices.SortStableFunc(out, func(a, b expansion) int { return strings.Compare(a.Metadata.Name, b.Metadata.Name) })
	return out, nil
}

func (e *expansion) check() error {
	version, known := strings.CutPrefix(e.APIVersion, expansionGroup)
	switch {
	case !known || e.Kind != "ExpansionTemplate":
		return fmt.Errorf("%s %s: only ExpansionTemplates are expanded by, and nothing is mutated", e.APIVersion, e.Kind)
	case version != "v1alpha1" && version != "v1beta1" && version != "v1":
		return fmt.Errorf("the version %q of ExpansionTemplate is unknown", version)
	case e.Metadata.Name == "" || e.Spec.TemplateSource == "" || e.Spec.GeneratedGVK.Kind == "" || len(e.Spec.ApplyTo) == 0:
		return errors.New("an ExpansionTemplate has metadata.name, spec.applyTo, spec.templateSource and spec.generatedGVK")
	case e.applies(e.Spec.GeneratedGVK.Group, e.Spec.GeneratedGVK.Version, e.Spec.GeneratedGVK.Kind):
		return errors.New("the ExpansionTemplate applies to what it generates")
	}
	return nil
}

func (e *expansion) applies(group, version, kind string) bool {
	for _, to := range e.Spec.ApplyTo {
		if slices.Contains(to.Groups, group) && slices.Contains(to.Versions, version) && slices.Contains(to.Kinds, kind) {
			return true
		}
	}
	return false
}

// loadExpansions reads the ExpansionTemplates of the test.
func (r *suiteRun) loadExpansions() error {
	if r.test.Expansion == "" {
		return nil
	}
	file, err := within(r.dir, r.test.Expansion)
	if err != nil {
		return err
	}
	r.expansions, err = r.source.readExpansions(file)
	return err
}

// implied are the violations of what would be made of the object of a case, as
// Gatekeeper words them. A whole AdmissionReview is not expanded, as in gator.
func (r *suiteRun) implied(ctx context.Context, in policy.Input) ([]string, error) {
	if len(r.expansions) == 0 || in.Operation != "" || in.Object == nil {
		return nil, nil
	}
	object, err := decodeObject(in.Object)
	if err != nil {
		return nil, err
	}
	made, err := expand(r.expansions, object, 0)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range made {
		of := in
		if of.Object, err = json.Marshal(m.object); err != nil {
			return nil, err
		}
		of.Generated = true
		messages, err := r.violations(ctx, of, "[Implied by "+m.by+"] ")
		if err != nil {
			return nil, err
		}
		out = append(out, messages...)
	}
	return out, nil
}

// decodeObject keeps numbers as they are written.
func decodeObject(raw []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var object map[string]any
	return object, d.Decode(&object)
}

// A resultant is what stands for an object that would be made.
type resultant struct {
	by     string // the name of the ExpansionTemplate
	object map[string]any
}

// expand returns what would be made of an object, and of that in turn.
func expand(templates []expansion, object map[string]any, depth int) ([]resultant, error) {
	if depth >= maxExpansionDepth {
		return nil, fmt.Errorf("what is expanded can be expanded again, %d times", maxExpansionDepth)
	}
	apiVersion, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	group, version, grouped := strings.Cut(apiVersion, "/")
	if !grouped {
		group, version = "", apiVersion
	}
	var out []resultant
	for _, t := range templates {
		if !t.applies(group, version, kind) {
			continue
		}
		made, err := t.make(object)
		if err != nil {
			return nil, fmt.Errorf("expansion %s: %w", t.Metadata.Name, err)
		}
		more, err := expand(templates, made, depth+1)
		if err != nil {
			return nil, err
		}
		if out = append(append(out, more...), resultant{t.Metadata.Name, made}); len(out) > maxResultants {
			return nil, fmt.Errorf("more than %d objects would be made of one", maxResultants)
		}
	}
	return out, nil
}

// make makes one object: the part of the parent, with the kind, the namespace of the
// parent, a name of both and the parent as owner.
func (e *expansion) make(parent map[string]any) (map[string]any, error) {
	var part any = parent
	for key := range strings.SplitSeq(e.Spec.TemplateSource, ".") {
		below, ok := part.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("the object has no object at %s", e.Spec.TemplateSource)
		}
		part = below[key]
	}
	source, ok := part.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the object has no object at %s", e.Spec.TemplateSource)
	}
	made := maps.Clone(source)
	gvk := e.Spec.GeneratedGVK
	made["apiVersion"], made["kind"] = strings.TrimPrefix(gvk.Group+"/"+gvk.Version, "/"), gvk.Kind
	meta, _ := source["metadata"].(map[string]any)
	if meta = maps.Clone(meta); meta == nil {
		meta = map[string]any{}
	}
	of, _ := parent["metadata"].(map[string]any)
	name, _ := of["name"].(string)
	meta["name"] = strings.ToLower(name + "-" + gvk.Kind)
	if ns, ok := of["namespace"].(string); ok {
		meta["namespace"] = ns
	}
	if name != "" {
		owners, _ := meta["ownerReferences"].([]any)
		meta["ownerReferences"] = append(slices.Clip(owners), map[string]any{
			"apiVersion": parent["apiVersion"], "kind": parent["kind"], "name": name, "uid": "",
		})
	}
	made["metadata"] = meta
	return made, nil
}
