package policy

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// What one call of a built-in may produce. OPA's evaluator looks at the deadline
// between expressions, and a built-in that builds its whole result first could
// take gigabytes before anybody looks; and values share structure, so that forty
// short lines can name a document of a trillion nodes.
const (
	maxResultBytes = 8 << 20
	maxResultNodes = 1 << 20
	maxNumberBits  = 1 << 16
)

// budgetErrorCode marks errors of these bounds among those of OPA.
const budgetErrorCode = "gitgate_budget_error"

// A cost estimates from the operands what a call produces, in bytes and nodes.
// It need not be exact, but never below by more than a constant factor.
type cost func(args []*ast.Term) (bytes, nodes int64)

// costs lists the built-ins whose result may be larger than the operands by more
// than a constant factor, or which walk values that share structure.
var costs = map[string]cost{
	"numbers.range":      rangeCost,
	"numbers.range_step": rangeCost,
	"concat":             concatCost,
	"replace":            replaceCost,
	"strings.replace_n":  replaceAllCost,
	"regex.replace":      regexReplaceCost,
	"sprintf":            sprintfCost,
	"format_int":         numberCost,
	"mul":                numberCost,
	"plus":               numberCost,
	"minus":              numberCost,
	"div":                numberCost,
	"rem":                numberCost,
	"abs":                numberCost,
	"round":              numberCost,
	"ceil":               numberCost,
	"floor":              numberCost,
	"product":            productCost,
	"bits.lsh":           shiftCost,
	"bits.rsh":           shiftCost,
	"bits.and":           numberCost,
	"bits.or":            numberCost,
	"bits.xor":           numberCost,
	"bits.negate":        numberCost,
	"to_number":          textNumberCost,
	"units.parse":        textNumberCost,
	"units.parse_bytes":  textNumberCost,
}

// structural lists the built-ins that walk or copy whole operands.
var structural = []string{
	"array.concat", "array.flatten", "array.reverse", "sort", "walk",
	"json.marshal", "json.marshal_with_options", "json.filter", "json.remove", "json.patch",
	"yaml.marshal", "object.union", "object.union_n", "object.remove", "object.filter",
	"object.subset", "internal.template_string", "union", "intersection", "and", "or", "minus",
	"graph.reachable", "urlquery.encode_object", "split", "strings.split_n", "regex.split",
	"json.unmarshal", "yaml.unmarshal", "json.is_valid", "yaml.is_valid",
	"base64.encode", "base64url.encode", "base64url.encode_no_pad", "hex.encode", "urlquery.encode",
	"regex.find_n", "regex.find_all_string_submatch_n", "strings.reverse", "lower", "upper",
}

// OPA looks built-ins up in one table for the whole process, and there the bounds
// have to go. Every evaluation in the process gets them; they only ever refuse
// what no honest policy needs.
func init() {
	for name, c := range costs {
		topdown.RegisterBuiltinFunc(name, bounded(name, topdown.GetBuiltin(name), c))
	}
	for _, name := range structural {
		topdown.RegisterBuiltinFunc(name, bounded(name, topdown.GetBuiltin(name), operandCost))
	}
}

// bounded refuses a call that would cost too much. It halts the evaluation,
// because going on would only meet the next such call.
func bounded(name string, fn topdown.BuiltinFunc, c cost) topdown.BuiltinFunc {
	return func(bctx topdown.BuiltinContext, args []*ast.Term, iter func(*ast.Term) error) error {
		bytes, nodes := c(args)
		if bytes > maxResultBytes || nodes > maxResultNodes {
			return topdown.Halt{Err: &topdown.Error{
				Code:     budgetErrorCode,
				Location: bctx.Location,
				Message: fmt.Sprintf("%s would work on %s, more than the %d elements or %d MiB that one call may",
					name, describeCost(bytes, nodes), maxResultNodes, maxResultBytes>>20),
			}}
		}
		return fn(bctx, args, iter)
	}
}

func describeCost(bytes, nodes int64) string {
	if nodes > maxResultNodes {
		return "over " + strconv.FormatInt(maxResultNodes, 10) + " elements"
	}
	return "over " + strconv.FormatInt(bytes>>20, 10) + " MiB"
}

// operandCost measures the operands as trees, shared parts counted each time,
// and stops as soon as the budget is spent.
func operandCost(args []*ast.Term) (bytes, nodes int64) {
	m := meter{}
	for _, a := range args {
		m.add(a, 0)
	}
	return m.bytes, m.nodes
}

type meter struct{ bytes, nodes int64 }

func (m *meter) spent() bool { return m.bytes > maxResultBytes || m.nodes > maxResultNodes }

func (m *meter) add(t *ast.Term, depth int) {
	if m.nodes++; m.spent() {
		return
	}
	if depth > maxDepth*2 {
		m.nodes = maxResultNodes + 1 // deeper than anything honest, and recursion costs stack
		return
	}
	switch v := t.Value.(type) {
	case ast.String:
		m.bytes += int64(len(v))
	case ast.Number:
		m.bytes += int64(len(v))
	case *ast.Array:
		v.Until(func(e *ast.Term) bool { m.add(e, depth+1); return m.spent() })
	case ast.Set:
		v.Until(func(e *ast.Term) bool { m.add(e, depth+1); return m.spent() })
	case ast.Object:
		v.Until(func(k, e *ast.Term) bool {
			m.add(k, depth+1)
			m.add(e, depth+1)
			return m.spent()
		})
	}
}

