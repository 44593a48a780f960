package bundle

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policy"
)

// A Dialect says how the files of a bundle are to be read, where whoever uses it knows.
// What is empty is as the manifest says, and the default of [policy.Set] where it says
// nothing.
type Dialect struct {
	Format      policy.Format
	RegoVersion policy.RegoVersion
}

// Set makes of the bundle what [policy.Load] takes, under a name that appears in
// findings. It compiles nothing. It fails with a [*policy.LoadError] where the bundle
// is in another dialect than the one that is asked for, where a file cannot be read,
// and where roots or data do not go with the rules.
func (b *Bundle) Set(name string, as Dialect) (policy.Set, error) {
	refuse := func(format string, args ...any) (policy.Set, error) {
		return policy.Set{}, &policy.LoadError{Problems: []policy.Problem{{Set: name, File: manifestName, Message: fmt.Sprintf(format, args...)}}}
	}
	format := cmp.Or(as.Format, b.manifest.Format, policy.FormatGitgate)
	if b.manifest.Format != "" && b.manifest.Format != format {
		return refuse("the bundle is in the format %s, not %s: say so where it is used", b.manifest.Format, format)
	}
	if v := b.manifest.RegoVersion; v != "" && as.RegoVersion != "" && as.RegoVersion != v && format != policy.FormatGatekeeper {
		return refuse("the bundle is in Rego %s, not %s: say so where it is used", v, as.RegoVersion)
	}
	set, err := policy.ReadSetAs(format, name, b.FS(), ".")
	if err != nil {
		return policy.Set{}, err
	}
	if format == policy.FormatGatekeeper { // templates say theirs
		return set, nil
	}
	set.RegoVersion = cmp.Or(as.RegoVersion, b.manifest.RegoVersion)
	c := checker{bundle: b, set: set}
	if c.run(); len(c.problems) > 0 {
		return policy.Set{}, &policy.LoadError{Problems: c.problems}
	}
	return set, nil
}

// maxProblems bounds what is told of one bundle.
const maxProblems = 20

// A checker holds rules and data to the roots and to each other.
type checker struct {
	bundle   *Bundle
	set      policy.Set
	problems []policy.Problem
}

func (c *checker) report(at *ast.Location, file, format string, args ...any) {
	if len(c.problems) >= maxProblems {
		return
	}
	p := policy.Problem{Set: c.set.Name, File: file, Message: fmt.Sprintf(format, args...)}
	if at != nil {
		p.Line, p.Column = at.Row, at.Col
	}
	c.problems = append(c.problems, p)
}

func (c *checker) run() {
	everything := c.bundle.manifest.owns(nil)
	if !everything {
		c.data(c.set.Data, nil)
	}
	if everything && len(c.set.Data) == 0 {
		return // nothing can be wrong
	}
	version := ast.RegoV1
	if c.set.RegoVersion == policy.RegoV0 {
		version = ast.RegoV0
	}
	for _, file := range slices.Sorted(maps.Keys(c.set.Modules)) {
		if strings.HasSuffix(file, "_test.rego") {
			continue
		}
		// Loading tells why a module does not parse.
		if m, err := ast.ParseModuleWithOpts(file, c.set.Modules[file], ast.ParserOptions{RegoVersion: version}); err == nil && m != nil {
			c.module(file, m)
		}
	}
}

// module wants the package below a root, and no data where a rule is.
func (c *checker) module(file string, m *ast.Module) {
	pkg := keys(m.Package.Path[1:])
	if !c.bundle.manifest.owns(pkg) {
		c.report(m.Package.Location, file, "the roots of the bundle (%s) do not cover the package %s: add a root, or move the file out",
			strings.Join(c.bundle.manifest.Roots, ", "), strings.Join(pkg, "."))
		return
	}
	for _, rule := range m.Rules {
		at := append(slices.Clip(pkg), keys(rule.Head.Ref())...)
		if taken := shadowed(c.set.Data, at); taken != nil {
			c.report(rule.Location, file, "the data of %s at data.%s has the place of this rule, data.%s: rename one of them",
				c.fileOf(taken), strings.Join(taken, "."), strings.Join(at, "."))
			return // one for each file is enough
		}
	}
}

// keys are the leading keys of a path below data that are text.
func keys(ref ast.Ref) []string {
	var out []string
	for _, t := range ref {
		switch v := t.Value.(type) {
		case ast.Var: // the name of a rule
			if len(out) > 0 {
				return out
			}
			out = append(out, string(v))
		case ast.String:
			out = append(out, string(v))
		default:
			return out
		}
	}
	return out
}

// shadowed is the path of data that keeps a rule from being seen, or from being alone
// at its path; nil without any.
func shadowed(data map[string]any, at []string) []string {
	for i, key := range at {
		next, ok := data[key]
		if !ok {
			return nil
		}
		object, isObject := next.(map[string]any)
		if !isObject || i == len(at)-1 {
			return at[:i+1]
		}
		data = object
	}
	return nil
}

// data wants all data below a root.
func (c *checker) data(doc map[string]any, at []string) {
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		here := append(slices.Clip(at), key)
		object, isObject := doc[key].(map[string]any)
		switch {
		case c.bundle.manifest.owns(here):
		case isObject && slices.ContainsFunc(c.bundle.manifest.Roots, func(root string) bool {
			return covers(strings.Join(here, "/"), strings.Split(root, "/"))
		}):
			c.data(object, here)
		default:
			c.report(nil, c.fileOf(here), "the roots of the bundle (%s) do not cover data.%s: add a root, or remove the data",
				strings.Join(c.bundle.manifest.Roots, ", "), strings.Join(here, "."))
		}
	}
}

// fileOf finds the file that has a value at a path. It reads files again: only what is
// refused has to be found.
func (c *checker) fileOf(want []string) string {
	for _, file := range c.bundle.Files() {
		at := strings.Split(path.Dir(file), "/")
		if at[0] == "." {
			at = nil
		}
		one := policy.Set{Format: c.set.Format}
		if used, err := one.AddFile("", path.Base(file), string(c.bundle.files[file])); !used || err != nil || one.Data == nil {
			continue
		}
		if len(at) >= len(want) && slices.Equal(at[:len(want)], want) {
			return file
		}
		if len(at) < len(want) && slices.Equal(at, want[:len(at)]) && shadowed(one.Data, want[len(at):]) != nil {
			return file
		}
	}
	return manifestName
}
