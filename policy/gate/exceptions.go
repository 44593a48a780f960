package gate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"gitgate.dev/gitgate/policy/verdict"
)

const (
	exceptionGroup = "gitgate.dev"
	exceptionKind  = "PolicyException"

	// maxExceptionLife is how far ahead an exception may expire.
	maxExceptionLife = 366 * 24 * time.Hour
	// expiringWithin is from when on an exception is told to end soon.
	expiringWithin = 14 * 24 * time.Hour
	// maxExceptions bounds the exceptions of one revision.
	maxExceptions = 1000
)

// An Exception lets objects pass rules that refuse them, until it expires. Make one
// with [ParseException]; the zero value covers nothing.
type Exception struct {
	name     string // namespace/name
	source   Source
	spec     exceptionSpec
	selector labels.Selector
	used     bool
}

// exceptionSpec is the spec of a PolicyException; see reconcile/api/v1alpha1.
type exceptionSpec struct {
	Policies []struct {
		PolicySet string   `json:"policySet"`
		Rules     []string `json:"rules"`
	} `json:"policies"`
	Match struct {
		Kinds []struct {
			APIGroup string `json:"apiGroup"`
			Kind     string `json:"kind"`
		} `json:"kinds"`
		Namespaces    []string              `json:"namespaces"`
		Names         []string              `json:"names"`
		LabelSelector *metav1.LabelSelector `json:"labelSelector"`
	} `json:"match"`
	Owner   string    `json:"owner"`
	Reason  string    `json:"reason"`
	Expires time.Time `json:"expires"`
}

// IsException reports whether an object is a PolicyException, of any version.
func IsException(u *unstructured.Unstructured) bool {
	gvk := u.GroupVersionKind()
	return gvk.Group == exceptionGroup && gvk.Kind == exceptionKind
}

