package policy

import (
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// The compiler goes over all modules in each of some thirty stages. A few of these look
// for what hardly any module has: a look at the words of a module is enough to leave them
// out. TestStages holds the outcome against that of all stages.

// words are the words in the code of modules that call for stages. The zero value calls
// for none of them.
type words struct{ metadata, print, template, with bool }

// skipped are the stages that would find nothing.
func (w words) skipped() (stages []ast.StageID) {
	if w.template { // code may hide in strings
		return nil
	}
	stages = append(stages, ast.StageRewriteTemplateStrings)
	if !w.metadata {
		stages = append(stages, ast.StageParseMetadataBlocks, ast.StageRewriteRegoMetadataCalls)
	}
	if !w.print { // which has no value, and nothing else that is allowed has none
		stages = append(stages, ast.StageRewritePrintCalls, ast.StageCheckVoidCalls)
	}
	if !w.with {
		stages = append(stages, ast.StageRewriteWithValues)
	}
	return stages
}

// and returns what either has.
func (w words) and(other words) words {
	return words{w.metadata || other.metadata, w.print || other.print, w.template || other.template, w.with || other.with}
}

// wordsOf looks at the code of a module that parses, not at its comments and strings.
func wordsOf(src string) (w words) {
	for i := 0; i < len(src); {
		switch c := src[i]; {
		case c == '#':
			for i < len(src) && src[i] != '\n' {
				i++
			}
		case c == '"', c == '`':
			i = afterString(src, i)
		case wordByte(c):
			start := i
			for i < len(src) && wordByte(src[i]) {
				i++
			}
			switch src[start:i] {
			case "rego":
				w.metadata = w.metadata || !isVersion(src[i:])
			case "print", "internal":
				w.print = true
			case "with":
				w.with = true
			}
		default:
			w.template = w.template || c == '$'
			i++
		}
	}
	return w
}

// afterString goes behind the string that begins at i.
func afterString(src string, i int) int {
	quote := src[i]
	for i++; i < len(src) && src[i] != quote; i++ {
		if src[i] == '\\' && quote == '"' {
			i++
		}
	}
	return i + 1
}

func wordByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// isVersion reports whether what follows rego makes rego.v1 of it.
func isVersion(rest string) bool {
	return len(rest) >= 3 && rest[:3] == ".v1" && (len(rest) == 3 || !wordByte(rest[3]) && rest[3] != '.' && rest[3] != '[')
}

// newCompiler makes a compiler of modules with these words. Once it has rewritten them,
// and nothing is wrong so far, it calls look, which must not change them: nor does the
// compiler any more. (Where rules recurse it does, to tell of it.)
func newCompiler(w words, look func(*ast.Compiler)) *ast.Compiler {
	return ast.NewCompiler().
		WithCapabilities(capabilities()).
		WithSkipStages(append(w.skipped(), ast.StageRewriteEquals)...).
		WithStageAfterID(ast.StageCheckSafetyRuleBodies, ast.CompilerStageDefinition{
			Name: "RewriteEqualsSideBySide", MetricName: "compile_stage_rewrite_equals_side_by_side", Stage: rewriteEquals,
		}).
		WithStageAfterID(ast.StageCheckRecursion, ast.CompilerStageDefinition{
			Name: "Look", MetricName: "compile_stage_look", Stage: func(c *ast.Compiler) *ast.Error {
				if !c.Failed() {
					look(c)
				}
				return nil
			},
		})
}

// rewriteEquals does what the stage of this name does, in place and module by module:
// that one makes every module anew.
func rewriteEquals(c *ast.Compiler) *ast.Error {
	sideBySide(slices.Collect(maps.Values(c.Modules)), func(mod *ast.Module) struct{} {
		ast.WalkExprs(mod, func(e *ast.Expr) bool {
			if e.IsCall() && len(e.Operands()) == 2 && e.Operator().Equal(ast.Interned.Refs.Equal) {
				e.SetOperator(ast.NewTerm(ast.Equality.Ref()))
			}
			return false
		})
		return struct{}{}
	})
	return nil
}
