package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policy"
	policybundle "gitgate.dev/gitgate/policy/bundle"
	"gitgate.dev/gitgate/policy/schema"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// policyOptions are those under which every door compiles and asks rules.
var policyOptions = policy.Options{Fields: schema.Fields}

// policySet translates a PolicySet with the modules of its ConfigMap.
func policySet(in reconcile.PolicyInput) (policy.Set, error) {
	spec := in.Set.Spec
	set := policy.Set{
		Name: in.Set.Name, Modules: map[string]string{},
		Enforcement: policy.Enforcement(spec.Enforcement), Match: policyMatch(spec.Match),
		Format: policy.Format(spec.Format), RegoVersion: policy.RegoVersion(spec.RegoVersion), Combine: spec.Combine,
	}
	for _, name := range spec.Source.Library {
		read, err := readPack(in.Set.Name, name)
		if err != nil {
			return set, fmt.Errorf("PolicySet %s: spec.source.library: %w", in.Set.Name, err)
		}
		for file, module := range read.Modules {
			if before, ok := set.Modules[file]; ok && before != module {
				return set, fmt.Errorf("PolicySet %s: spec.source.library: %s and another pack both have a file %s: use two PolicySets", in.Set.Name, name, file)
			}
			set.Modules[file] = module
		}
		set.Data = mergedData(set.Data, read.Data)
		set.Declare(*read.Declared)
	}
	if err := addFiles(&set, spec.Source.Inline, in.Modules); err != nil {
		return set, fmt.Errorf("PolicySet %s: %w", in.Set.Name, err)
	}
	if err := addRemote(&set, in); err != nil {
		return set, fmt.Errorf("PolicySet %s: %w", in.Set.Name, err)
	}
	if spec.Parameters != nil {
		if err := json.Unmarshal(spec.Parameters.Raw, &set.Parameters); err != nil {
			return set, fmt.Errorf("PolicySet %s: spec.parameters must be an object", in.Set.Name)
		}
	}
	return set, nil
}

// readPack reads a pack of the library. One that has no schema reads no parameters.
func readPack(set, pack string) (policy.Set, error) {
	fsys, err := policies.Pack(pack)
	if err != nil {
		return policy.Set{}, err
	}
	read, err := policy.ReadSet(set, fsys, ".")
	if err != nil {
		return policy.Set{}, err
	}
	read.Declare(policy.ParameterNames{Modules: slices.Collect(maps.Keys(read.Modules))})
	return read, nil
}

// addFiles adds the files of a PolicySet and of its ConfigMap. What has a name of no
// use is an error in the former and is left out of the latter, but for modules that
// bear any name.
func addFiles(set *policy.Set, inline, configMap map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(inline)) {
		used, err := set.AddFile("inline", name, inline[name])
		switch {
		case err != nil:
			return fmt.Errorf("spec.source.%w", err)
		case used:
		case set.Format == policy.FormatGatekeeper:
			return fmt.Errorf("spec.source.inline: %s: a file with templates or constraints must end in .yaml, .yml or .json", name)
		default:
			set.Modules["inline/"+name] = inline[name]
		}
	}
	for _, name := range slices.Sorted(maps.Keys(configMap)) {
		if _, err := set.AddFile("configmap", name, configMap[name]); err != nil {
			return fmt.Errorf("spec.source.configMapRef: %w", err)
		}
	}
	return nil
}

// addRemote adds the files of a remote source, as those of a directory are read.
// Without them there is no set: it would be weaker than it was meant to be.
func addRemote(set *policy.Set, in reconcile.PolicyInput) error {
	source := in.Set.Spec.Source
	if in.Remote == nil {
		if source.Remote() {
			return fmt.Errorf("its rules from %s are not known", source.RemoteURL())
		}
		return nil
	}
	kind := "git"
	var read policy.Set
	var err error
	if in.Remote.Bundle != nil {
		kind = "oci"
		read, err = bundledSet(in.Set.Name, in.Remote.Bundle, policybundle.Dialect{Format: set.Format, RegoVersion: set.RegoVersion})
	} else {
		read, err = policy.ReadSetAs(set.Format, in.Set.Name, policybundle.Tree(in.Remote.Files), ".")
	}
	if err != nil {
		return err
	}
	set.RegoVersion = cmp.Or(set.RegoVersion, read.RegoVersion)
	var files []string
	for file, module := range read.Modules {
		set.Modules[kind+"/"+file] = module
		files = append(files, kind+"/"+file)
	}
	if read.Declared != nil {
		set.Declare(policy.ParameterNames{Names: read.Declared.Names, Modules: files})
	}
	for file, manifest := range read.Manifests {
		if set.Manifests == nil {
			set.Manifests = map[string]string{}
		}
		set.Manifests[kind+"/"+file] = manifest
	}
	for key, value := range read.Data {
		if _, taken := set.Data[key]; taken {
			return fmt.Errorf("spec.source.%s: data at %q has a value already", kind, key)
		}
		if set.Data == nil {
			set.Data = map[string]any{}
		}
		set.Data[key] = value
	}
	return nil
}

// mergedData keeps what the packs of one set bring; packs use names of their own.
func mergedData(a, b map[string]any) map[string]any {
	if a == nil {
		return b
	}
	maps.Copy(a, b)
	return a
}

func policyMatch(m *v1alpha1.PolicyMatch) policy.Match {
	if m == nil {
		return policy.Match{}
	}
	out := policy.Match{Namespaces: m.Namespaces, ExcludedNamespaces: m.ExcludedNamespaces}
	for _, k := range m.Kinds {
		out.Kinds = append(out.Kinds, policy.KindMatch{APIGroups: k.APIGroups, Kinds: k.Kinds})
	}
	if m.LabelSelector != nil {
		out.LabelSelector = labelSelector(m.LabelSelector)
	}
	return out
}

func labelSelector(s *metav1.LabelSelector) *policy.LabelSelector {
	out := &policy.LabelSelector{MatchLabels: s.MatchLabels}
	for _, r := range s.MatchExpressions {
		out.MatchExpressions = append(out.MatchExpressions, policy.LabelRequirement{
			Key: r.Key, Operator: string(r.Operator), Values: r.Values,
		})
	}
	return out
}
