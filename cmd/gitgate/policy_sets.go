package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/author"
	"gitgate.dev/gitgate/policy/bundle"
)

// policySets are the flags that name policies to judge by.
type policySets struct {
	packs, dirs, data               []string
	parameters, regoVersion, format string
	given                           func(flag string) bool
}

func (o *policySets) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	o.given = f.Changed
	f.StringArrayVar(&o.packs, "pack", nil, "`NAME` of a pack of the library: "+strings.Join(policies.Packs(), ", ")+"; may be repeated")
	f.StringArrayVarP(&o.dirs, "policy", "p", nil, "`DIR` with *.rego and data.json, or with templates and constraints, or a bundle of them; each is a set of its own; may be repeated")
	f.StringArrayVarP(&o.data, "data", "d", nil, dataUsage)
	f.StringVar(&o.parameters, "parameters", "", "YAML or JSON `FILE` that becomes input.parameters")
	f.StringVar(&o.format, "format", string(policy.FormatGitgate), "input and rule names that the --policy directories expect: Gitgate, Conftest or Gatekeeper")
	f.StringVar(&o.regoVersion, "rego-version", string(policy.RegoV1), "dialect of the --policy directories: v1 or v0")
	// These fail for flags that do not exist alone.
	_ = cmd.RegisterFlagCompletionFunc("pack", cobra.FixedCompletions(policies.Packs(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{string(policy.FormatGitgate), string(policy.FormatConftest), string(policy.FormatGatekeeper)}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("rego-version", cobra.FixedCompletions([]string{"v1", "v0"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagFilename("parameters", "yaml", "yml", "json")
}

// read reads the packs and directories, each once.
func (o *policySets) read() ([]policy.Set, error) {
	if len(o.packs)+len(o.dirs) == 0 {
		return nil, errors.New("name policies with --pack or --policy: without any, everything would pass")
	}
	data, err := readData(o.data)
	if err != nil {
		return nil, err
	}
	var sets []policy.Set
	for _, name := range slices.Compact(slices.Sorted(slices.Values(o.packs))) {
		set, err := readPack(name, name)
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	for _, dir := range slices.Compact(slices.Sorted(slices.Values(o.dirs))) {
		set, err := o.readOne(dir)
		if err != nil {
			return nil, err
		}
		if len(o.data) > 0 {
			if err := set.MergeData(data); err != nil {
				return nil, fmt.Errorf("--policy %s with --data: %w", dir, err)
			}
		}
		sets = append(sets, set)
	}
	if o.parameters == "" {
		return sets, nil
	}
	parameters, err := readParameters(o.parameters)
	if err != nil {
		return nil, err
	}
	for i := range sets {
		sets[i].Parameters = parameters
	}
	policy.ShareParameters(sets)
	return sets, nil
}

// readOne reads a directory, or a bundle, which says itself what is in it unless a flag
// does.
func (o *policySets) readOne(name string) (policy.Set, error) {
	info, err := os.Stat(name)
	if err != nil {
		return policy.Set{}, err
	}
	if !info.IsDir() {
		var as bundle.Dialect
		if o.given("format") {
			as.Format = policy.Format(o.format)
		}
		if o.given("rego-version") {
			as.RegoVersion = policy.RegoVersion(o.regoVersion)
		}
		return readBundleFile(name, setName(name), as)
	}
	set, err := policy.ReadSetAs(policy.Format(o.format), setName(name), os.DirFS(name), ".")
	if err == nil && set.Format != policy.FormatGatekeeper { // templates say theirs
		set.RegoVersion = policy.RegoVersion(o.regoVersion)
	}
	return set, err
}

// readBundleFile reads a set from a bundle.
func readBundleFile(file, name string, as bundle.Dialect) (policy.Set, error) {
	raw, err := readBounded(file, maxBundleFile)
	if err != nil {
		return policy.Set{}, err
	}
	b, err := bundle.Read(raw, bundle.Limits{})
	if err != nil {
		return policy.Set{}, fmt.Errorf("%s: %w", file, err)
	}
	return b.Set(name, as)
}

// setName makes the name of a set from a directory: what a name may not hold
// becomes a colon or an underscore.
func setName(dir string) string {
	name := strings.Trim(strings.ReplaceAll(dir, "/", ":"), ":")
	name = strings.Map(func(r rune) rune {
		if r < '!' || r > '~' {
			return '_'
		}
		return r
	}, name)
	if name == "" {
		return ":"
	}
	return name
}

const dataUsage = "`FILE|DIR` of JSON and YAML that is data of the directories, at the path of its directory; may be repeated"

// readData reads files and directories of data, as conftest does.
func readData(names []string) (map[string]any, error) {
	all := policy.Set{Data: map[string]any{}}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		some := policy.Set{Format: policy.FormatConftest}
		if info.IsDir() {
			some, err = policy.ReadSetAs(policy.FormatConftest, setName(name), os.DirFS(name), ".")
		} else {
			var raw []byte
			if raw, err = readBounded(name, author.MaxFileBytes); err == nil {
				var used bool
				if used, err = some.AddFile("", name, string(raw)); err == nil && !used {
					err = fmt.Errorf("%s: data is in files that end in .json, .yaml or .yml", name)
				}
			}
		}
		if err == nil {
			err = all.MergeData(some.Data)
		}
		if err != nil {
			return nil, fmt.Errorf("--data %s: %w", name, err)
		}
	}
	return all.Data, nil
}