func rangeCost(args []*ast.Term) (int64, int64) {
	a, aok := bigInt(args[0])
	b, bok := bigInt(args[1])
	if !aok || !bok {
		return 0, 0 // the built-in refuses it
	}
	n := new(big.Int).Sub(b, a)
	n.Abs(n)
	if len(args) > 2 {
		if step, ok := bigInt(args[2]); ok && step.Sign() > 0 {
			n.Div(n, step)
		}
	}
	if !n.IsInt64() {
		return 0, maxResultNodes + 1
	}
	return 0, n.Int64()
}

func concatCost(args []*ast.Term) (int64, int64) {
	bytes, nodes := operandCost(args)
	return bytes + nodes*textLen(args[0]), nodes
}

func replaceCost(args []*ast.Term) (int64, int64) {
	s, old, fresh := textLen(args[0]), textLen(args[1]), textLen(args[2])
	return s + (s/max(old, 1)+1)*fresh, 1
}

// replaceAllCost takes the longest replacement for every byte.
func replaceAllCost(args []*ast.Term) (int64, int64) {
	bytes, nodes := operandCost(args)
	longest := int64(1)
	if o, ok := args[0].Value.(ast.Object); ok {
		o.Foreach(func(_, v *ast.Term) { longest = max(longest, textLen(v)) })
	}
	return bytes + (textLen(args[1])+1)*longest, nodes
}

// regexReplaceCost assumes a match at every byte; a template may name a group
// once for every two of its bytes.
func regexReplaceCost(args []*ast.Term) (int64, int64) {
	s, tmpl := textLen(args[0]), textLen(args[2])
	return s + (s+1)*tmpl, 1
}

// sprintfCost adds the widths and precisions that the format asks for.
func sprintfCost(args []*ast.Term) (int64, int64) {
	bytes, nodes := operandCost(args)
	f, _ := args[0].Value.(ast.String)
	var width, verbs int64
	indexed := false
	for i := 0; i < len(f); i++ {
		if f[i] != '%' {
			continue
		}
		verbs++
		w, next, index := verbWidth(string(f), i+1)
		width, i, indexed = width+w, next, indexed || index
	}
	if indexed { // %[1]v may repeat one operand for every verb
		bytes *= verbs + 1
	}
	return bytes + width, nodes
}

// verbWidth reads the flags, width and precision of the verb at i, which may not
// be an operand, and returns where the verb ends.
func verbWidth(f string, i int) (width int64, next int, indexed bool) {
	n := int64(0)
	for ; i < len(f); i++ {
		switch c := f[i]; {
		case c >= '0' && c <= '9':
			n = min(n*10+int64(c-'0'), maxResultBytes+1)
		case c == '*':
			return maxResultBytes + 1, i, indexed
		case c == '[' || c == ']':
			indexed, n = true, 0
		case strings.IndexByte("+-# .", c) >= 0:
			width, n = width+n, 0
		default:
			return width + n, i, indexed
		}
	}
	return width + n, i, indexed
}

// numberCost bounds arithmetic: doubling the digits thirty times takes thirty
// expressions.
func numberCost(args []*ast.Term) (int64, int64) {
	if _, ok := args[0].Value.(ast.Set); ok {
		return operandCost(args) // minus is also the difference of sets
	}
	for _, a := range args {
		if n, ok := a.Value.(ast.Number); ok && numberTooLong(string(n)) {
			return maxResultBytes + 1, 1
		}
	}
	return 0, 1
}

// productCost adds the digits of the factors up: the product has as many.
func productCost(args []*ast.Term) (int64, int64) {
	bytes, nodes := operandCost(args)
	if bytes > maxNumberBits {
		return maxResultBytes + 1, nodes
	}
	return bytes, nodes
}

func shiftCost(args []*ast.Term) (int64, int64) {
	if s, ok := bigInt(args[1]); !ok || s.CmpAbs(big.NewInt(maxNumberBits)) > 0 {
		return maxResultBytes + 1, 1
	}
	return numberCost(args)
}

func textNumberCost(args []*ast.Term) (int64, int64) {
	if s, ok := args[0].Value.(ast.String); ok && numberTooLong(string(s)) {
		return maxResultBytes + 1, 1
	}
	return 0, 1
}

// numberTooLong reports whether a literal has too many digits, or an exponent
// that stands for too many.
func numberTooLong(s string) bool {
	if len(s) > maxNumberBits/4 {
		return true
	}
	for i := 0; i+1 < len(s); i++ {
		if s[i] != 'e' && s[i] != 'E' {
			continue
		}
		exp := 0
		for _, c := range s[i+1:] {
			if c >= '0' && c <= '9' {
				exp = min(exp*10+int(c-'0'), maxNumberBits)
			} else if c != '+' && c != '-' {
				break
			}
		}
		if exp > maxNumberBits/4 {
			return true
		}
	}
	return false
}

func bigInt(t *ast.Term) (*big.Int, bool) {
	n, ok := t.Value.(ast.Number)
	if !ok || numberTooLong(string(n)) {
		return nil, false
	}
	r, ok := new(big.Rat).SetString(string(n)) // 1e3 is an integer too
	if !ok || !r.IsInt() {
		return nil, false
	}
	return r.Num(), true
}

func textLen(t *ast.Term) int64 {
	if s, ok := t.Value.(ast.String); ok {
		return int64(len(s))
	}
	return utf8.UTFMax
}
