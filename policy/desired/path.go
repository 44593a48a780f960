package desired

import (
	"fmt"
	"strconv"
	"strings"
)

// A Step leads from a value to one inside it: to a field of an object, or to an
// item of a list.
type Step struct {
	// Field is the field's name; empty means an item.
	Field string
	// Index is the item's 0-based position.
	Index int
	// Key tells the item from its siblings, as in name=app. It is empty where
	// nothing does.
	Key string
}

// A Path leads from an object to a value inside it. The zero value is the object.
type Path []Step

// String renders the path as in spec.template.spec.containers[name=app].image.
// Field names that are not plain are quoted: metadata.labels["a.b/c"].
func (p Path) String() string {
	var b strings.Builder
	for _, s := range p {
		switch {
		case s.Field == "" && s.Key != "":
			b.WriteString("[" + s.Key + "]")
		case s.Field == "":
			b.WriteString("[" + strconv.Itoa(s.Index) + "]")
		case !plain(s.Field):
			b.WriteString("[" + strconv.Quote(s.Field) + "]")
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.Field)
		}
	}
	return b.String()
}

// MarshalText renders the path for JSON.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func plain(field string) bool {
	for _, r := range field {
		if r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return false
		}
	}
	return true
}

// A trail is a path under construction, innermost step first, so that walking
// costs nothing where nothing is found.
type trail struct {
	parent *trail
	step   Step
}

func (t *trail) path() Path {
	n := 0
	for s := t; s != nil; s = s.parent {
		n++
	}
	p := make(Path, n)
	for s := t; s != nil; s = s.parent {
		n--
		p[n] = s.step
	}
	return p
}

// maxPointer bounds a JSON pointer, in bytes and in segments.
const (
	maxPointer         = 1024
	maxPointerSegments = 32
)

// ParsePointer splits a JSON pointer (RFC 6901) into its segments. The pointer
// to the whole document is refused.
func ParsePointer(pointer string) ([]string, error) {
	if !strings.HasPrefix(pointer, "/") {
		return nil, fmt.Errorf("JSON pointer %.60q must start with /", pointer)
	}
	if len(pointer) > maxPointer {
		return nil, fmt.Errorf("JSON pointer is longer than %d bytes", maxPointer)
	}
	segments := strings.Split(pointer[1:], "/")
	if len(segments) > maxPointerSegments {
		return nil, fmt.Errorf("JSON pointer %.60q is deeper than %d", pointer, maxPointerSegments)
	}
	for i, s := range segments {
		if s == "" {
			return nil, fmt.Errorf("JSON pointer %.60q has an empty segment", pointer)
		}
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(s), "~") {
			return nil, fmt.Errorf("JSON pointer %.60q: ~ must be followed by 0 or 1", pointer)
		}
		segments[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(s)
	}
	return segments, nil
}
