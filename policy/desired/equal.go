package desired

// equal compares two JSON values. Numbers are equal when their values are,
// whatever Go type the decoder chose.
func equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			w, ok := b[k]
			if !ok || !equal(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !equal(a[i], b[i]) {
				return false
			}
		}
		return true
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	switch b.(type) {
	case map[string]any, []any:
		return false // not comparable by ==
	}
	return a == b
}

// A num is a JSON number in a form that compares by value: integers exactly.
type num struct {
	i int64
	f float64
}

func number(v any) (num, bool) {
	switch v := v.(type) {
	case int64:
		return num{i: v}, true
	case int:
		return num{i: int64(v)}, true
	case float64:
		if i := int64(v); float64(i) == v && i != 1<<63-1 {
			return num{i: i}, true
		}
		return num{f: v}, true
	}
	return num{}, false
}
