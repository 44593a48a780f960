package gate

import (
	"fmt"

	"gitgate.dev/gitgate/policy/verdict"
)

// A Protected names objects that the revisions of a source must not touch,
// because they are what judges them: a commit is judged by the trust that was in
// force before it.
type Protected struct {
	// Group and Kind of the objects, in any version.
	Group, Kind string
	// Namespace and Name of the objects; an empty one is any.
	Namespace, Name string
	// Why says what the object is, as in "the TrustPolicy of this GitSync". It is
	// part of a message.
	Why string
}

// covers reports whether the object is one of those named.
func (p Protected) covers(o Object) bool {
	gvk := o.GroupVersionKind()
	return gvk.Group == p.Group && gvk.Kind == p.Kind &&
		(p.Namespace == "" || p.Namespace == o.GetNamespace()) &&
		(p.Name == "" || p.Name == o.GetName())
}

// trespasses lists the objects that are protected. The verb says what the
// revision does with them.
func (a *admission) trespasses(objects []Object, verb string) []verdict.Finding {
	var findings []verdict.Finding
	for _, o := range objects {
		for _, p := range a.gate.cfg.Protected {
			if p.covers(o) {
				findings = append(findings, o.finding(verdict.Finding{
					Reason: verdict.ScopeViolation, Severity: verdict.Deny,
					Message: fmt.Sprintf("the revision must not %s %s: keep it out of the repositories that it judges", verb, p.Why),
				}))
				break
			}
		}
	}
	return findings
}
