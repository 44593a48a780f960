package doctor

import (
	"context"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
)

// rbac checks who could go around the lock by rights that RBAC gives.
func (d *doctor) rbac(ctx context.Context) []Check {
	all, err := d.grants(ctx)
	if err != nil {
		out := []Check{unknown("rbac-cluster-admin", "roles and their bindings", err)}
		for _, p := range powers() {
			out = append(out, unknown(p.id, "roles and their bindings", err))
		}
		return out
	}
	if !d.All {
		all = slices.DeleteFunc(all, grant.controlPlane)
	}
	out := []Check{administrators(all)}
	// Who may do everything is told once, and not under each power.
	all = slices.DeleteFunc(all, grant.everything)
	for _, p := range powers() {
		out = append(out, d.holders(p, all))
	}
	return out
}

// administrators tells who may do everything.
func administrators(all []grant) Check {
	c := Check{ID: "rbac-cluster-admin", Status: OK, Message: "nobody is bound to all rights; members of system:masters are known to no API"}
	for _, g := range all {
		if g.everything() {
			c.add(g, "everything")
		}
	}
	if len(c.Details) > 0 {
		c.Message = count(len(c.Details), "grant") + " of all rights; a lock holds them to Git, but not everything is behind it"
		c.Advice = "bind people to what they need, and use break-glass grants for the rest"
	}
	return c
}

// holders tells who has a power.
func (d *doctor) holders(p power, all []grant) Check {
	c := Check{ID: p.id, Status: OK, Message: "nobody but administrators may " + p.what}
	for _, g := range all {
		for _, rule := range g.rules {
			if d.ours(p, g, rule) {
				continue
			}
			for _, r := range p.rights {
				if text := r.given(rule, g.binding.Namespace, d.Namespace); text != "" {
					c.add(g, text)
				}
			}
		}
	}
	if len(c.Details) > 0 {
		c.Message = count(len(c.Details), "grant") + " with which one may " + p.what
		c.Advice = p.advice
	}
	return c
}

// ours reports whether a rule gives one of our accounts what it needs.
func (d *doctor) ours(p power, g grant, rule rbacv1.PolicyRule) bool {
	if g.subject.Kind != rbacv1.ServiceAccountKind || g.subject.Namespace != d.Namespace {
		return false
	}
	ok, onlyByName := expected(g.subject.Name, p.id)
	return ok && (!onlyByName || len(rule.ResourceNames) > 0) && !has(rule.Verbs, "*")
}

// add tells of a grant, which is worse if anybody has it.
func (c *Check) add(g grant, text string) {
	line := fmt.Sprintf("%s: %s (%s)", g.who(), clean(text), g.where())
	if slices.Contains(c.Details, line) {
		return
	}
	c.Details = append(c.Details, line)
	switch {
	case g.everybody():
		c.Status = Fail
	case c.Status != Fail:
		c.Status = Warn
	}
}
