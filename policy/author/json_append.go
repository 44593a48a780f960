package author

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// appendJSON writes a value of a [converter] as [json.Marshal] does, without looking at
// its type by reflection.
func appendJSON(b []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case json.Number: // the converter takes none that is not one of JSON
		return append(b, v...), nil
	case string:
		return appendString(b, v)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = appendJSON(b, e); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case map[string]any:
		return appendObject(b, v)
	}
	raw, err := json.Marshal(value)
	return append(b, raw...), err
}

// appendObject writes an object with its keys in order.
func appendObject(b []byte, object map[string]any) ([]byte, error) {
	b = append(b, '{')
	var few [16]string // on the stack
	keys := slices.AppendSeq(few[:0], maps.Keys(object))
	slices.Sort(keys)
	for i, key := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendString(b, key); err != nil {
			return nil, err
		}
		if b, err = appendJSON(append(b, ':'), object[key]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// appendString leaves all but plain ASCII to encoding/json.
func appendString(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c >= 0x7f, c == '"', c == '\\', c == '<', c == '>', c == '&':
			raw, err := json.Marshal(s)
			return append(b, raw...), err
		}
	}
	b = append(append(b, '"'), s...)
	return append(b, '"'), nil
}
