package author

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/types"
)

// maxParsedFiles bounds the files that one call of a built-in reads.
const maxParsedFiles = 1000

// testBuiltins are what conftest gives to tests beside OPA's built-ins, to read
// configuration: parse_config, parse_config_file and parse_combined_config_files. Files
// are those of the source, beside the module that names them. Policies do not have
// them: they read their input.
func (s Source) testBuiltins() []*tester.Builtin {
	fileType := types.Args(types.S)
	return []*tester.Builtin{
		testBuiltin("parse_config", types.Args(types.S, types.S), func(_ string, args []string) (any, error) {
			return parseConfig(args[0], []byte(args[1]))
		}),
		testBuiltin("parse_config_file", fileType, func(dir string, args []string) (any, error) {
			return s.parseFile(dir, args[0])
		}),
		testBuiltin("parse_combined_config_files", types.Args(types.NewArray(nil, types.S)), func(dir string, args []string) (any, error) {
			return s.parseCombined(dir, args)
		}),
	}
}

// testBuiltin makes a built-in of a function that is given the directory of the module
// that calls, and texts.
func testBuiltin(name string, args []types.Type, do func(dir string, args []string) (any, error)) *tester.Builtin {
	decl := types.NewFunction(args, types.A)
	call := func(bctx rego.BuiltinContext, operands []*ast.Term) (*ast.Term, error) {
		var list []string
		for _, t := range operands[:decl.Arity()] { // what follows takes the result
			texts, err := textsOf(t)
			if err != nil {
				return nil, err
			}
			list = append(list, texts...)
		}
		dir := "."
		if bctx.Location != nil {
			dir = path.Dir(bctx.Location.File)
		}
		value, err := do(dir, list)
		if err != nil {
			return nil, err
		}
		v, err := ast.InterfaceToValue(value)
		return ast.NewTerm(v), err
	}
	return &tester.Builtin{
		Decl: &ast.Builtin{Name: name, Decl: decl},
		Func: rego.FunctionDyn(&rego.Function{Name: name, Decl: decl}, call),
	}
}

// textsOf is a text, or a list of them.
func textsOf(t *ast.Term) ([]string, error) {
	switch v := t.Value.(type) {
	case ast.String:
		return []string{string(v)}, nil
	case *ast.Array:
		var out []string
		for i := range v.Len() {
			s, ok := v.Elem(i).Value.(ast.String)
			if !ok {
				return nil, errors.New("the paths of files are texts")
			}
			out = append(out, string(s))
		}
		return out, nil
	}
	return nil, errors.New("an operand is no text")
}

func parseConfig(parser string, text []byte) (any, error) {
	if !slices.Contains([]string{"yaml", "yml", "json"}, parser) {
		return nil, fmt.Errorf("gitgate reads YAML and JSON, and not %s", cmp.Or(parser, "files without an extension"))
	}
	docs, err := documents(text)
	if err != nil {
		return nil, err
	}
	values := make([]any, len(docs))
	for i, d := range docs {
		values[i] = d.value
	}
	if len(values) == 1 {
		return values[0], nil
	}
	return values, nil
}

func (s Source) parseFile(dir, name string) (any, error) {
	file, err := within(dir, name)
	if err != nil {
		return nil, err
	}
	raw, err := s.read(file)
	if err != nil {
		return nil, err
	}
	value, err := parseConfig(strings.TrimPrefix(path.Ext(file), "."), raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.show(file), err)
	}
	return value, nil
}

// parseCombined is the input that --combine makes of files.
func (s Source) parseCombined(dir string, names []string) (any, error) {
	if len(names) > maxParsedFiles {
		return nil, fmt.Errorf("more than %d files", maxParsedFiles)
	}
	combined := []any{}
	for _, name := range slices.Sorted(slices.Values(names)) {
		value, err := s.parseFile(dir, name)
		if err != nil {
			return nil, err
		}
		documents, several := value.([]any)
		if !several {
			documents = []any{value}
		}
		for _, d := range documents {
			combined = append(combined, map[string]any{"path": path.Join(dir, name), "contents": d})
		}
	}
	return combined, nil
}
