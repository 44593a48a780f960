package schema

import (
	"fmt"
	"math"
)

// bytesPerValue is how much text counts as one more value.
const bytesPerValue = 64

// measure counts the values in v, long texts for more than one. It fails if v is
// nested too deep or holds what JSON cannot.
func measure(v any) (int, error) { return measureAt(v, 0) }

func measureAt(v any, depth int) (n int, err error) {
	if depth > maxDepth {
		return 0, fmt.Errorf("the object is nested deeper than %d levels", maxDepth)
	}
	switch v := v.(type) {
	case nil, bool, int, int64, float64:
		return 1, nil
	case string:
		return 1 + len(v)/bytesPerValue, nil
	case map[string]any:
		n = 1
		for name, e := range v {
			m, err := measureAt(e, depth+1)
			if err != nil {
				return 0, err
			}
			n += m + len(name)/bytesPerValue
		}
		return n, nil
	case []any:
		n = 1
		for _, e := range v {
			m, err := measureAt(e, depth+1)
			if err != nil {
				return 0, err
			}
			n += m
		}
		return n, nil
	}
	return 0, fmt.Errorf("the object holds a %T, which JSON has no word for", v)
}

// maxPlain is where JSON begins to write whole numbers with an exponent.
const maxPlain = 1 << 62

// asSent copies v, which was measured, as a server would read it: JSON does not tell
// 2.0 from 2.
func asSent(v any) any {
	switch v := v.(type) {
	case int:
		return int64(v)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < maxPlain {
			return int64(v)
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, e := range v {
			out[name] = asSent(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = asSent(e)
		}
		return out
	}
	return v
}
