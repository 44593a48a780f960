// Package policy compiles Rego policies and judges Kubernetes objects by them.
//
// [Load] takes any number of sets, each compiled on its own: the packages and
// the data of one set can neither see nor shadow those of another. What is wrong
// with a set is found while loading and reported as a [LoadError] with file,
// line and column; a set that loads cannot reach the network, the clock, the
// environment or anything else outside of its input and its data.
//
// [Engine.Evaluate] returns findings and never an error: failing to decide is a
// finding, and it denies.
package policy

import (
	"context"
	"io/fs"
	"maps"
	"slices"
	"time"
)

// An Enforcement says how hard a set bites.
type Enforcement string

// The enforcements. The empty string is [Deny].
const (
	// Deny refuses what a deny rule names.
	Deny Enforcement = "Deny"
	// Warn shows what a deny rule names, and lets it pass.
	Warn Enforcement = "Warn"
	// Audit records what a rule names, and lets it pass.
	Audit Enforcement = "Audit"
)

// A Format says which input document and rule names the modules of a set expect.
type Format string

// The formats. The empty string is [FormatGitgate]. See policies/formats.md.
const (
	// FormatGitgate is the input of this package.
	FormatGitgate Format = "Gitgate"
	// FormatConftest is that of conftest: the object is the input.
	FormatConftest Format = "Conftest"
	// FormatGatekeeper is that of Gatekeeper: ConstraintTemplates and constraints.
	FormatGatekeeper Format = "Gatekeeper"
)

// A RegoVersion is the dialect in which a set is written.
type RegoVersion string

// The dialects. The empty string is [RegoV1].
const (
	RegoV1 RegoVersion = "v1"
	RegoV0 RegoVersion = "v0"
)

// A Set is one bundle of policies with its parameters. See [ReadSet] to read one
// from files.
type Set struct {
	// Name appears in every finding of the set. It is required and unique.
	Name string
	// Modules maps a path, which appears in messages, to Rego source. Modules
	// named *_test.rego are left out. At least one deny, violation or warn rule
	// is required.
	Modules map[string]string
	// Manifests maps a path to the YAML of templates and constraints. It is what a set
	// in [FormatGatekeeper] has in the place of modules, data, parameters and a
	// RegoVersion; other sets have none.
	Manifests map[string]string
	// Data is what data.<key> holds beside the rules, in the form that
	// encoding/json decodes.
	Data map[string]any
	// Match selects the objects that the set judges. The zero value selects all.
	Match Match
	// Enforcement is [Deny] when empty.
	Enforcement Enforcement
	// Parameters is input.parameters. It is an empty object when nil.
	Parameters map[string]any
	// Declared are the parameters that modules say they read; with it, others that nothing
	// reads are an error. [ReadSet] takes them from files called parameters.jsonschema.
	Declared *ParameterNames
	// parametersUnknown says that somebody else reads parameters of any name.
	parametersUnknown bool
	// Combine has the rules judge all objects together, as conftest's --combine: their
	// input is [{path, contents}]. Only in [FormatConftest].
	Combine bool
	// Format is [FormatGitgate] when empty.
	Format Format
	// RegoVersion is [RegoV1] when empty.
	RegoVersion RegoVersion
}

// Options bound what loading and evaluating may cost. The zero value of each
// field means its default.
type Options struct {
	// Timeout bounds the evaluation of one object by all sets together; 1 s.
	Timeout time.Duration
	// MaxObjectBytes bounds the JSON of one object; 3 MiB, which is what an API
	// server accepts.
	MaxObjectBytes int
	// MaxModules bounds the modules of one set; 1,000.
	MaxModules int
	// MaxModuleBytes bounds the source of one module; 256 KiB.
	MaxModuleBytes int
	// MaxFindings bounds the findings of one set on one object; 100. More end in
	// one LimitExceeded finding.
	MaxFindings int
	// MaxMessageBytes bounds one message; 4 KiB. A longer one is cut, and a
	// LimitExceeded finding says so.
	MaxMessageBytes int
	// Fields knows the fields of kinds: a rule for one of them that reads a field that
	// it does not have is refused. Nil knows none.
	Fields FieldSource
	// EnforcementPoint is where constraints are enforced, for those whose
	// enforcementAction is scoped: validation.gatekeeper.sh when empty. At another point
	// a constraint without an action for it is not asked at all.
	EnforcementPoint string
	// ReadWholeInput turns off the pruning of input to the paths that the rules
	// read, and with it the memory of what rules said of it. It is slower and gives
	// the same findings.
	ReadWholeInput bool
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	for p, d := range map[*int]int{
		&o.MaxObjectBytes:  3 << 20,
		&o.MaxModules:      1000,
		&o.MaxModuleBytes:  256 << 10,
		&o.MaxFindings:     100,
		&o.MaxMessageBytes: 4 << 10,
	} {
		if *p <= 0 {
			*p = d
		}
	}
	return o
}

// maxSets bounds the sets of one engine.
const maxSets = 1000

// Load compiles the sets. It reports everything that is wrong with all of them
// as one [*LoadError]; the caller keeps the engine that it had.
func Load(ctx context.Context, sets []Set, opts Options) (*Engine, error) {
	opts = opts.withDefaults()
	var bad problems
	if len(sets) > maxSets {
		bad.add(Problem{Message: tooMany("policy sets", len(sets), maxSets)})
		return nil, bad.err()
	}
	type compilation struct {
		sets []*set
		bad  problems
	}
	names := make(map[string]bool, len(sets))
	var different []Set
	for _, s := range sets {
		if names[s.Name] {
			bad.add(duplicate(s.Name))
			continue
		}
		names[s.Name] = true
		different = append(different, s)
	}
	var compiled []*set
	for _, c := range sideBySide(different, func(s Set) *compilation {
		c := &compilation{}
		if ctx.Err() == nil {
			c.sets = compileSet(s, opts, &c.bad)
		}
		return c
	}) {
		bad.addAll(&c.bad)
		compiled = append(compiled, c.sets...)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	return newEngine(compiled, opts), nil
}

// ReadSet reads the modules and the data of a set in [FormatGitgate] from the files
// below the roots in fsys; "." is all of it. A data.json or data.yaml at a root, or in a
// directory below it, becomes data at the path of that directory; objects are merged,
// as OPA merges those of a bundle. Hidden files and directories are left out. Other
// fields of the set are the caller's.
func ReadSet(name string, fsys fs.FS, roots ...string) (Set, error) {
	return ReadSetAs(FormatGitgate, name, fsys, roots...)
}

// ReadSetAs reads a set of any format. In [FormatConftest] every JSON and YAML file is
// data at the path of its directory, as of conftest's --data; in [FormatGatekeeper]
// it holds templates and constraints.
func ReadSetAs(format Format, name string, fsys fs.FS, roots ...string) (Set, error) {
	r := setReader{fsys: fsys, set: Set{Name: name, Format: format, Modules: map[string]string{}}}
	if format == FormatGatekeeper {
		r.set.Manifests = map[string]string{}
	}
	for _, root := range roots {
		if err := r.read(root); err != nil {
			return Set{}, &LoadError{Problems: []Problem{{Set: name, File: root, Message: err.Error()}}}
		}
	}
	if r.set.Declared != nil { // a schema speaks for all that stands around it
		r.set.Declare(ParameterNames{Modules: slices.Collect(maps.Keys(r.set.Modules))})
	}
	return r.set, nil
}
