package render

//lint:file-ignore SA1019 kustomizations still use the deprecated fields, so they are read

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"

	"gitgate.dev/gitgate/policy/verdict"
)

// content returns documents as kustomize will see them: as JSON, so that its YAML
// reader, which is not that of Kubernetes, has nothing left to interpret.
func (c *collector) content(docs []document, kind refKind) ([]byte, []problem) {
	if len(docs) == 0 {
		return nil, []problem{deny(verdict.InvalidManifest, 1, "file is empty")}
	}
	var problems []problem
	parts := make([][]byte, 0, len(docs))
	for _, d := range docs {
		if p := c.judge(d, kind); p != nil {
			problems = append(problems, *p)
			continue
		}
		raw, err := json.Marshal(d.value)
		if err != nil {
			problems = append(problems, deny(verdict.InvalidManifest, d.node.Line, "document has no JSON form"))
			continue
		}
		parts = append(parts, raw)
	}
	return bytes.Join(parts, []byte("\n---\n")), problems
}

func (c *collector) judge(d document, kind refKind) *problem {
	switch kind {
	case refPlugin:
		return checkPlugin(d)
	case refPatch:
		return c.checkPatch(d)
	}
	return nil
}

// pluginKinds are the plugins that are part of kustomize and need no file of their
// own. HelmChartInflationGenerator runs helm and is not among them.
var pluginKinds = map[string]bool{
	"AnnotationsTransformer": true, "ConfigMapGenerator": true, "HashTransformer": true, "IAMPolicyGenerator": true,
	"ImageTagTransformer": true, "LabelTransformer": true, "NamespaceTransformer": true, "PatchJson6902Transformer": true,
	"PatchStrategicMergeTransformer": true, "PatchTransformer": true, "PrefixTransformer": true, "ReplacementTransformer": true,
	"ReplicaCountTransformer": true, "SecretGenerator": true, "SortOrderTransformer": true, "SuffixTransformer": true,
	"ValueAddTransformer": true,
}

// pluginPaths are the fields through which these plugins read further files.
var pluginPaths = []string{"path", "paths", "files", "envs", "env", "targetFilePath"}

// checkPlugin lets pass only plugins that run inside kustomize and read nothing:
// any other is a program, a container or a function.
func checkPlugin(d document) *problem {
	refuse := func(reason verdict.Reason, format string, args ...any) *problem {
		p := deny(reason, d.node.Line, format, args...)
		return &p
	}
	o, ok := d.value.(map[string]any)
	if !ok {
		return refuse(verdict.InvalidManifest, "plugin configuration is not a mapping")
	}
	kind, _ := o["kind"].(string)
	if o["apiVersion"] != "builtin" || !pluginKinds[kind] {
		return refuse(verdict.RemoteInput, "plugin %q is a program outside of the signed tree; gitgate runs only kustomize's own plugins (apiVersion: builtin)", kind)
	}
	metadata, _ := o["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	for key := range annotations {
		if strings.HasSuffix(key, "config.kubernetes.io/function") || strings.HasSuffix(key, "config.k8s.io/function") {
			return refuse(verdict.RemoteInput, "plugin %s asks for a function to be run (%s); gitgate runs none", kind, key)
		}
	}
	if field := readsFiles(o); field != "" {
		return refuse(verdict.InvalidManifest, "plugin %s reads files through %q; use the kustomization's own field for that", kind, field)
	}
	return nil
}

// readsFiles returns the field through which a plugin reads files. kustomize
// decodes these without regard to case.
func readsFiles(o map[string]any) string {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		if slices.ContainsFunc(pluginPaths, func(p string) bool { return strings.EqualFold(p, key) }) {
			return key
		}
		if !strings.EqualFold(key, "replacements") {
			continue
		}
		list, _ := o[key].([]any)
		for _, r := range list {
			if m, _ := r.(map[string]any); m != nil && readsFiles(m) != "" {
				return key + ".path"
			}
		}
	}
	return ""
}

