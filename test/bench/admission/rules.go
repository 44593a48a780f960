package main

import (
	"embed"
	"io/fs"
	"path"
	"slices"
	"strings"
)

//go:embed rules/*.rego
var ruleFiles embed.FS

// library is the module that the rules share.
const library = "workload"

// parameters of the rules, by the rule that reads them.
var parameters = map[string]map[string]any{
	"required_labels":      {"labels": []any{"app.kubernetes.io/name", "app.kubernetes.io/version", "team"}},
	"allowed_repositories": {"repositories": []any{"registry.example.com/", "ghcr.io/acme/"}},
	"resource_limits":      {"resources": []any{"cpu", "memory"}},
	"capabilities":         {"allowed": []any{"NET_BIND_SERVICE"}},
}

// ruleSources returns the modules by name.
func ruleSources() (map[string]string, error) {
	out := map[string]string{}
	err := fs.WalkDir(ruleFiles, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(ruleFiles, file)
		out[strings.TrimSuffix(path.Base(file), ".rego")] = string(data)
		return err
	})
	return out, err
}

// ruleNames are the modules that refuse something, in order.
func ruleNames(sources map[string]string) []string {
	var names []string
	for name := range sources {
		if name != library {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// allParameters is what one policy set with all rules is given.
func allParameters() map[string]any {
	out := map[string]any{}
	for _, p := range parameters {
		for k, v := range p {
			out[k] = v
		}
	}
	return out
}

// forGatekeeper is the module as Gatekeeper wants it.
func forGatekeeper(source string) string {
	return strings.ReplaceAll(source, "input.object", "input.review.object")
}