// ParseException reads a PolicyException. An error says what keeps it from counting:
// a field that is missing or not known, a wildcard, an end that is too far away.
func ParseException(o Object, now time.Time) (*Exception, error) {
	e := &Exception{name: strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/"), source: o.Source}
	raw, err := json.Marshal(o.Object["spec"])
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields() // what is not known might narrow it
	if err := d.Decode(&e.spec); err != nil {
		return nil, fmt.Errorf("spec cannot be read: %w", err)
	}
	if err := e.complete(now); err != nil {
		return nil, err
	}
	if s := e.spec.Match.LabelSelector; s != nil {
		if e.selector, err = metav1.LabelSelectorAsSelector(s); err != nil {
			return nil, fmt.Errorf("spec.match.labelSelector: %w", err)
		}
		if e.selector.Empty() {
			return nil, errors.New("spec.match.labelSelector selects everything: ask for at least one label")
		}
	}
	return e, nil
}

// complete reports what is missing or goes too far.
func (e *Exception) complete(now time.Time) error {
	s, m := e.spec, e.spec.Match
	switch {
	case len(s.Policies) == 0:
		return errors.New("spec.policies is empty: name the rules that are not to refuse")
	case len(m.Kinds) == 0:
		return errors.New("spec.match.kinds is empty: name the kinds of the objects")
	case len(m.Names) == 0 && m.LabelSelector == nil:
		return errors.New("spec.match names no object: give names or a labelSelector")
	case strings.TrimSpace(s.Owner) == "":
		return errors.New("spec.owner is missing: somebody has to answer for an exception")
	case strings.TrimSpace(s.Reason) == "":
		return errors.New("spec.reason is missing")
	case s.Expires.IsZero():
		return errors.New("spec.expires is missing: an exception has an end")
	case s.Expires.After(now.Add(maxExceptionLife)):
		return fmt.Errorf("spec.expires %s is more than a year ahead", day(s.Expires))
	}
	for _, p := range s.Policies {
		if p.PolicySet == "" || len(p.Rules) == 0 {
			return errors.New("spec.policies: each needs a policySet and its rules")
		}
		if err := plain("spec.policies.rules", append(p.Rules, p.PolicySet)); err != nil {
			return err
		}
	}
	for _, k := range m.Kinds {
		if err := plain("spec.match.kinds", []string{k.Kind, "." + k.APIGroup}); err != nil {
			return err
		}
	}
	return errors.Join(plain("spec.match.namespaces", m.Namespaces), plain("spec.match.names", m.Names))
}

// plain refuses wildcards, of which people think that they work.
func plain(field string, values []string) error {
	for _, v := range values {
		if v == "" || strings.ContainsAny(v, "*?[]{} \t\r\n") {
			return fmt.Errorf("%s: %.80q is no name: there are no wildcards", field, v)
		}
	}
	return nil
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// covers reports whether the exception covers what a rule says of an object. Where it
// fails in one thing alone, miss says in which.
func (e *Exception) covers(f verdict.Finding, u *unstructured.Unstructured, now time.Time) (ok bool, miss string) {
	set, rule, _ := strings.Cut(f.Policy, "/")
	rules, known := e.rules(set)
	if !known {
		return false, ""
	}
	var misses []string
	fails := func(format string, args ...any) { misses = append(misses, fmt.Sprintf(format, args...)) }
	m, gvk := e.spec.Match, u.GroupVersionKind()
	if !slices.Contains(rules, rule) {
		fails("the rule is %s, not %s", rule, strings.Join(rules, " or "))
	}
	if !slices.ContainsFunc(m.Kinds, func(k struct {
		APIGroup string `json:"apiGroup"`
		Kind     string `json:"kind"`
	}) bool {
		return k.APIGroup == gvk.Group && k.Kind == gvk.Kind
	}) {
		fails("the kind is %s", gvk.GroupKind())
	}
	if ns := u.GetNamespace(); !slices.Contains(m.Namespaces, ns) && (ns != "" || len(m.Namespaces) > 0) {
		fails("the namespace is %q", ns)
	}
	if len(m.Names) > 0 && !slices.Contains(m.Names, u.GetName()) {
		fails("the name is %s, not %s", u.GetName(), strings.Join(m.Names, " or "))
	}
	if e.selector != nil && !e.selector.Matches(labels.Set(u.GetLabels())) {
		fails("the labels do not match %s", e.selector)
	}
	if !now.Before(e.spec.Expires) {
		fails("it expired %s", day(e.spec.Expires))
	}
	switch len(misses) {
	case 0:
		return true, ""
	case 1:
		return false, misses[0]
	}
	return false, ""
}

func (e *Exception) rules(set string) (rules []string, known bool) {
	for _, p := range e.spec.Policies {
		if p.PolicySet == set {
			return p.Rules, true
		}
	}
	return nil, false
}

// Exceptions are those of one revision. The nil value has none. It is for one
// decision at a time, but for [Exceptions.Apply] with nobody else writing.
type Exceptions struct {
	list []*Exception
	now  time.Time
}

// NewExceptions puts exceptions in order. now is the time of the decision. The
// exceptions themselves are not changed.
func NewExceptions(exceptions []*Exception, now time.Time) *Exceptions {
	list := make([]*Exception, len(exceptions))
	for i, e := range exceptions {
		own := *e
		list[i] = &own
	}
	slices.SortFunc(list, func(a, b *Exception) int { return strings.Compare(a.name, b.name) })
	return &Exceptions{list: list, now: now}
}

// Apply turns what rules refuse of an object and an exception covers into
// information, and says of the rest which exception nearly covers it. Nothing but
// what a rule said on purpose is covered: a rule that failed or could not be asked
// refuses all the same.
func (x *Exceptions) Apply(found []verdict.Finding, u *unstructured.Unstructured) []verdict.Finding {
	if x == nil || len(x.list) == 0 || u == nil {
		return found
	}
	out := slices.Clone(found)
	for i, f := range out {
		if !exceptable(f) {
			continue
		}
		near := ""
		for _, e := range x.list {
			ok, miss := e.covers(f, u, x.now)
			if ok {
				e.used = true
				if out[i].Severity != verdict.Info {
					out[i].Severity = verdict.Info
					out[i].Message = fmt.Sprintf("%s (excepted until %s by PolicyException %s, owner %s: %s)", f.Message, day(e.spec.Expires), e.name, clip(e.spec.Owner), clip(e.spec.Reason))
				}
			} else if miss != "" && near == "" {
				near = fmt.Sprintf("%s (PolicyException %s does not cover it: %s)", f.Message, e.name, clip(miss))
			}
		}
		if near != "" && out[i].Severity != verdict.Info {
			out[i].Message = near
		}
	}
	return out
}

// standing says what is to be said of the exceptions themselves.
func (x *Exceptions) standing() (out []verdict.Finding) {
	if x == nil {
		return nil
	}
	for _, e := range x.list {
		warn := func(reason verdict.Reason, format string, args ...any) {
			out = append(out, verdict.Finding{
				Reason: reason, Severity: verdict.Warn, Object: e.id(), File: e.source.File, Line: e.source.Line,
				Message: fmt.Sprintf(format, args...),
			})
		}
		switch left := e.spec.Expires.Sub(x.now); {
		case left <= 0:
			warn(verdict.ExceptionExpiring, "the exception expired %s: remove it, or have %s renew it", day(e.spec.Expires), clip(e.spec.Owner))
			continue
		case left < expiringWithin:
			warn(verdict.ExceptionExpiring, "the exception expires %s, and the rules refuse again: ask %s", day(e.spec.Expires), clip(e.spec.Owner))
		}
		if !e.used {
			warn(verdict.ExceptionUnused, "the rules refuse nothing that the exception covers: remove it, owner %s", clip(e.spec.Owner))
		}
	}
	return out
}

func (e *Exception) id() string {
	namespace, name, ok := strings.Cut(e.name, "/")
	if !ok {
		return exceptionKind + "." + exceptionGroup + "/" + namespace
	}
	return namespace + "/" + exceptionKind + "." + exceptionGroup + "/" + name
}

// readExceptions reads the exceptions of the revision. What the renderer made of one
// has to be what its file says: a kustomization elsewhere must not widen it.
func (a *admission) readExceptions() {
	now := a.now
	var list []*Exception
	for _, o := range a.objects {
		if !IsException(o.Unstructured) {
			continue
		}
		e, err := a.readException(o, now)
		if err == nil && len(list) == maxExceptions {
			err = fmt.Errorf("there are more than %d exceptions", maxExceptions)
		}
		if err != nil {
			a.notExcepted = append(a.notExcepted, o.finding(verdict.Finding{Reason: verdict.ExceptionInvalid, Severity: verdict.Deny, Message: err.Error()}))
			continue
		}
		list = append(list, e)
	}
	a.exceptions = NewExceptions(list, now)
	if len(list) > 0 || a.hadExceptions() {
		// With another exception, or at another time, what was let pass may be refused.
		a.req.JudgedBefore = false
	}
}

// withExceptions completes what the rules said of the objects.
func (a *admission) withExceptions(found []verdict.Finding) []verdict.Finding {
	found = append(a.excepted(found, a.objects), a.notExcepted...)
	return append(found, a.exceptions.standing()...)
}

func (a *admission) readException(o Object, now time.Time) (*Exception, error) {
	honours := a.gate.cfg.Exceptions
	switch {
	case honours == nil:
		return nil, errors.New("the TrustPolicy honours no PolicyException: spec.exceptions says where they count and who signs them")
	case o.Source.File == "" || !honours(o.Source.File):
		return nil, fmt.Errorf("a PolicyException counts only in the files that the TrustPolicy reserves for them (spec.exceptions.paths), and %q is none", o.Source.File)
	case o.Source.Encrypted != nil:
		return nil, errors.New("an encrypted PolicyException says nothing that could be judged")
	}
	written, err := writtenSpec(a.tree, o)
	if err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(written, o.Object["spec"]) {
		return nil, errors.New("the PolicyException is changed on its way through a kustomization: it has to be applied as its file says")
	}
	return ParseException(o, now)
}

// writtenSpec is the spec of a PolicyException as it stands in its file.
func writtenSpec(tree fs.FS, o Object) (any, error) {
	raw, err := fs.ReadFile(tree, o.Source.File)
	if err != nil {
		return nil, errors.New("the file of the PolicyException cannot be read")
	}
	var found []any
	d := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
	for {
		var doc map[string]any
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, errors.New("the file of the PolicyException cannot be read as YAML")
		}
		u := &unstructured.Unstructured{Object: doc}
		if doc != nil && IsException(u) && u.GetName() == o.GetName() {
			found = append(found, doc["spec"])
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("the file declares %d PolicyExceptions of the name %s, and has to declare one", len(found), o.GetName())
	}
	return found[0], nil
}

// hadExceptions reports whether the release in force declares any.
func (a *admission) hadExceptions() bool {
	return slices.ContainsFunc(a.req.Previous, func(o Object) bool { return IsException(o.Unstructured) })
}

// excepted applies the exceptions to what the rules said of objects.
func (a *admission) excepted(found []verdict.Finding, objects []Object) []verdict.Finding {
	if a.exceptions == nil || len(a.exceptions.list) == 0 {
		return found
	}
	byID := make(map[string]*unstructured.Unstructured, len(objects))
	for _, o := range objects {
		id := o.ID()
		if _, twice := byID[id]; twice {
			byID[id] = nil // which one is meant cannot be told: neither is excepted
			continue
		}
		byID[id] = o.Unstructured
	}
	out := make([]verdict.Finding, 0, len(found))
	for _, f := range found {
		out = append(out, a.exceptions.Apply([]verdict.Finding{f}, byID[f.Object])...)
	}
	return out
}
