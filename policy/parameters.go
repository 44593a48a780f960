package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// parametersFile is the JSON schema (draft 7) of the parameters that the modules beside
// it read. OPA takes files that end in .json for data.
const parametersFile = "parameters.jsonschema"

// maxParameterName bounds the names that are compared with others, in bytes.
const maxParameterName = 64

// ParameterNames are the parameters that modules of a set say that they read. A typing
// error in a parameter would silently leave a rule to its default, so that a name that
// is not among them, and that no other module of the set reads, is an error.
type ParameterNames struct {
	Names []string
	// Modules are the paths of the modules for which Names speaks.
	Modules []string
}

// Declare adds what modules of the set say that they read.
func (s *Set) Declare(more ParameterNames) {
	if s.Declared == nil {
		s.Declared = &ParameterNames{}
	}
	for _, add := range []struct {
		to   *[]string
		what []string
	}{{&s.Declared.Names, more.Names}, {&s.Declared.Modules, more.Modules}} {
		*add.to = slices.Compact(slices.Sorted(slices.Values(slices.Concat(*add.to, add.what))))
	}
}

// ShareParameters has each of the sets take what is meant for another one of them, where
// all get the same parameters.
func ShareParameters(sets []Set) {
	names, unknown := map[string]bool{}, false
	for _, s := range sets {
		own := s.readParameters()
		maps.Copy(names, own.names)
		unknown = unknown || own.unknown
		if s.Declared != nil {
			for _, name := range s.Declared.Names {
				names[name] = true
			}
		}
	}
	for i := range sets {
		if sets[i].Declared == nil {
			continue
		}
		sets[i].Declared = &ParameterNames{Names: slices.Sorted(maps.Keys(names)), Modules: sets[i].Declared.Modules}
		sets[i].parametersUnknown = unknown
	}
}

// parameterReads are the names of parameters that modules read. With unknown they may
// read any other as well.
type parameterReads struct {
	names   map[string]bool
	unknown bool
}

// readParameters finds what the modules read that declare nothing. What does not parse
// is told elsewhere.
func (s Set) readParameters() parameterReads {
	out := parameterReads{names: map[string]bool{}}
	if s.Format != "" && s.Format != FormatGitgate {
		return out // these have no input.parameters of ours
	}
	for file, source := range s.Modules {
		if strings.HasSuffix(file, "_test.rego") || s.Declared != nil && slices.Contains(s.Declared.Modules, file) {
			continue
		}
		if checkSource(source, Options{}.withDefaults()) != "" {
			return parameterReads{names: out.names, unknown: true}
		}
		mod, err := parseModule(file, source, regoVersion(s.RegoVersion))
		if err != nil {
			return parameterReads{names: out.names, unknown: true}
		}
		out.module(mod)
	}
	return out
}

var (
	parametersRef  = ast.MustParseRef("input.parameters")
	libraryGetters = []string{"get", "given"} // of data.lib.parameters
)

// module adds what a module reads: input.parameters.x, object.get(input.parameters,
// "x", …), and what it asks of the library.
func (p *parameterReads) module(mod *ast.Module) {
	library := ""
	for _, i := range mod.Imports {
		if ref, ok := i.Path.Value.(ast.Ref); ok && ref.Equal(ast.MustParseRef("data.lib.parameters")) {
			library = string(i.Name())
		}
	}
	looked := map[*ast.Term]bool{} // whole documents of which one field is taken
	call := func(terms []*ast.Term) {
		name := terms[0].String()
		switch {
		case name == "object.get" && len(terms) > 2:
			if ref, ok := terms[1].Value.(ast.Ref); ok && ref.Equal(parametersRef) && p.name(terms[2]) {
				looked[terms[1]] = true
			}
		case library != "" && len(terms) > 1 && slices.ContainsFunc(libraryGetters, func(g string) bool { return name == library+"."+g }):
			if !p.name(terms[1]) {
				p.unknown = true
			}
		}
	}
	ast.WalkExprs(mod, func(e *ast.Expr) bool {
		if terms, ok := e.Terms.([]*ast.Term); ok && e.IsCall() {
			call(terms)
		}
		return false
	})
	ast.WalkTerms(mod, func(t *ast.Term) bool {
		switch v := t.Value.(type) {
		case ast.Call:
			call(v)
		case ast.Ref:
			switch {
			case !v.HasPrefix(parametersRef):
				p.unknown = p.unknown || v.Equal(ast.InputRootRef)
			case len(v) > len(parametersRef) && p.name(v[len(parametersRef)]):
			case !looked[t]:
				p.unknown = true
			}
		}
		return false
	})
}

// name adds a name, if the term is one.
func (p *parameterReads) name(t *ast.Term) bool {
	s, ok := t.Value.(ast.String)
	if ok {
		p.names[string(s)] = true
	}
	return ok
}

// checkParameters refuses parameters that nothing reads, where modules declare theirs.
func checkParameters(s Set, bad *problems) {
	if s.Declared == nil || len(s.Parameters) == 0 {
		return
	}
	own := s.readParameters()
	known := slices.Concat(s.Declared.Names, slices.Collect(maps.Keys(own.names)))
	for _, name := range slices.Sorted(maps.Keys(s.Parameters)) {
		if slices.Contains(known, name) {
			continue
		}
		meant := ""
		if len(name) <= maxParameterName {
			meant = nearest(name, known)
		}
		message := fmt.Sprintf("parameters: no rule reads a parameter %.64q", name)
		switch {
		case meant != "":
			message += fmt.Sprintf(": is %s meant?", meant)
		case own.unknown || s.parametersUnknown:
			continue // a rule of one's own reads parameters by names that are not in it
		case len(s.Declared.Names) == 0:
			message += ": there are none to be set"
		default:
			message += ": there are " + strings.Join(slices.Sorted(slices.Values(s.Declared.Names)), ", ")
		}
		bad.add(Problem{Set: s.Name, Message: message + "; a check that goes by its default because of a typing error would go unnoticed"})
	}
}

// addParameters takes up the names in a schema of parameters.
func (r *setReader) addParameters(file string) error {
	raw, err := r.file(file)
	if err != nil {
		return err
	}
	var doc struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("%s: this is no JSON schema of an object: %w", file, err)
	}
	r.set.Declare(ParameterNames{Names: slices.Collect(maps.Keys(doc.Properties))})
	return nil
}
