package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Match selects objects. Every part that is given must hold; the zero value
// selects all. An update is selected when the object was or becomes one that is.
type Match struct {
	// Kinds selects by group and kind; one of them must hold.
	Kinds []KindMatch
	// Namespaces and ExcludedNamespaces select by namespace; a Namespace counts
	// as in itself. An asterisk at the start or the end stands for any text. An
	// object without a namespace is in none of them.
	Namespaces         []string
	ExcludedNamespaces []string
	// LabelSelector selects by the labels of the object.
	LabelSelector *LabelSelector
}

// A KindMatch holds for the kinds of the groups. "*", or an empty list, is any;
// "" is the core group.
type KindMatch struct{ APIGroups, Kinds []string }

// A LabelSelector is the label selector of Kubernetes.
type LabelSelector struct {
	MatchLabels      map[string]string
	MatchExpressions []LabelRequirement
}

// A LabelRequirement asks something of one label. Operator is In, NotIn, Exists
// or DoesNotExist.
type LabelRequirement struct {
	Key, Operator string
	Values        []string
}

// A matcher is a Match that was checked.
type matcher struct{ Match }

func newMatcher(m Match) (matcher, error) {
	for _, p := range slices.Concat(m.Namespaces, m.ExcludedNamespaces) {
		if p == "" || strings.Contains(strings.TrimSuffix(strings.TrimPrefix(p, "*"), "*"), "*") {
			return matcher{}, fmt.Errorf("namespace %q: want a name, with an asterisk at most at its start and end", p)
		}
	}
	if m.LabelSelector == nil {
		return matcher{m}, nil
	}
	for _, r := range m.LabelSelector.MatchExpressions {
		if r.Key == "" {
			return matcher{}, errors.New("labelSelector: a requirement without a key")
		}
		switch r.Operator {
		case "In", "NotIn":
			if len(r.Values) == 0 {
				return matcher{}, fmt.Errorf("labelSelector: %s %s needs values", r.Key, r.Operator)
			}
		case "Exists", "DoesNotExist":
			if len(r.Values) > 0 {
				return matcher{}, fmt.Errorf("labelSelector: %s %s takes no values", r.Key, r.Operator)
			}
		default:
			return matcher{}, fmt.Errorf("labelSelector: operator %q is unknown: use In, NotIn, Exists or DoesNotExist", r.Operator)
		}
	}
	return matcher{m}, nil
}

// matches reports whether any of the objects is selected.
func (m *matcher) matches(objects []header) bool {
	for i := range objects {
		h := &objects[i]
		if m.kind(h) && m.namespace(h) && m.labels(h) {
			return true
		}
	}
	return false
}

func (m *matcher) kind(h *header) bool {
	if len(m.Kinds) == 0 {
		return true
	}
	oneOf := func(list []string, s string) bool {
		return len(list) == 0 || slices.Contains(list, "*") || slices.Contains(list, s)
	}
	return slices.ContainsFunc(m.Kinds, func(k KindMatch) bool {
		return oneOf(k.APIGroups, h.group) && oneOf(k.Kinds, h.kind)
	})
}

func (m *matcher) namespace(h *header) bool {
	ns := h.namespace
	if h.kind == "Namespace" && h.group == "" {
		ns = h.name
	}
	in := func(p string) bool { return matchName(p, ns) }
	if len(m.Namespaces) > 0 && (ns == "" || !slices.ContainsFunc(m.Namespaces, in)) {
		return false
	}
	return ns == "" || !slices.ContainsFunc(m.ExcludedNamespaces, in)
}

func matchName(pattern, name string) bool {
	core, open := strings.CutPrefix(pattern, "*")
	core, end := strings.CutSuffix(core, "*")
	switch {
	case open && end:
		return strings.Contains(name, core)
	case open:
		return strings.HasSuffix(name, core)
	case end:
		return strings.HasPrefix(name, core)
	}
	return name == pattern
}

func (m *matcher) labels(h *header) bool {
	if m.LabelSelector == nil {
		return true
	}
	for k, want := range m.LabelSelector.MatchLabels {
		if got, ok := h.labels[k]; !ok || got != want {
			return false
		}
	}
	for _, r := range m.LabelSelector.MatchExpressions {
		got, ok := h.labels[r.Key]
		switch r.Operator {
		case "In":
			ok = ok && slices.Contains(r.Values, got)
		case "NotIn":
			ok = !ok || !slices.Contains(r.Values, got)
		case "DoesNotExist":
			ok = !ok
		}
		if !ok {
			return false
		}
	}
	return true
}
