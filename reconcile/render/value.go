package render

import (
	"fmt"
	"math"
	"strconv"
)

// jsonValue turns what yaml.v2 decoded into the value that an API server would
// decode from its JSON form: the composition of sigs.k8s.io/yaml.YAMLToJSON and
// k8s.io/apimachinery/pkg/util/json.Unmarshal, without the detour through bytes.
// The error names the value at fault.
func jsonValue(v any) (any, error) {
	switch v := v.(type) {
	case nil, string, bool, int64:
		return v, nil
	case int:
		return int64(v), nil
	case uint64:
		return nil, fmt.Errorf("integer %d does not fit into 64 bits and would lose digits; quote it if it is text", v)
	case float64:
		return jsonFloat(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			var err error
			if out[i], err = jsonValue(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[any]any:
		return jsonObject(v)
	}
	return nil, fmt.Errorf("a value of type %T has no JSON form", v)
}

// jsonObject reports the first error by its text, for maps have no order.
func jsonObject(m map[any]any) (map[string]any, error) {
	out := make(map[string]any, len(m))
	var first error
	for k, e := range m {
		key, ok := k.(string)
		var err error
		if !ok {
			err = fmt.Errorf("key %v is read as %s and not as a string; quote it", k, yamlType(k))
		} else {
			out[key], err = jsonValue(e)
		}
		if err != nil && (first == nil || err.Error() < first.Error()) {
			first = err
		}
	}
	return out, first
}

// jsonFloat writes the float as encoding/json does and reads it as the API server
// does, to whom 1.0 and 1e3 are integers.
func jsonFloat(f float64) (any, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("number %v has no JSON form; quote it if it is text", f)
	}
	if abs := math.Abs(f); abs >= 1e21 || abs != math.Trunc(abs) {
		return f, nil // written with a fraction or an exponent
	}
	if i, err := strconv.ParseInt(strconv.FormatFloat(f, 'f', -1, 64), 10, 64); err == nil {
		return i, nil
	}
	return f, nil
}

func yamlType(k any) string {
	switch k.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	}
	return "a number"
}