// checkPatch bounds what a patch can blow an object up to.
func (c *collector) checkPatch(d document) *problem {
	operations, _ := d.value.([]any)
	for _, op := range operations {
		if m, _ := op.(map[string]any); m["op"] == "copy" {
			c.copies++
		}
	}
	if c.copies > maxCopies {
		p := deny(verdict.LimitExceeded, d.node.Line, "more than %d JSON patch operations copy; each could double an object", maxCopies)
		return &p
	}
	return nil
}

// refuseRemote refuses the fields that stand for programs and downloads.
func (c *collector) refuseRemote(kf *kustFile) {
	for field, used := range map[string]bool{
		"helmCharts":                  len(kf.k.HelmCharts) > 0,
		"helmChartInflationGenerator": len(kf.k.HelmChartInflationGenerator) > 0,
		"helmGlobals":                 kf.k.HelmGlobals != nil,
	} {
		if used {
			c.at(kf, field, deny(verdict.RemoteInput, 0, "%s runs helm on charts outside of the signed tree; commit what helm template prints", field))
		}
	}
	if schema, has := kf.k.OpenAPI["path"]; has {
		c.openAPI(kf, schema)
	}
}

// openAPI collects the schema file, which sits in a map and so is no ref.
func (c *collector) openAPI(kf *kustFile, schema string) {
	dir := strings.TrimSuffix(strings.TrimSuffix(kf.name, kf.base()), "/")
	if dir == "" {
		dir = "."
	}
	c.follow(kf, dir, ref{refConfig, &schema, "openapi.path"})
	kf.k.OpenAPI["path"] = schema
}

func (kf *kustFile) base() string { return kf.name[strings.LastIndex(kf.name, "/")+1:] }

// inlineContent judges the YAML inside of strings of the kustomization file, and
// replaces it by its JSON form.
func (c *collector) inlineContent(kf *kustFile) {
	convert := func(kind refKind, field string, text *string) {
		docs, problems := readDocuments([]byte(*text), c.r.options.Limits, c.r.shared)
		if len(problems) == 0 {
			var raw []byte
			raw, problems = c.content(docs, kind)
			*text = string(raw)
		}
		for _, p := range problems {
			if p.line > 0 {
				p.message = fmt.Sprintf("line %d of it: %s", p.line, p.message)
			}
			c.at(kf, field, p)
		}
	}
	patches := func(name string, patches []types.Patch) {
		for i := range patches {
			if patches[i].Patch != "" {
				convert(refPatch, fmt.Sprintf("%s[%d].patch", name, i), &patches[i].Patch)
			}
		}
	}
	patches("patches", kf.k.Patches)
	patches("patchesJson6902", kf.k.PatchesJson6902)
	for i := range kf.k.PatchesStrategicMerge {
		if p := (*string)(&kf.k.PatchesStrategicMerge[i]); inline(*p) {
			convert(refPatch, fmt.Sprintf("patchesStrategicMerge[%d]", i), p)
		}
	}
	for name, plugins := range map[string][]string{
		"generators": kf.k.Generators, "transformers": kf.k.Transformers, "validators": kf.k.Validators,
	} {
		for i := range plugins {
			if inline(plugins[i]) {
				convert(refPlugin, fmt.Sprintf("%s[%d]", name, i), &plugins[i])
			}
		}
	}
	c.literals(kf)
}

// literals refuses what kustomize would quote in an error, for it may be a secret.
func (c *collector) literals(kf *kustFile) {
	check := func(field string, literals []string) {
		for i, l := range literals {
			if strings.Index(l, "=") < 1 {
				c.at(kf, fmt.Sprintf("%s.literals[%d]", field, i), deny(verdict.InvalidManifest, 0, "a literal must be key=value"))
			}
		}
	}
	for i, g := range kf.k.ConfigMapGenerator {
		check(fmt.Sprintf("configMapGenerator[%d]", i), g.LiteralSources)
	}
	for i, g := range kf.k.SecretGenerator {
		check(fmt.Sprintf("secretGenerator[%d]", i), g.LiteralSources)
	}
}
