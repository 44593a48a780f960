package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A constraintMatch is spec.match of a constraint. It selects as Gatekeeper does,
// which is not quite what [Match] does: namespaces and excludedNamespaces say nothing
// of what is in no namespace.
type constraintMatch struct {
	matcher
	name, scope       string
	namespaceSelector *matcher
	source            string // Original, Generated, or empty for all
	never             bool   // it is enforced elsewhere
}

// readMatch reads spec.match. A criterion that is not known is an error.
func readMatch(v any) (constraintMatch, error) {
	var m constraintMatch
	if v == nil {
		return m, nil
	}
	fields, ok := v.(map[string]any)
	if !ok {
		return m, fmt.Errorf("it is not an object")
	}
	known := []string{"kinds", "scope", "namespaces", "excludedNamespaces", "labelSelector", "namespaceSelector", "name", "source"}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(known, key) {
			return m, fmt.Errorf("%s", noField("it", key, known))
		}
	}
	var spec struct {
		Kinds              []struct{ APIGroups, Kinds []string }
		Namespaces         []string
		ExcludedNamespaces []string
		LabelSelector      *LabelSelector
		NamespaceSelector  *LabelSelector
		Scope, Name        string
		Source             string
	}
	raw, err := json.Marshal(fields)
	if err == nil {
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		err = dec.Decode(&spec)
	}
	if err != nil {
		return m, err
	}
	own := Match{Namespaces: spec.Namespaces, ExcludedNamespaces: spec.ExcludedNamespaces, LabelSelector: spec.LabelSelector}
	for _, k := range spec.Kinds {
		own.Kinds = append(own.Kinds, KindMatch{k.APIGroups, k.Kinds})
	}
	if m.matcher, err = newMatcher(own); err != nil {
		return m, err
	}
	if spec.NamespaceSelector != nil {
		selector, err := newMatcher(Match{LabelSelector: spec.NamespaceSelector})
		if err != nil {
			return m, fmt.Errorf("namespaceSelector: %w", err)
		}
		m.namespaceSelector = &selector
	}
	if !slices.Contains([]string{"", "*", "Cluster", "Namespaced"}, spec.Scope) {
		return m, fmt.Errorf("scope %q is unknown: use Cluster, Namespaced or *", clip(spec.Scope, 64))
	}
	switch spec.Source {
	case "", "All":
	case "Original", "Generated":
		m.source = spec.Source
	default:
		return m, fmt.Errorf("source %q is unknown: use All, Original or Generated", clip(spec.Source, 64))
	}
	m.name, m.scope = spec.Name, spec.Scope
	return m, nil
}

// selects reports whether one of the objects is selected. Where that hangs on the
// Namespace and it is not known, it is not known.
func (m *constraintMatch) selects(s *subject) (yes, unknown bool) {
	if m.never || m.source == "Generated" && !s.Generated || m.source == "Original" && s.Generated {
		return false, false
	}
	for i := range s.headers {
		h := &s.headers[i]
		if !m.kind(h) || !m.inScope(h) || !m.inNamespace(h) || !m.labels(h) || !m.named(h) {
			continue
		}
		switch ok, known := m.inSelected(h, s); {
		case !known:
			unknown = true
		case ok:
			return true, false
		}
	}
	return false, unknown
}

func (h *header) isNamespace() bool { return h.kind == "Namespace" && h.group == "" }

func (m *constraintMatch) inScope(h *header) bool {
	switch m.scope {
	case "Cluster":
		return h.isNamespace() || h.namespace == ""
	case "Namespaced":
		return !h.isNamespace() && h.namespace != ""
	}
	return true
}

func (m *constraintMatch) inNamespace(h *header) bool {
	ns := h.namespace
	if h.isNamespace() {
		ns = h.name
	}
	in := func(p string) bool { return matchName(p, ns) }
	if ns == "" {
		return true
	}
	if len(m.Namespaces) > 0 && !slices.ContainsFunc(m.Namespaces, in) {
		return false
	}
	return !slices.ContainsFunc(m.ExcludedNamespaces, in)
}

func (m *constraintMatch) named(h *header) bool {
	switch {
	case m.name == "":
		return true
	case !h.generated:
		return matchName(m.name, h.name)
	}
	// Of a name that is yet to be made the beginning is known.
	return strings.HasSuffix(m.name, "*") && matchName(m.name, h.name)
}

func (m *constraintMatch) inSelected(h *header, s *subject) (ok, known bool) {
	switch {
	case m.namespaceSelector == nil:
		return true, true
	case h.isNamespace():
		return m.namespaceSelector.labels(h), true
	case s.namespace != nil:
		return m.namespaceSelector.labels(s.namespace), true
	case h.namespace == "":
		return true, true // Gatekeeper takes what is in no namespace
	}
	return false, false
}
