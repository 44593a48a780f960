package policy

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

//go:embed input.schema.json
var inputSchema string

// InputSchema is the JSON schema (draft 7) of the input of rules in [FormatGitgate].
func InputSchema() []byte { return []byte(inputSchema) }

// typeSchema is the schema as the compiler takes it. OPA holds an object that has
// properties to have no others, so that a Kubernetes object, which may have any,
// must be any value; its fields are looked at in fields.go.
var typeSchema = sync.OnceValue(func() *ast.SchemaSet {
	var schema map[string]any
	if err := json.Unmarshal([]byte(inputSchema), &schema); err != nil {
		panic(fmt.Sprintf("policy: the schema of the input is damaged: %v", err)) // a test would have found it
	}
	properties := schema["properties"].(map[string]any)
	for _, key := range []string{"object", "oldObject", "namespace", inventoryKey, fileKey} {
		properties[key] = map[string]any{}
	}
	delete(schema, "definitions")
	delete(schema, "$id")
	set := ast.NewSchemaSet()
	set.Put(ast.SchemaRootRef, schema)
	return set
})

// schemas are what rules of a format are held to: conftest's input has no schema.
func schemas(format Format) *ast.SchemaSet {
	if format == FormatGitgate || format == "" {
		return typeSchema()
	}
	return nil
}

// foreign says what input a key belongs to that ours does not have.
var foreign = map[string]string{
	"review": "rules for Gatekeeper want the format Gatekeeper",
	"kind":   "the object is input.object; rules for conftest want the format Conftest", "apiVersion": "the object is input.object; rules for conftest want the format Conftest",
	"metadata": "the object is input.object; rules for conftest want the format Conftest", "spec": "the object is input.object; rules for conftest want the format Conftest",
	"request": "the object is input.object, and who asks is input.userInfo",
}

// explainRef says what is wrong with a reference that the types do not allow, and
// where. It returns false for any other error.
func explainRef(e *ast.Error) (message string, at *ast.Location, ok bool) {
	detail, ok := e.Details.(*ast.RefErrInvalidDetail)
	if !ok || detail.Pos >= len(detail.Ref) {
		return "", nil, false
	}
	wrong := detail.Ref[detail.Pos]
	key, ok := wrong.Value.(ast.String)
	if !ok || detail.Ref[0].Equal(ast.DefaultRootDocument) || len(detail.OneOf) == 0 {
		return "", nil, false
	}
	var known []string
	for _, v := range detail.OneOf {
		if s, ok := v.(ast.String); ok && !strings.HasPrefix(string(s), "_") {
			known = append(known, string(s))
		}
	}
	message = noField(detail.Ref[:detail.Pos].String(), string(key), known)
	if hint := foreign[string(key)]; hint != "" && detail.Pos == 1 {
		message += "; " + hint
	}
	if at = wrong.Location; at == nil {
		at = e.Location
	}
	return message, at, true
}

// noField says that something has no such field, and which one may be meant.
func noField(of, key string, known []string) string {
	message := fmt.Sprintf("%s has no field %q", of, key)
	if meant := nearest(key, known); meant != "" {
		return message + fmt.Sprintf(": is %s meant?", meant)
	}
	if slices.Sort(known); len(known) > 0 && len(known) <= 24 {
		return message + ": it has " + strings.Join(known, ", ")
	}
	return message
}

// nearest returns the known word that a misspelt one is likely to stand for.
func nearest(word string, known []string) string {
	best, at := "", max(1, len(word)/4)+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < at {
			best, at = k, d
		}
	}
	return best
}

// distance counts the letters that are wrong, missing, too many or swapped with
// their neighbour.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
